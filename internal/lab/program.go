package lab

import (
	"os/exec"
	"syscall"
)

// Program is a program under test. It ends with the program that started it, however that ends.
type Program struct {
	process *process
}

// StartProgram runs cmd with its output at the end of the file log.
func StartProgram(cmd *exec.Cmd, log string) (*Program, error) {
	p, err := startProcess(cmd, log)
	if err != nil {
		return nil, err
	}
	return &Program{p}, nil
}

// Ended is closed when the program has ended; Err has the result.
func (p *Program) Ended() <-chan struct{} { return p.process.done }

// Err is the result of the program: nil, or an *exec.ExitError. Read it after Ended.
func (p *Program) Err() error { return p.process.err }

// Kill ends the program at once, as a lack of memory or of power would, and returns when it is gone.
func (p *Program) Kill() error {
	if p.process.ended() {
		return nil
	}
	if err := p.process.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.process.done
	return nil
}

// Pause stops the program between two of its instructions until Resume.
func (p *Program) Pause() error { return p.process.signal(syscall.SIGSTOP) }

// Resume lets a paused program go on.
func (p *Program) Resume() error { return p.process.signal(syscall.SIGCONT) }

// Stop asks the program to end and returns when it is gone. It kills a program that is not gone within 5 seconds.
func (p *Program) Stop() error { return p.process.stop() }
