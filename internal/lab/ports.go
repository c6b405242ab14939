package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// The kernel takes the ports of connections, and of listeners that ask for any port, from one range. A port of that range
// is free at one moment and taken at the next, so the ports of FreePort come from below or above it.
const (
	lowestPort  = 10_000
	highestPort = 65_535
	fewestPorts = 1_000 // below this, a range is not used

	// The range of Linux, where the kernel does not name another one. The ranges of other systems lie within it or above.
	firstOfKernel, lastOfKernel = 32_768, 60_999
)

// reserved holds the locks of this program's ports, until it ends.
var reserved struct {
	sync.Mutex
	files []*os.File
}

// FreePort returns a loopback port on which no program listens. It stays free until a program listens on it: neither the
// kernel nor FreePort of this or another program gives it to another one.
func FreePort() (int, error) {
	first, last, err := ownPorts()
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	folder := filepath.Join(os.TempDir(), fmt.Sprintf("syncer-lab-ports-%d", os.Getuid()))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	count := last - first + 1
	for i, start := 0, rand.IntN(count); i < count; i++ {
		port := first + (start+i)%count
		free, err := reserve(folder, port)
		if err != nil {
			return 0, fmt.Errorf("looking for a free port: %w", err)
		}
		if free {
			return port, nil
		}
	}
	return 0, fmt.Errorf("looking for a free port: none of %d to %d is free", first, last)
}

// FreeAddress is 127.0.0.1 with a port of FreePort.
func FreeAddress() (string, error) {
	port, err := FreePort()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

// ownPorts returns the widest range of ports that the kernel does not assign.
func ownPorts() (first, last int, err error) {
	kernelFirst, kernelLast := firstOfKernel, lastOfKernel
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if _, err := fmt.Sscan(string(text), &kernelFirst, &kernelLast); err != nil {
			return 0, 0, fmt.Errorf("reading the kernel's range of ports: %w", err)
		}
	}
	below, above := kernelFirst-lowestPort, highestPort-kernelLast
	switch {
	case below >= fewestPorts && below >= above:
		return lowestPort, kernelFirst - 1, nil
	case above >= fewestPorts:
		return kernelLast + 1, highestPort, nil
	}
	return lowestPort, highestPort, nil // the kernel has them all
}

// reserve locks a port for this program, unless another program has it or listens there.
func reserve(folder string, port int) (bool, error) {
	file, err := os.OpenFile(filepath.Join(folder, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, file.Close()
	}
	if err != nil {
		return false, errors.Join(err, file.Close())
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false, file.Close() // a program listens there
	}
	reserved.Lock()
	defer reserved.Unlock()
	reserved.files = append(reserved.files, file)
	return true, listener.Close()
}
