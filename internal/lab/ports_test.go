package lab

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
)

func TestFreePort(t *testing.T) {
	var first, last int
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if _, err := fmt.Sscan(string(text), &first, &last); err != nil {
			t.Fatal(err)
		}
	}
	if first <= lowestPort+fewestPorts {
		t.Logf("the kernel gives ports from %d to %d", first, last)
		first, last = 0, 0
	}
	seen := map[int]bool{}
	for range 50 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Errorf("%d is given twice", port)
		}
		seen[port] = true
		if port >= first && port <= last {
			t.Errorf("the kernel may give %d to another program", port)
		}
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Errorf("%d is not free: %v", port, err)
			continue
		}
		listener.Close()
	}
}

// A port that another program has reserved, or listens on, is not free.
func TestReserve(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken, folder := listener.Addr().(*net.TCPAddr).Port, t.TempDir()
	if free, err := reserve(folder, taken); err != nil || free {
		t.Errorf("a port that something listens on: free %t, %v", free, err)
	}
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	if free, err := reserve(folder, port); err != nil || !free {
		t.Errorf("a free port: free %t, %v", free, err)
	}
	if free, err := reserve(folder, port); err != nil || free { // flock distinguishes open files
		t.Errorf("a port that is reserved: free %t, %v", free, err)
	}
}
