package renderers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/render"
)

// startTime is how long a worker may take until it is ready.
const startTime = time.Minute

// mostQuestions bounds what a worker may ask for one build.
const mostQuestions = 200_000

// worker is a worker process. One build uses it at a time; kill may be called at any time.
type worker struct {
	process *exec.Cmd
	in      io.WriteCloser
	wire    *wire
	sending sync.Mutex // of the wire
	stderr  *lastWords
	sent    contents
	limits  Limits
	builds  int
	grown   bool
	peak    int64 // memory of the last build

	mu     sync.Mutex
	killed error // why the pool ended it; nil: it did not
}

// startWorker starts this very program as a worker, and waits until it is ready.
func startWorker(ctx context.Context, args []string, limits Limits) (*worker, error) {
	closeOnExec()
	w := &worker{process: exec.Command(self()), stderr: &lastWords{}, limits: limits}
	w.process.Args = args
	w.process.Env = []string{} // not nil, which would be the environment of this process
	w.process.Dir = "/"
	w.process.Stderr = w.stderr
	w.process.SysProcAttr = attributes()
	out, err := w.process.StdoutPipe()
	if err == nil {
		w.in, err = w.process.StdinPipe()
	}
	if err == nil {
		err = w.process.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("starting a process to render: %w", err)
	}
	w.wire = newWire(out, w.in)
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() { w.kill(context.Cause(ctx)) })()
	var ready reply
	err = w.wire.send(order{Begin: &limits})
	if err == nil {
		err = w.wire.receive(&ready, largestFrame)
	}
	if err == nil && !ready.Ready {
		err = errNonsense
	}
	if err != nil {
		return nil, fmt.Errorf("starting a process to render: %w", w.post(err))
	}
	return w, nil
}

// kill ends the process, for a reason that the first caller gives.
func (w *worker) kill(reason error) {
	w.mu.Lock()
	if w.killed == nil {
		w.killed = reason
	}
	w.mu.Unlock()
	_ = w.process.Process.Kill() // it may have ended
}

// end lets the process end, and waits for it.
func (w *worker) end() {
	_ = w.in.Close()
	late := time.AfterFunc(time.Second, func() { w.kill(errEnded) })
	defer late.Stop()
	_ = w.process.Wait() // how it ends does not matter any more
}

var (
	errNonsense = errors.New("the process that renders answers what it was not asked; this is a fault of syncer")
	errEnded    = errors.New("it is no longer needed")
	errDeadline = errors.New("deadline")
	// errMemory is a crash for want of memory.
	errMemory = errors.New("memory")
)

// grow lets the build take all the memory of a slow one.
func (w *worker) grow() {
	w.grown = true
	_ = w.send(order{Grow: true}) // a process that ended is noticed by its build
}

func (w *worker) send(o order) error {
	w.sending.Lock()
	defer w.sending.Unlock()
	return w.wire.send(o)
}

// build has an overlay built. After an error that is not the overlay's, the process has ended.
func (w *worker) build(files fs.FS, overlay string) (built Built, lost error) {
	w.builds++
	answers := newAnswers(files, w.limits.Render.FileBytes, &w.sent)
	var result *done
	err := panics.Try(func() (err error) { result, err = w.converse(answers, overlay); return err })
	if err == nil {
		w.peak = result.Peak
		built, err = w.result(result)
	}
	if err == nil {
		return built, nil
	}
	if panics.In(err) != nil {
		w.kill(err) // of the files of this process
	}
	return Built{Reads: render.ReadsOf(files, answers.paths())}, w.post(err)
}

// converse answers the worker's questions until it has a result.
func (w *worker) converse(answers *answers, overlay string) (*done, error) {
	if err := w.send(order{Build: &request{overlay}}); err != nil {
		return nil, err
	}
	for range mostQuestions {
		var next reply
		if err := w.wire.receive(&next, largestFrame); err != nil {
			return nil, err
		}
		switch {
		case next.Done != nil:
			return next.Done, nil
		case next.Ask == nil:
			return nil, errNonsense
		}
		look := answers.of(*next.Ask)
		if err := w.send(order{Look: &look}); err != nil {
			return nil, err
		}
	}
	return nil, errNonsense
}

func (w *worker) result(d *done) (Built, error) {
	built := Built{Warnings: d.Warnings, Reads: d.Reads, Err: d.Fault.err()}
	if built.Err != nil {
		return built, nil
	}
	var err error
	built.Packed, built.Set, err = manifest.FromBytes(d.Set, int(2*w.limits.Render.SetBytes))
	return built, err
}

// post ends the process after a conversation that failed, and says why it did.
func (w *worker) post(err error) error {
	if hungUp(err) {
		late := time.AfterFunc(time.Second, func() { w.kill(errNonsense) })
		defer late.Stop()
	} else {
		w.kill(fmt.Errorf("%w: %w", errNonsense, err))
	}
	_ = w.process.Wait() // its state says what is to be known
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.killed != nil {
		return w.killed
	}
	return died(w.process.ProcessState.ExitCode(), w.stderr.String())
}

// hungUp reports whether the process closed its ends of the pipes, as it does when it ends.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, fs.ErrClosed)
}

// died says why a process ended that the pool did not kill.
func died(code int, said string) error {
	switch {
	case code == exitMemory, strings.Contains(said, "out of memory"), strings.Contains(said, "cannot allocate memory"):
		return errMemory
	case strings.Contains(said, "stack overflow"), strings.Contains(said, "stack exceeds"):
		return errors.New("the process that renders crashed: its stack is used up, as by input that nests or refers to itself without end")
	case code < 0:
		return errors.New("the process that renders was killed from outside; the kernel does that where the machine or the container has no memory left")
	}
	return errors.New(cause(said, code))
}

// cause is what Go's runtime said at its end.
func cause(said string, code int) string {
	if said = strings.TrimSpace(said); said != "" {
		return "the process that renders crashed: " + said
	}
	return fmt.Sprintf("the process that renders ended with code %d", code)
}

// lastWords keeps what Go's runtime says at the end of a process. The other lines are warnings of kustomize, and may
// quote files.
type lastWords struct {
	mu   sync.Mutex
	line []byte // that is not complete
	kept bytes.Buffer
}

const (
	keptOfLine  = 200
	keptOfWords = 2 << 10
)

func (l *lastWords) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range data {
		if c != '\n' {
			if len(l.line) < keptOfLine {
				l.line = append(l.line, c)
			}
			continue
		}
		for _, prefix := range []string{"fatal error: ", "runtime: ", "worker: "} {
			if bytes.HasPrefix(l.line, []byte(prefix)) && l.kept.Len() < keptOfWords {
				l.kept.Write(append(l.line, '\n'))
			}
		}
		l.line = l.line[:0]
	}
	return len(data), nil
}

func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.String()
}
