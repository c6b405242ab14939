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

// usage is what a process group has used.
type usage struct {
	cpu       time.Duration
	rss, peak int64 // bytes; the peak is the sum of the peaks
}

// used reads the usage of the group that a process leads, with children that it has waited for.
func used(pid int) (usage, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return usage{}, err
	}
	var all usage
	for _, path := range stats {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // ended since the listing
		}
		group, cpu, err := parseStat(string(content))
		if err != nil {
			return usage{}, fmt.Errorf("reading %s: %w", path, err)
		}
		if group != pid {
			continue
		}
		all.cpu += cpu
		status, err := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
		if err != nil {
			continue
		}
		all.rss += kilobytes(string(status), "VmRSS:") << 10
		all.peak += kilobytes(string(status), "VmHWM:") << 10
	}
	if all.cpu == 0 && all.rss == 0 {
		return usage{}, fmt.Errorf("there is no process %d", pid)
	}
	return all, nil
}

// parseStat reads the process group and the processor time of /proc/PID/stat.
func parseStat(text string) (group int, cpu time.Duration, err error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // the name may hold blanks
	const pgrp, utime, cstime = 2, 11, 14
	if len(fields) <= cstime {
		return 0, 0, fmt.Errorf("%q has too few fields", text)
	}
	if group, err = strconv.Atoi(fields[pgrp]); err != nil {
		return 0, 0, err
	}
	for _, field := range fields[utime : cstime+1] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		cpu += time.Duration(n) * time.Second / ticks
	}
	return group, cpu, nil
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
