package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/syncerdev/syncer/internal/lab"
)

// syncer is one process of syncer.
type syncer struct {
	name    string
	program *lab.Program
	meant   chan struct{} // closed when its end is intended
}

// start starts a syncer with the proxy of name. An unexpected end of a daemon is a violation.
func (s *stage) start(name string, elects bool, args ...string) (*syncer, error) {
	args = append(args, "--config", filepath.Join(s.dir, configName(name, elects)), "--cache-dir", filepath.Join(s.dir, "cache-"+name))
	cmd := exec.Command(s.syncer, args...)
	// The search for faults reads the log afterwards.
	cmd.Env = append(os.Environ(), "KUBECONFIG=/dev/null", "HOME="+s.dir)
	log := filepath.Join(s.dir, name+".log")
	if err := note(log, fmt.Sprintf("--- %s syncer %s", time.Now().UTC().Format("15:04:05.000"), args[0])); err != nil {
		return nil, err
	}
	program, err := lab.StartProgram(cmd, log)
	if err != nil {
		return nil, err
	}
	y := &syncer{name: name, program: program, meant: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[name] = y
	if args[0] == "run" {
		s.judge.wg.Go(func() {
			<-program.Ended()
			select {
			case <-y.meant:
			default:
				s.judge.violated("ended-by-itself", fmt.Sprintf("syncer run (%s) ended: %v", name, program.Err()), target{pipelines[0], dev}, map[string][]byte{})
				s.again(y, elects)
			}
		})
	}
	return y, nil
}

func (s *stage) daemon(name string, elects bool) (*syncer, error) {
	s.journal.say("start daemon %s (election: %t)", name, elects)
	return s.start(name, elects, "run", "--log-level", "debug", "--drain-timeout", "3s")
}

func note(path, line string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	return errors.Join(err, f.Close())
}

// again starts a daemon that ended by itself, as a Deployment would.
func (s *stage) again(ended *syncer, elects bool) {
	select {
	case <-ended.meant: // it is stopped or killed meanwhile
		return
	case <-time.After(time.Second):
	}
	s.mu.Lock()
	current := s.running[ended.name] == ended
	s.mu.Unlock()
	if !current {
		return
	}
	if _, err := s.daemon(ended.name, elects); err != nil {
		s.journal.say("starting it again: %v", err)
	}
}

// expect notes that the end of the syncer is intended.
func (y *syncer) expect() {
	select {
	case <-y.meant:
	default:
		close(y.meant)
	}
}

func (y *syncer) kill() error {
	y.expect()
	return y.program.Kill()
}

func (y *syncer) stop() error {
	y.expect()
	return y.program.Stop()
}

func (y *syncer) ended() bool {
	select {
	case <-y.program.Ended():
		return true
	default:
		return false
	}
}

// stopSyncers stops every syncer that runs.
func (s *stage) stopSyncers() error {
	s.mu.Lock()
	all := s.running
	s.running = map[string]*syncer{}
	s.mu.Unlock()
	var errs []error
	for _, y := range all {
		errs = append(errs, y.stop())
	}
	return errors.Join(errs...)
}

// syncOnce runs a one-shot sync to its end. Its result does not count: it may fail during a fault.
func (s *stage) syncOnce(ctx context.Context, name string) error {
	y, err := s.start(name, false, "sync")
	if err != nil {
		return err
	}
	select {
	case <-y.program.Ended():
		return nil
	case <-time.After(2 * within):
		s.judge.violated("sync-hangs", fmt.Sprintf("syncer sync has not ended in %s", 2*within), target{pipelines[0], dev}, map[string][]byte{})
		return y.kill()
	case <-ctx.Done():
		return errors.Join(ctx.Err(), y.kill())
	}
}
