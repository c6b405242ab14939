package target

import (
	"context"
	"io/fs"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/renderers"
)

// manyBuilds is how many builds of a commit end, on average, in the least time after which those that go on are late.
const manyBuilds = 30

// faultPause is the time after which an overlay is built again that failed by no fault of its files, such as a process that did
// not start, or a disk that could not be read. A builder may ask for a longer pause.
const faultPause = time.Minute

// builds runs the builds of overlays, at most one of each overlay. The builds run beside the goroutine that uses it.
type builds struct {
	late  func()
	group sync.WaitGroup
	ended chan struct{} // holds one: a build has ended

	mu        sync.Mutex
	byOverlay map[string]*build
	awaited   int         // the builds that go on and are not late
	next      *time.Timer // of a build that may succeed later
	due       time.Time
}

// build is the build of one overlay.
type build struct {
	overlay string
	files   fs.FS
	commit  int // the number of the commit whose files they are
	builder renderers.Builder

	began     time.Time
	cancel    context.CancelFunc
	late      bool       // it took longer than somebody waited
	rendering *Rendering // nil: it goes on
	linked    bool       // it read through links
}

func newBuilds(late func()) *builds {
	if late == nil {
		late = func() {}
	}
	return &builds{late: late, ended: make(chan struct{}, 1), byOverlay: map[string]*build{}}
}

// keep cancels the builds that are not wanted, and those of an earlier commit that go on: its files may be other ones.
func (b *builds) keep(wanted map[string]bool, commit int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for overlay, each := range b.byOverlay {
		if !wanted[overlay] || each.rendering == nil && each.commit != commit {
			each.cancel()
			delete(b.byOverlay, overlay)
			b.awaits(each, -1)
		}
	}
}

// start starts a build of an overlay, unless one goes on. The build outlives the context.
func (b *builds) start(ctx context.Context, start build) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byOverlay[start.overlay] != nil {
		return
	}
	each := &start
	ctx, each.cancel = context.WithCancel(context.WithoutCancel(ctx))
	each.began = time.Now()
	b.byOverlay[each.overlay] = each
	b.awaits(each, 1)
	b.group.Go(func() {
		defer each.cancel()
		rendering, linked, again := &Rendering{}, false, time.Duration(0)
		err := panics.Try(func() error {
			built := each.builder(ctx, each.files, each.overlay)
			rendering, again = newRendering(built), built.Again
			linked = rendering.reads.ThroughLinks(each.files)
			return nil
		})
		if err != nil {
			rendering = &Rendering{Err: err}
		}
		if again == 0 && rendering.Err != nil && !rendering.reads.Decides() && ctx.Err() == nil {
			again = faultPause
		}
		b.again(again)
		if b.end(each, rendering, linked) {
			b.late()
		}
	})
}

// end notes the result of a build, and reports whether it is late. The result of a build that was cancelled is lost.
func (b *builds) end(each *build, rendering *Rendering, linked bool) (late bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byOverlay[each.overlay] != each {
		return false
	}
	b.awaits(each, -1)
	each.rendering, each.linked = rendering, linked
	select {
	case b.ended <- struct{}{}:
	default:
	}
	return each.late
}

// wait waits until all builds that are not late have ended, or none has ended for the patience, or the context has ended.
// Those that go on are late from then on. On a machine that is busy, the patience is longer: a build is late when it takes much
// longer than others, not when all of them take long.
func (b *builds) wait(ctx context.Context, patience time.Duration) {
	var over <-chan time.Time
	began, all := time.Now(), b.awaitsStill()
	for left := all; left > 0; left = b.awaitsStill() {
		if ended := all - left; patience > 0 && ended > 0 {
			over = time.After(max(patience, manyBuilds*time.Since(began)/time.Duration(ended)))
		} else if patience > 0 {
			over = time.After(patience)
		}
		select {
		case <-b.ended:
			continue
		case <-ctx.Done():
		case <-over:
		}
		b.leave()
		return
	}
}

// awaits counts a build that goes on.
func (b *builds) awaits(each *build, n int) {
	if each.rendering == nil && !each.late {
		b.awaited += n
	}
}

func (b *builds) awaitsStill() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.awaited
}

func (b *builds) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, each := range b.byOverlay {
		each.late = true
	}
	b.awaited = 0
}

// take returns a build that has ended, once; nil: there is none.
func (b *builds) take(overlay string) *build {
	b.mu.Lock()
	defer b.mu.Unlock()
	each := b.byOverlay[overlay]
	if each == nil || each.rendering == nil {
		return nil
	}
	delete(b.byOverlay, overlay)
	return each
}

// pending reports whether a build of an overlay goes on, and since when.
func (b *builds) pending(overlay string) (since time.Time, pending bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	each := b.byOverlay[overlay]
	if each == nil {
		return time.Time{}, false
	}
	return each.began, true
}

// again calls late when a build may succeed that fails now; 0: it may not.
func (b *builds) again(after time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if after <= 0 || b.due.After(now) && b.due.Before(now.Add(after)) {
		return
	}
	if b.next != nil {
		b.next.Stop()
	}
	b.due, b.next = now.Add(after), time.AfterFunc(after, b.late)
}

// stop cancels all builds and waits for their end.
func (b *builds) stop() {
	b.keep(nil, 0)
	b.group.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		b.next.Stop()
	}
}
