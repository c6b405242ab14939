package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// killAfter is how long a program may take to end by itself before it is killed.
const killAfter = 5 * time.Second

// process is a program that was started here. It leads a process group, so that its end ends the programs that it
// forked.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string // path of its output

	done chan struct{} // closed when it has ended
	err  error         // how it ended; read after done
}

// startProcess runs cmd with its output in the file logPath.
func startProcess(cmd *exec.Cmd, logPath string) (*process, error) {
	p := &process{name: filepath.Base(cmd.Path), cmd: cmd, log: logPath, done: make(chan struct{})}
	out, err := openLog(logPath)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = childAttributes()

	started := make(chan error)
	go func() {
		// Linux ends the child when the thread that forked it ends, so that this thread is kept until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		// The child has its own descriptor by now, and nothing was written through this one.
		_ = out.Close()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	return p, nil
}

// stop ends the program and its process group, and returns when it is gone. A program that ended before is no error.
func (p *process) stop() error {
	if p == nil || p.ended() {
		// The number of a group whose leader is long gone may belong to another group by now.
		return nil
	}
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(killAfter):
	}
	// Also after the end of the leader: one of its children may be left in the group.
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) signal(sig syscall.Signal) error {
	err := syscall.Kill(-p.cmd.Process.Pid, sig)
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stopping %s: %w", p.name, err)
	}
	return nil
}

// until calls ready every 50 ms until it returns no error. It gives up when ctx ends or the program does, and returns
// the last output of the program.
func (p *process) until(ctx context.Context, ready func(context.Context) error) error {
	return until(ctx, ready, func() error {
		if p.ended() {
			return fmt.Errorf("%s ended (%v); it printed:\n%s", p.name, p.err, lastLines(p.log))
		}
		return nil
	})
}

// until calls ready every 50 ms until it returns no error. It gives up with the last error when ctx ends, or when
// broken, if not nil, returns an error.
func until(ctx context.Context, ready func(context.Context) error, broken func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		if broken != nil {
			if err := broken(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// openLog opens path for appending, and makes its folder.
func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}

// lastLines returns the end of a log for an error message.
func lastLines(path string) string {
	const lines, size = 20, 64 << 10
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > size {
		if _, err := f.Seek(-size, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// program returns the path of a binary that make leaves in dir.
func program(dir, name, target string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: run `make %s` to build it", err, target)
	}
	return path, nil
}
