package target

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/renderers"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// slowBuilds is a builder whose builds of the overlay slow end when they are released or cancelled.
type slowBuilds struct {
	release, late chan struct{}
	began         chan string // the file a.yaml of each build of slow
}

func (s slowBuilds) build(ctx context.Context, files fs.FS, overlay string) renderers.Built {
	if overlay == "slow" {
		data, _ := fs.ReadFile(files, "slow/a.yaml")
		s.began <- string(data)
		select {
		case <-s.release:
		case <-ctx.Done():
			return renderers.Built{Err: ctx.Err()}
		}
	}
	data, err := fs.ReadFile(files, overlay+"/a.yaml")
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": string(data)}}
	return renderers.Built{Set: manifest.Set{obj}, Packed: manifest.Pack(manifest.Set{obj}), Err: err}
}

// oneTree is a tree of files that does not change.
type oneTree struct{ fstest.MapFS }

func (f oneTree) Identity(name string) (string, bool, error) {
	return string(f.MapFS["slow/a.yaml"].Data), name == ".", nil
}

// newSlow returns renderings with slow builds, and two targets of them at a time: slow and quick.
func newSlow(t *testing.T) (*Renderings, slowBuilds, func(data string) (slow, quick *Desired)) {
	s := slowBuilds{release: make(chan struct{}), late: make(chan struct{}, 9), began: make(chan string, 9)}
	r := &Renderings{Build: s.build, Patience: time.Second, Late: func() { s.late <- struct{}{} }}
	t.Cleanup(r.Stop)
	return r, s, func(data string) (slow, quick *Desired) {
		files := oneTree{fstest.MapFS{"slow/a.yaml": {Data: []byte(data)}, "quick/a.yaml": {Data: []byte(data)}}}
		of := func(overlay string) *Desired {
			return &Desired{Target: v1alpha1.Target{Pipeline: overlay, Environment: "dev"}, Overlay: overlay}
		}
		all := []*Desired{of("slow"), of("quick")}
		r.Render(t.Context(), all, files)
		return all[0], all[1]
	}
}

func isPending(d *Desired) bool {
	_, pending := errors.AsType[*PendingError](d.Err)
	return pending
}

func TestASlowBuildHoldsUpNobodyElse(t *testing.T) {
	_, s, next := newSlow(t)
	slow, quick := next("one")
	if !isPending(slow) || quick.Err != nil || len(quick.Rendered.Set.IDs()) != 1 {
		t.Fatalf("slow: %v; quick: %v", slow.Err, quick.Err)
	}
	if slow, _ = next("one"); !isPending(slow) || len(s.began) != 1 {
		t.Errorf("the same commit again: %v, and %d builds", slow.Err, len(s.began))
	}
	close(s.release)
	<-s.late
	if slow, quick = next("one"); slow.Err != nil || len(slow.Rendered.Set.IDs()) != 1 || quick.Err != nil || len(s.began) != 1 {
		t.Errorf("after the build has ended: %v and %v, and %d builds", slow.Err, quick.Err, len(s.began))
	}
}

func TestANewCommitCancelsASlowBuildOfTheLastOne(t *testing.T) {
	r, s, next := newSlow(t)
	next("one")
	slow, _ := next("two")
	if !isPending(slow) || len(s.began) != 2 {
		t.Fatalf("the next commit: %v, and %d builds", slow.Err, len(s.began))
	}
	s.release <- struct{}{} // the build of the first commit was cancelled: only one takes this
	<-s.late
	if slow, _ = next("two"); slow.Err != nil || slow.Rendered.Set.Set()[0].Object["data"] != "two" {
		t.Errorf("after the build has ended: %v, %v", slow.Err, slow.Rendered.Set.Set())
	}
	r.Stop()
	if len(s.late) != 0 {
		t.Error("a build that was cancelled was reported as late")
	}
}

func TestWithoutPatienceRenderWaitsForEveryBuild(t *testing.T) {
	r, s, next := newSlow(t)
	r.Patience = 0
	go func() {
		<-s.began
		close(s.release)
	}()
	if slow, quick := next("one"); slow.Err != nil || quick.Err != nil {
		t.Errorf("slow: %v; quick: %v", slow.Err, quick.Err)
	}
}

func TestABuildThatMaySucceedLaterIsAskedForAgain(t *testing.T) {
	files := repository(map[string]string{"o/kustomization.yaml": ""})
	late, builds := make(chan struct{}, 9), 0
	r := &Renderings{Late: func() { late <- struct{}{} }, Build: func(context.Context, fs.FS, string) renderers.Built {
		if builds++; builds == 1 {
			return renderers.Built{Err: errors.New("no time"), Again: time.Millisecond}
		}
		return renderers.Built{Packed: manifest.Pack(nil)}
	}}
	d := &Desired{Overlay: "o"}
	r.Render(t.Context(), []*Desired{d}, files)
	if d.Err == nil {
		t.Fatal("it does not fail")
	}
	<-late
	d.Err = nil
	if r.Render(t.Context(), []*Desired{d}, files); d.Err != nil || builds != 2 {
		t.Errorf("%d builds, %v", builds, d.Err)
	}
	r.Stop()
}

func TestABuildThatFailedByNoFaultOfItsFilesIsMadeAgain(t *testing.T) {
	for name, c := range map[string]struct {
		built renderers.Built
		again bool
	}{
		"no process":     {renderers.Built{Err: errors.New("no process to render in")}, true},
		"a longer pause": {renderers.Built{Err: errors.New("it took too long"), Again: time.Hour}, true},
		"it was built":   {renderers.Built{Packed: manifest.Pack(manifest.Set{})}, false},
	} {
		r := &Renderings{Build: func(context.Context, fs.FS, string) renderers.Built { return c.built }}
		r.Render(t.Context(), []*Desired{{Target: v1alpha1.Target{Pipeline: "a", Environment: "dev"}, Overlay: "a"}}, oneTree{fstest.MapFS{"slow/a.yaml": {}}})
		r.builds.mu.Lock()
		due := r.builds.due
		r.builds.mu.Unlock()
		if due.IsZero() == c.again || c.built.Again > 0 && time.Until(due) < c.built.Again/2 {
			t.Errorf("%s: it is made again at %v", name, due)
		}
		r.Stop()
	}
}
