package renderers

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/panics"
)

// faultyCommand is a worker whose builds do what the name of their overlay says.
const faultyCommand = "faulty-worker"

// The test binary is the worker of its pools, as the syncer binary is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case WorkerCommand:
			Serve(os.Stdin, os.Stdout)
			return
		case faultyCommand:
			serve(os.Stdin, os.Stdout, misbehave)
			return
		}
	}
	os.Exit(m.Run())
}

var waste [][]byte

func misbehave(limits Limits, files fs.FS, overlay string) Built {
	do, detail, _ := strings.Cut(overlay, "-")
	switch do {
	case "spin":
		for time.Now().Year() > 0 {
		}
	case "wait":
		for i := 0; ; i++ {
			if _, err := fs.Stat(files, fmt.Sprint("gate/", detail, i)); err == nil { // a path is asked for once
				return Built{Err: errors.New("the gate is open")}
			}
			time.Sleep(5 * time.Millisecond)
		}
	case "hog":
		for {
			piece := make([]byte, 1<<20)
			for i := 0; i < len(piece); i += 1 << 12 {
				piece[i] = 1
			}
			waste = append(waste, piece)
		}
	case "gulp":
		waste = append(waste, make([]byte, 16<<30))
	case "take":
		piece := make([]byte, 130<<20)
		for i := 0; i < len(piece); i += 1 << 12 {
			piece[i] = 1
		}
		time.Sleep(100 * time.Millisecond)
		return Built{Err: fmt.Errorf("process %d took %d", os.Getpid(), len(piece))}
	case "recurse":
		return Built{Err: fmt.Errorf("%d", recurse(1))}
	case "exit":
		_, _ = fs.ReadFile(files, overlay+"/kustomization.yaml")
		os.Exit(7)
	case "babble":
		fmt.Fprintf(os.Stdout, "%s", strings.Repeat("x", 1<<10))
		select {}
	case "ask":
		for i := 0; ; i++ {
			_, _ = fs.Stat(files, fmt.Sprint("none/", i))
		}
	case "panic":
		return Built{Err: panics.Try(func() error { panic("broken") })}
	case "pid":
		return Built{Err: fmt.Errorf("%d", os.Getpid())}
	case "escape":
		return Built{Err: escape()}
	}
	return limits.Here(files, overlay)
}

// recurse ends when the clock is wrong.
func recurse(n int) int {
	if time.Now().Year() == 0 {
		return 0
	}
	return recurse(n+1) + n
}

// escape tries what a build has no right to, and says what worked.
func escape() error {
	var worked []error
	try := func(what string, err error) {
		if err == nil {
			worked = append(worked, errors.New(what))
		}
	}
	_, err := os.ReadFile("/etc/passwd")
	try("read a file", err)
	_, err = os.ReadDir("/")
	try("list a folder", err)
	try("write a file", os.WriteFile(os.TempDir()+"/escaped", []byte("x"), 0o600))
	_, err = net.Listen("tcp", "127.0.0.1:0")
	try("listen", err)
	_, err = net.Dial("udp", "127.0.0.1:9")
	try("dial", err)
	try("run a program", exec.Command("/proc/self/exe", "-test.run", "^$").Run())
	try("become a program", syscall.Exec("/bin/true", []string{"true"}, nil))
	try("signal its parent", syscall.Kill(os.Getppid(), 0))
	if len(os.Environ()) > 0 {
		worked = append(worked, fmt.Errorf("environment: %v", os.Environ()))
	}
	return errors.Join(append(worked, errors.New("tried"))...)
}
