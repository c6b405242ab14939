package pipeline

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/pin"
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
	falling = v1alpha1.Target{Pipeline: "falling", Environment: "dev"}
	well    = v1alpha1.Target{Pipeline: "well", Environment: "dev"}
)

// loggedRunner is a Runner without a cluster, and what it logs.
func loggedRunner() (*Runner, *bytes.Buffer) {
	var log bytes.Buffer
	config := &v1alpha1.Config{Source: v1alpha1.Source{URL: "/repo"}, Environments: []v1alpha1.Environment{{Name: "dev"}}}
	config.Source.Interval.Duration = time.Minute
	known, alone := &states{}, false
	config.LeaderElection = &alone
	r := &Runner{
		Config: config, states: known, log: slog.New(slog.NewTextHandler(&log, nil)), metrics: newMetrics(time.Now, known), now: time.Now,
		progress: func(Progress) {}, wake: make(chan struct{}, 1),
	}
	r.board = newBoard(r)
	r.pins = &pin.Resolver{Config: config, Checks: pin.NewChecks(config, time.Now), Dates: r.dates(), Log: r.log}
	r.planner = &target.Planner{Config: config, Renderings: &target.Renderings{}, Guard: r.guarded, Log: r.log}
	return r, &log
}

// toldOnce checks that one panic was counted for a target, and logged with the stack from where it was.
func toldOnce(t *testing.T, r *Runner, log *bytes.Buffer, target v1alpha1.Target, function string) {
	t.Helper()
	if n := testutil.ToFloat64(r.metrics.panics.WithLabelValues(target.Pipeline, target.Environment)); n != 1 {
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

func fall() error {
	var none []error
	return none[len(none)]
}

// deep falls in a goroutine below the target's own.
func deep() error {
	var g panics.Group
	g.Go(fall)
	return g.Wait()
}

// What only reads, as diff, drift and status do, loses the target that panics and has the others.
func TestAPanicFailsOneTargetOfACommand(t *testing.T) {
	for name, step := range map[string]func() error{"in its own goroutine": fall, "in one below": deep} {
		t.Run(name, func(t *testing.T) {
			r, log := loggedRunner()
			c := carrier{Runner: r}
			results := c.each([]*target.Desired{{Target: falling}, {Target: well}}, func(w *target.Desired, result *TargetResult) error {
				if w.Target == falling {
					return step()
				}
				result.Result = Applied
				return nil
			})
			if results[0].Result != Failed || !strings.Contains(results[0].Error, "panicked in github.com/syncerdev/syncer/pkg/pipeline.fall") {
				t.Errorf("the target that panicked: %s %s", results[0].Result, results[0].Error)
			}
			if results[1].Result != Applied || results[1].Error != "" {
				t.Errorf("its neighbour: %s %s", results[1].Result, results[1].Error)
			}
			toldOnce(t, r, log, falling, "pipeline.fall(")
		})
	}
}

// A sync goes on with the targets that are left. Here a target without a cluster panics in what writes.
func TestAPanicFailsOneTargetOfASync(t *testing.T) {
	r, log := loggedRunner()
	environment := &r.Config.Environments[0]
	stopped := context.Canceled // a failure that no record is asked for
	a := target.NewCommit([]*target.Desired{
		{Target: falling, Environment: environment, Overlay: "o"},
		{Target: well, Environment: environment, Overlay: "o", Err: stopped},
	})
	c := &carrier{Runner: r, agenda: a, lookups: r.pins.NewLookups(), arrived: map[v1alpha1.Target]reached{}}
	results := c.carryAll(t.Context(), a)
	if got := results[falling]; got.Result != Failed || panics.In(got.failure) == nil {
		t.Errorf("the target that panicked: %s %v", got.Result, got.failure)
	}
	if got := results[well]; !errors.Is(got.failure, stopped) {
		t.Errorf("its neighbour: %s %v", got.Result, got.failure)
	}
	if !strings.Contains(log.String(), "stack=") {
		t.Errorf("no stack was logged: %s", log)
	}
}

// A worker of the daemon goes on with the next target, and the one that panicked is tried again.
func TestAPanicLeavesTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, log := loggedRunner()
		finished := false
		roll := &rollout{ctx: t.Context(), over: make(chan struct{}), waiting: map[v1alpha1.Target]waiting{
			falling: {desired: &target.Desired{Target: falling}, finished: func() { finished = true }},
		}}
		ctx, stop := context.WithCancel(t.Context())
		d := newDaemon(ctx, r, LoopOptions{})
		d.commits.begin(roll)
		d.commits.plan(planned{commit: target.NewCommit([]*target.Desired{{Target: falling}})})
		d.states.change(falling, func(s *state) { s.last = &reconciliation{converged: true} })
		d.leases.begin(ctx)
		d.queue.add(falling, time.Now(), commitChanged)
		d.queue.add(well, time.Now(), retryDue)
		d.workers.Go(func() { d.work(ctx) })
		synctest.Wait()
		if d.queue.depth() > 0 || d.queue.taken(falling) || d.queue.taken(well) {
			t.Error("the worker is stuck")
		}
		stop()
		d.workers.Wait()
		if !finished {
			t.Error("the targets that wait for this one wait until the daemon ends")
		}
		if known := d.states.of(falling); known.last.converged || !known.failures.has() {
			t.Error("it is not tried again")
		}
		toldOnce(t, r, log, falling, "inTurn(") // its rollout has no carrier
	})
}

// What a rollout as a whole panics at ends that rollout. The loop reads on.
func TestAPanicEndsARollout(t *testing.T) {
	r, log := loggedRunner()
	d := newDaemon(t.Context(), r, LoopOptions{})
	d.rollOut(t.Context(), source.Snapshot{Commit: "c1", Files: brokenFiles{within: "."}})
	<-d.commits.current().over
	d.others.Wait()
	if !d.commits.wantRollout() {
		t.Error("nothing is tried again")
	}
	if !strings.Contains(log.String(), "stack=") {
		t.Errorf("no stack was logged: %s", log)
	}
}
