package renderers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/render"
)

var healthy = repository(map[string]string{
	kustomization: "resources: [a.yaml]\n",
	"o/a.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
})

func faultyPool(t *testing.T, options Options) *Pool {
	t.Helper()
	options.command = faultyCommand
	return newPool(t, options)
}

func TestABuildThatHurtsItsWorkerFailsAlone(t *testing.T) {
	for overlay, want := range map[string]string{
		"spin":    "rendering spin: it did not end in time, and the limit is 2s; if that is meant, raise render.timeout in syncer.yaml",
		"hog":     "rendering hog: it takes too much memory, and the limit is 150Mi; if that is meant, raise render.memory in syncer.yaml",
		"gulp":    "rendering gulp: it takes too much memory, and the limit is 150Mi",
		"recurse": "its stack is used up",
		"exit":    "ended with code 7",
		"babble":  "answers what it was not asked",
		"ask":     "", // too often or too long, which depends on the machine
	} {
		t.Run(overlay, func(t *testing.T) {
			t.Parallel()
			p := faultyPool(t, Options{Workers: 1, Slow: 200 * time.Millisecond, Limits: Limits{Memory: 150 << 20, Time: 2 * time.Second}})
			built := p.Build(t.Context(), healthy, overlay)
			if built.Err == nil || !strings.Contains(built.Err.Error(), want) {
				t.Errorf("got %v, want %s", built.Err, want)
			}
			if next := p.Build(t.Context(), healthy, "o"); next.Err != nil {
				t.Errorf("the next build: %v", next.Err)
			}
		})
	}
}

func TestALimitIsKnownByItsType(t *testing.T) {
	p := faultyPool(t, Options{Limits: Limits{Time: 100 * time.Millisecond}})
	over, ok := errors.AsType[*render.Limited](p.Build(t.Context(), healthy, "spin").Err)
	if !ok || over.Setting != "render.timeout" {
		t.Errorf("%+v", over)
	}
	if !p.isSlow("spin") {
		t.Error("the next try would hold up others")
	}
}

func TestAPanicArrivesWithItsStack(t *testing.T) {
	p := faultyPool(t, Options{Workers: 1})
	first := p.Build(t.Context(), healthy, "pid").Err.Error()
	built := p.Build(t.Context(), healthy, "panic")
	if built.Err == nil || !strings.Contains(built.Err.Error(), "misbehave") {
		t.Errorf("%v", built.Err)
	}
	if again := p.Build(t.Context(), healthy, "pid").Err.Error(); again == first {
		t.Error("the worker of a panic goes on")
	}
}

func TestAWorkerHasNoRights(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("workers are confined on Linux")
	}
	t.Setenv("SECRET", "canary")
	_ = os.Remove(os.TempDir() + "/escaped") // of a run that failed
	p := faultyPool(t, Options{})
	if got := p.Build(t.Context(), healthy, "escape").Err; got.Error() != "tried" {
		t.Errorf("a worker can %v", got)
	}
	if _, err := os.Stat(os.TempDir() + "/escaped"); err == nil {
		t.Error("a worker wrote a file")
	}
}

func TestAWorkerDoesManyBuildsAndEndsWhenItIsIdle(t *testing.T) {
	p := faultyPool(t, Options{Workers: 1, Idle: 50 * time.Millisecond})
	first, second := p.Build(t.Context(), healthy, "pid").Err.Error(), p.Build(t.Context(), healthy, "pid").Err.Error()
	if first != second {
		t.Errorf("two workers: %s, %s", first, second)
	}
	await(t, "the end of an idle worker", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.idle) == 0
	})
	if third := p.Build(t.Context(), healthy, "pid").Err.Error(); third == first {
		t.Error("the worker is the same")
	}
}

// await waits for a condition.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
	}
}

// gated are files whose gate is open or not.
type gated struct {
	fs.FS
	open atomic.Bool
}

func (g *gated) Stat(name string) (fs.FileInfo, error) {
	if strings.HasPrefix(name, "gate/") {
		if !g.open.Load() {
			return nil, fs.ErrNotExist
		}
		name = "."
	}
	return fs.Stat(g.FS, name)
}

func TestSlowBuildsWaitForEachOtherAndOthersDoNotWaitForThem(t *testing.T) {
	p := faultyPool(t, Options{Workers: 1, Slow: 50 * time.Millisecond})
	files := &gated{FS: healthy}
	var g sync.WaitGroup
	var ended atomic.Int32
	for i := range 3 {
		g.Go(func() {
			if err := p.Build(t.Context(), files, fmt.Sprint("wait-", i)).Err; !strings.Contains(err.Error(), "the gate is open") {
				t.Error(err)
			}
			ended.Add(1)
		})
	}
	await(t, "slow builds, all but one of which wait", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.slow) == 1 && len(p.slower) == 2
	})
	for range 3 {
		if err := p.Build(t.Context(), healthy, "o").Err; err != nil {
			t.Error(err)
		}
	}
	if n := ended.Load(); n > 0 {
		t.Errorf("%d slow builds have ended", n)
	}
	files.open.Store(true)
	g.Wait()
}

func TestABuildThatNeedsMuchMemoryIsASlowOne(t *testing.T) {
	p := faultyPool(t, Options{Workers: 1})
	if err := p.Build(t.Context(), healthy, "take").Err; !strings.Contains(err.Error(), "took") {
		t.Errorf("%v", err)
	}
	if !p.isSlow("take") {
		t.Error("it is not known for a slow one")
	}
}

func TestAFailureIsTriedAgainAfterAPauseOrAChange(t *testing.T) {
	files := repository(map[string]string{"exit/kustomization.yaml": "resources: [a.yaml]\n"})
	p := faultyPool(t, Options{Workers: 1})
	fails := func() string {
		err := p.Build(t.Context(), files, "exit").Err
		if err == nil {
			t.Fatal("no error")
		}
		return err.Error()
	}
	first := fails()
	worker := func() string { return p.Build(t.Context(), files, "pid").Err.Error() }
	before := worker()
	if again := fails(); again != first || worker() != before {
		t.Errorf("it was tried again at once: %s", again)
	}
	files["exit/kustomization.yaml"].Data = []byte("resources: [b.yaml]\n")
	if fails(); worker() == before {
		t.Error("it was not tried after a change")
	}
	before = worker()
	failed := p.failures.byOverlay["exit"]
	failed.until = time.Now()
	p.failures.byOverlay["exit"] = failed
	if fails(); worker() == before {
		t.Error("it was not tried after the pause")
	}
	if got := p.failures.byOverlay["exit"].pause; got != 2*firstPause {
		t.Errorf("the next pause is %s", got)
	}
}

func TestABuildEndsWithItsContext(t *testing.T) {
	p := faultyPool(t, Options{Workers: 1})
	ctx, cancel := context.WithCancelCause(t.Context())
	left := errors.New("nobody waits any more")
	time.AfterFunc(50*time.Millisecond, func() { cancel(left) })
	if built := p.Build(ctx, healthy, "spin"); !errors.Is(built.Err, left) {
		t.Errorf("%v", built.Err)
	}
	if next := p.Build(t.Context(), healthy, "o"); next.Err != nil {
		t.Errorf("the next build: %v", next.Err)
	}
}

func TestAClosedPoolBuildsNothingAndLeavesNoProcess(t *testing.T) {
	p := NewPool(Options{})
	if err := p.Build(t.Context(), healthy, "o").Err; err != nil {
		t.Fatal(err)
	}
	worker := p.idle[0]
	p.Close()
	if worker.process.ProcessState == nil {
		t.Error("a worker runs")
	}
	if p.Build(t.Context(), healthy, "o").Err == nil {
		t.Error("it builds")
	}
}
