package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticks is how many parts of a second /proc counts in; it is the same on every Linux.
const ticks = 100

// usage is what a process and its descendants have used.
type usage struct {
	cpu       time.Duration
	rss, peak int64 // bytes; the peak is the sum of the peaks
	alone     int64 // bytes of the process without its descendants
}

// used reads the usage of a process and of all its descendants, with those that have ended and were waited for.
func used(pid int) (usage, error) {
	processes, err := running()
	if err != nil {
		return usage{}, err
	}
	var all usage
	for id := range processes {
		if !descends(processes, id, pid) {
			continue
		}
		all.cpu += processes[id].cpu
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", id))
		if err != nil {
			continue // it has ended
		}
		rss := kilobytes(string(status), "VmRSS:") << 10
		if all.rss += rss; id == pid {
			all.alone = rss
		}
		all.peak += kilobytes(string(status), "VmHWM:") << 10
	}
	if all.cpu == 0 && all.rss == 0 {
		return usage{}, fmt.Errorf("there is no process %d", pid)
	}
	return all, nil
}

// process is what /proc/PID/stat says of a process.
type process struct {
	parent int
	cpu    time.Duration // with that of children that it has waited for
}

// running lists all processes of the machine.
func running() (map[int]process, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all := map[int]process{}
	for _, path := range stats {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // ended since the listing
		}
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		if all[id], err = parseStat(string(content)); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
	}
	return all, nil
}

// descends reports whether a process is another one, or comes from it.
func descends(all map[int]process, id, from int) bool {
	for id != from {
		of, ok := all[id]
		if !ok || of.parent == id {
			return false
		}
		id = of.parent
	}
	return true
}

// parseStat reads the parent and the processor time of /proc/PID/stat.
func parseStat(text string) (p process, err error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // the name may hold blanks
	const ppid, utime, cstime = 1, 11, 14
	if len(fields) <= cstime {
		return process{}, fmt.Errorf("%q has too few fields", text)
	}
	if p.parent, err = strconv.Atoi(fields[ppid]); err != nil {
		return process{}, err
	}
	for _, field := range fields[utime : cstime+1] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return process{}, err
		}
		p.cpu += time.Duration(n) * time.Second / ticks
	}
	return p, nil
}

// kilobytes reads a line of /proc/PID/status or /proc/meminfo.
func kilobytes(text, key string) int64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			fields := strings.Fields(rest)
			if len(fields) == 0 {
				return 0
			}
			n, err := strconv.ParseInt(fields[0], 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

// loadAverage is that of the last minute. Where it is high, other programs run, and times say little.
func loadAverage() float64 {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(content), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return load
}
