package lab

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// childAttributes gives a child its own process group and has the kernel end it with this program.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// children returns the processes that the program has started and that still run. Their handles distinguish them from
// later processes with the same number.
func (p *process) children() []*os.Process {
	if p == nil {
		return nil
	}
	pid := strconv.Itoa(p.cmd.Process.Pid)
	lists, err := filepath.Glob("/proc/" + pid + "/task/*/children")
	if err != nil {
		return nil // the pattern is well formed
	}
	var found []*os.Process
	for _, list := range lists {
		numbers, err := os.ReadFile(list)
		if err != nil {
			continue // ended since the listing
		}
		for _, number := range strings.Fields(string(numbers)) {
			child, err := strconv.Atoi(number)
			if err != nil {
				continue // the kernel writes numbers
			}
			if process, err := os.FindProcess(child); err == nil {
				found = append(found, process)
			}
		}
	}
	return found
}
