package daemon

import (
	"bytes"
	"context"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// brokenFiles panic where a path is read.
type brokenFiles struct {
	fstest.MapFS
	within string
}

func (f brokenFiles) check(name string) {
	if name == f.within || strings.HasPrefix(name, f.within+"/") || f.within == "." {
		panic("the file system is broken")
	}
}

func (f brokenFiles) Open(name string) (fs.File, error) {
	f.check(name)
	return f.MapFS.Open(name)
}

func (f brokenFiles) Stat(name string) (fs.FileInfo, error) {
	f.check(name)
	return f.MapFS.Stat(name)
}

func (f brokenFiles) ReadFile(name string) ([]byte, error) {
	f.check(name)
	return f.MapFS.ReadFile(name)
}

func (f brokenFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	f.check(name)
	return f.MapFS.ReadDir(name)
}

var (
	broken = v1alpha1.Target{Pipeline: "broken", Environment: "dev"}
	well   = v1alpha1.Target{Pipeline: "well", Environment: "dev"}
)

// wantReportedOnce checks that one panic was counted for a target, and logged with the stack from where it was.
func wantReportedOnce(t *testing.T, d *Daemon, log *bytes.Buffer, target v1alpha1.Target, function string) {
	t.Helper()
	if n := testutil.ToFloat64(d.parts.Metrics.targets.panics.WithLabelValues(target.Pipeline, target.Environment)); n != 1 {
		t.Errorf("%v panics of %s were counted", n, target)
	}
	if n := strings.Count(log.String(), "msg=panic"); n != 1 {
		t.Errorf("%d panics were logged", n)
	}
	for _, want := range []string{"pipeline=" + target.Pipeline, "stack=", function} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %s:\n%s", want, log)
		}
	}
}

// A worker of the daemon goes on with the next target, and the one that panicked is tried again.
func TestAPanicLeavesTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, log := newTestDaemon()
		finished := false
		roll := &rollout{ctx: t.Context(), over: make(chan struct{}), waiting: map[v1alpha1.Target]waiting{
			broken: {finished: func() { finished = true }},
		}}
		ctx, stop := context.WithCancel(t.Context())
		s := newScheduler(ctx, d)
		s.commits.begin(roll)
		s.commits.plan(planned{commit: target.NewCommit([]*target.Desired{{Target: broken}})})
		d.states.change(broken, func(of *state) { of.last = &reconciliation{converged: true} })
		s.leases.Begin(ctx)
		s.queue.add(broken, time.Now(), commitChanged)
		s.queue.add(well, time.Now(), retryDue)
		s.workers.Go(func() { newWorker(s).serve(ctx, s.queue.cluster(broken), 1) })
		synctest.Wait()
		if s.queue.depth() > 0 || s.queue.isBusy(broken) || s.queue.isBusy(well) {
			t.Error("the worker is stuck")
		}
		stop()
		s.workers.Wait()
		if !finished {
			t.Error("the targets that wait for this one wait until the daemon ends")
		}
		if known := d.states.of(broken); known.last.converged || !known.failures.has() {
			t.Error("it is not tried again")
		}
		wantReportedOnce(t, d, log, broken, "revisit(") // it has no cluster
	})
}

// What a rollout as a whole panics at ends that rollout. The loop reads on.
func TestAPanicEndsARollout(t *testing.T) {
	d, log := newTestDaemon()
	s := newScheduler(t.Context(), d)
	s.rollOut(t.Context(), source.Snapshot{Commit: "c1", Files: brokenFiles{within: "."}})
	<-s.commits.current().over
	s.others.Wait()
	if !s.commits.wantRollout() {
		t.Error("nothing is tried again")
	}
	if !strings.Contains(log.String(), "stack=") {
		t.Errorf("no stack was logged: %s", log)
	}
}
