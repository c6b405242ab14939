package renderers

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// spareAddresses are for the parts of Go's memory beside the heap, which grows by 64 MiB of addresses at a time.
const spareAddresses = 160 << 20

// confine takes from this process what a build does not need: memory over its limit, files, network, programs, signals.
// What the kernel does not offer is left out: a build is a pure function anyway, and this is a second fence.
func confine() error {
	_ = landlock.V8.BestEffort().Restrict() // also sets no_new_privs; fails without Landlock
	_ = filterCalls()
	for resource, most := range map[int]uint64{
		unix.RLIMIT_NOFILE: 0, // nothing is opened any more
		unix.RLIMIT_FSIZE:  0,
		unix.RLIMIT_CORE:   0,
	} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("setting a limit of the process: %w", err)
		}
	}
	return nil
}

// limitAddresses sets the limit of the process's addresses: those that it has, since Go reserves many, and the memory.
func limitAddresses(memory int64) error {
	stat, err := os.ReadFile("/proc/self/statm")
	if err != nil || racing {
		return nil // without /proc, the collector's limit remains
	}
	var pages uint64
	if _, err := fmt.Sscan(strings.Fields(string(stat))[0], &pages); err != nil {
		return fmt.Errorf("reading the size of the process: %w", err)
	}
	most := pages*uint64(os.Getpagesize()) + uint64(memory) + spareAddresses
	return unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: most, Max: most})
}

// attributes are those of a worker process: it ends with its parent, and a signal of the terminal does not reach it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// closeOnExec keeps every descriptor of this process from its workers, also those that it got from its own parent.
func closeOnExec() { _ = unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC) }

// self is the running program, even if its file was replaced.
func self() string { return "/proc/self/exe" }
