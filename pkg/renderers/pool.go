package renderers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/render"
)

// Options of a pool. A zero value of one is its default.
type Options struct {
	Limits Limits
	// Workers is how many builds run at once that are not slow ones; 0: one for each processor.
	Workers int
	// Slow is the time after which a build goes on beside those; 0: 1 s.
	Slow time.Duration
	// Idle is how long a worker is kept without work; 0: 5 min. A commit waits for a worker to start, and an idle one has
	// 20 MB and takes no time.
	Idle time.Duration

	command string // of the worker; "": WorkerCommand
}

// Pool builds overlays in worker processes, so that a build cannot take the memory, the time or the life of this process.
// Workers are started when they are needed, and each does many builds.
//
// A build that takes more than a second, or more than a part of its memory, moves to the slow lane, which has one worker:
// builds that take long wait for each other and not others for them.
//
// Many goroutines may use a pool at once.
type Pool struct {
	options  Options
	quick    chan struct{} // has a token for each quick build
	slow     chan struct{} // has a token for the slow build
	failures failures

	mu     sync.Mutex
	idle   []*worker
	timers map[*worker]*time.Timer
	slower map[string]bool // overlays whose last build was a slow one

	closing sync.Once
	closed  chan struct{}
}

// mostBuilds is how many builds a worker does before it is replaced: kustomize keeps things in package variables.
const mostBuilds = 5_000

// NewPool returns a pool, which has no worker yet.
func NewPool(options Options) *Pool {
	options.Limits = options.Limits.orDefaults()
	if options.Workers <= 0 {
		options.Workers = runtime.GOMAXPROCS(0)
	}
	if options.Slow <= 0 {
		options.Slow = time.Second
	}
	if options.Idle <= 0 {
		options.Idle = 5 * time.Minute
	}
	if options.command == "" {
		options.command = WorkerCommand
	}
	return &Pool{
		options: options,
		quick:   make(chan struct{}, options.Workers),
		slow:    make(chan struct{}, 1),
		timers:  map[*worker]*time.Timer{},
		slower:  map[string]bool{},
		closed:  make(chan struct{}),
	}
}

// Build builds an overlay in a worker. It is a Builder.
func (p *Pool) Build(ctx context.Context, files fs.FS, overlay string) Built {
	if kept, ok := p.failures.of(overlay, files, time.Now()); ok {
		return kept
	}
	built, lost := p.build(ctx, files, overlay)
	if lost == nil {
		p.failures.forget(overlay, files)
		return built
	}
	if ctx.Err() != nil {
		return Built{Err: fmt.Errorf("rendering %s: %w", overlay, context.Cause(ctx))}
	}
	// Without reads, since load may be the cause: the caller asks again.
	failed := Built{Err: fmt.Errorf("rendering %s: %w", overlay, p.explained(lost))}
	if panics.In(lost) == nil && !errors.Is(lost, errStart) && !errors.Is(lost, errClosed) {
		built.Err = failed.Err
		failed.Again = p.failures.keep(overlay, files, built, time.Now())
	}
	return failed
}

// explained names the limit that a build went over.
func (p *Pool) explained(lost error) error {
	limits := p.options.Limits
	switch {
	case errors.Is(lost, errDeadline):
		return &render.Limited{What: "it did not end in time", Setting: "render.timeout", Limit: limits.Time.String()}
	case errors.Is(lost, errMemory):
		return &render.Limited{What: "it takes too much memory", Setting: "render.memory", Limit: render.Bytes(limits.Memory)}
	}
	return lost
}

// build tries an overlay as a quick build, and then as a slow one.
func (p *Pool) build(ctx context.Context, files fs.FS, overlay string) (Built, error) {
	if !p.isSlow(overlay) {
		built, err := p.buildQuick(ctx, files, overlay)
		if !errors.Is(err, errPostponed) {
			return built, err
		}
	}
	if err := p.acquire(ctx, p.slow); err != nil {
		return Built{}, err
	}
	defer release(p.slow)
	w, err := p.take(ctx)
	if err != nil {
		return Built{}, err
	}
	w.grow()
	return p.finish(ctx, p.begin(w, files, overlay), time.Now())
}

// running is a build that runs.
type running struct {
	worker  *worker
	overlay string
	done    chan struct{}
	built   Built
	lost    error
}

func (p *Pool) begin(w *worker, files fs.FS, overlay string) *running {
	r := &running{worker: w, overlay: overlay, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.built, r.lost = w.build(files, overlay)
	}()
	return r
}

// errPostponed says that a build is to be done again as a slow one.
var errPostponed = errors.New("it is slow")

// buildQuick builds beside as many others as there are workers. A build that becomes slow goes on in the slow lane, if
// that is free.
func (p *Pool) buildQuick(ctx context.Context, files fs.FS, overlay string) (Built, error) {
	if err := p.acquire(ctx, p.quick); err != nil {
		return Built{}, err
	}
	free := sync.OnceFunc(func() { release(p.quick) })
	defer free()
	w, err := p.take(ctx)
	if err != nil {
		return Built{}, err
	}
	began := time.Now()
	r := p.begin(w, files, overlay)
	slow := time.NewTimer(p.options.Slow)
	defer slow.Stop()
	select {
	case <-r.done:
	case <-ctx.Done():
	case <-slow.C:
		select {
		case p.slow <- struct{}{}:
			defer release(p.slow)
			w.grow()
			free()
		case <-r.done:
		default:
			w.kill(errPostponed)
		}
	}
	built, err := p.finish(ctx, r, began)
	if errors.Is(err, errMemory) && !w.grown && p.options.Limits.quick() < p.options.Limits.Memory {
		return built, errPostponed
	}
	return built, err
}

// finish waits for the end of a build, within its time.
func (p *Pool) finish(ctx context.Context, r *running, began time.Time) (Built, error) {
	deadline := time.AfterFunc(time.Until(began.Add(p.options.Limits.Time)), func() { r.worker.kill(errDeadline) })
	defer deadline.Stop()
	defer context.AfterFunc(ctx, func() { r.worker.kill(context.Cause(ctx)) })()
	<-r.done
	if ctx.Err() == nil {
		p.setSlow(r.overlay, r.lost != nil || time.Since(began) > p.options.Slow || r.worker.peak > p.options.Limits.quick())
	}
	if r.lost == nil {
		p.give(r.worker, fellOver(r.built.Err))
	}
	return r.built, r.lost
}

func (p *Pool) isSlow(overlay string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.slower[overlay]
}

func (p *Pool) setSlow(overlay string, slow bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slow {
		p.slower[overlay] = true
	} else {
		delete(p.slower, overlay)
	}
}

var errClosed = errors.New("syncer ends")

func (p *Pool) acquire(ctx context.Context, tokens chan struct{}) error {
	select {
	case <-p.closed:
		return errClosed
	default:
	}
	select {
	case tokens <- struct{}{}:
		return nil
	case <-p.closed:
		return errClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func release(tokens chan struct{}) { <-tokens }

// errStart says that no worker can be started.
var errStart = errors.New("no process to render in")

// take returns an idle worker, or a new one.
func (p *Pool) take(ctx context.Context) (*worker, error) {
	p.mu.Lock()
	if last := len(p.idle) - 1; last >= 0 {
		w := p.idle[last]
		p.idle = p.idle[:last]
		p.timers[w].Stop()
		delete(p.timers, w)
		p.mu.Unlock()
		return w, nil
	}
	p.mu.Unlock()
	w, err := startWorker(ctx, []string{os.Args[0], p.options.command}, p.options.Limits)
	if err != nil {
		return nil, errors.Join(errStart, err)
	}
	return w, nil
}

// spareIdle is how long a worker is kept without work beside another one that has none.
const spareIdle = 20 * time.Second

// give takes a worker back, or ends it.
func (p *Pool) give(w *worker, broken bool) {
	if broken || w.grown || w.builds >= mostBuilds {
		w.end()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, w)
	pause := p.options.Idle
	if len(p.idle) > 1 {
		pause = min(pause, spareIdle) // the next commit does not wait for a worker: there is another one
	}
	p.timers[w] = time.AfterFunc(pause, func() { p.dismiss(w) })
}

// dismiss ends a worker that is idle.
func (p *Pool) dismiss(w *worker) {
	p.mu.Lock()
	_, idle := p.timers[w]
	delete(p.timers, w)
	for i, other := range p.idle {
		if other == w {
			p.idle = append(p.idle[:i:i], p.idle[i+1:]...)
			break
		}
	}
	p.mu.Unlock()
	if idle {
		w.end()
	}
}

// Close ends the workers, once the builds that run have ended. Other builds fail.
func (p *Pool) Close() { p.closing.Do(p.close) }

func (p *Pool) close() {
	close(p.closed)
	for range cap(p.quick) {
		p.quick <- struct{}{}
	}
	p.slow <- struct{}{}
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	for _, w := range idle {
		p.timers[w].Stop()
		delete(p.timers, w)
	}
	p.mu.Unlock()
	for _, w := range idle {
		w.end()
	}
}
