package commands

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
)

var (
	faulty = v1alpha1.Target{Pipeline: "faulty", Environment: "dev"}
	other  = v1alpha1.Target{Pipeline: "other", Environment: "dev"}
)

// guarded is a session without a cluster, with its log and the targets of its panics.
type guarded struct {
	*testing.T
	session *Session
	log     bytes.Buffer
	counted []v1alpha1.Target
}

func newGuarded(t *testing.T) *guarded {
	w := &guarded{T: t}
	config := &v1alpha1.Config{Source: v1alpha1.Source{URL: "/repo"}, Environments: []v1alpha1.Environment{{Name: "dev"}}}
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	guard := target.Guard{Log: log, Count: func(of v1alpha1.Target) { w.counted = append(w.counted, of) }}
	w.session = &Session{Config: config, progress: func(Progress) {}}
	w.session.Reconciler = &reconcile.Reconciler{Config: config, Guard: guard, Log: log, Dates: target.Dates{Now: time.Now}, Pins: &pin.Resolver{Config: config, Checks: pin.NewChecks(config, time.Now)}}
	return w
}

// wantOnce checks that one panic was counted, and logged with the stack from its place.
func (w *guarded) wantOnce(function string) {
	w.Helper()
	if len(w.counted) != 1 || w.counted[0] != faulty {
		w.Errorf("the panics of %v were counted", w.counted)
	}
	if n := strings.Count(w.log.String(), "msg=panic"); n != 1 {
		w.Errorf("%d panics were logged", n)
	}
	for _, want := range []string{"pipeline=faulty", "stack=", function} {
		if !strings.Contains(w.log.String(), want) {
			w.Errorf("the log does not say %s:\n%s", want, &w.log)
		}
	}
}

func outOfRange() error {
	var none []error
	return none[len(none)]
}

// outOfRangeBelow panics in a goroutine of its own.
func outOfRangeBelow() error {
	var g panics.Group
	g.Go(outOfRange)
	return g.Wait()
}

// A command that only reads, as diff, drift and status do, loses the target that panics and has the others.
func TestAPanicFailsOneTargetOfACommand(t *testing.T) {
	for name, step := range map[string]func() error{"in its own goroutine": outOfRange, "in one below": outOfRangeBelow} {
		t.Run(name, func(t *testing.T) {
			w := newGuarded(t)
			results := w.session.each([]*target.Desired{{Target: faulty}, {Target: other}}, func(d *target.Desired) (reconcile.Result, error) {
				result := reconcile.NewResult(d)
				if d.Target == faulty {
					return result, step()
				}
				result.Result = reconcile.Applied
				return result, nil
			})
			if results[0].Result != reconcile.Failed || !strings.Contains(results[0].Error, "panicked in github.com/syncerdev/syncer/pkg/commands.outOfRange") {
				t.Errorf("the target that panicked: %s %s", results[0].Result, results[0].Error)
			}
			if results[1].Result != reconcile.Applied || results[1].Error != "" {
				t.Errorf("its neighbour: %s %s", results[1].Result, results[1].Error)
			}
			w.wantOnce("commands.outOfRange(")
		})
	}
}

// A sync goes on with the other targets. Here a target without a cluster panics in the code that writes.
func TestAPanicFailsOneTargetOfASync(t *testing.T) {
	w := newGuarded(t)
	environment := &w.session.Config.Environments[0]
	stopped := context.Canceled // a failure that is not recorded
	commit := target.NewCommit([]*target.Desired{
		{Target: faulty, Environment: environment, Overlay: "o"},
		{Target: other, Environment: environment, Overlay: "o", Err: stopped},
	})
	pass := reconcile.NewPass(commit, w.session.Reconciler.Pins.NewLookups())
	results := w.session.reconcileAll(t.Context(), pass, nil)
	if got := results[faulty]; got.Result != reconcile.Failed || panics.In(got.Detail.Failure) == nil {
		t.Errorf("the target that panicked: %s %v", got.Result, got.Detail.Failure)
	}
	if got := results[other]; !errors.Is(got.Detail.Failure, stopped) {
		t.Errorf("its neighbour: %s %v", got.Result, got.Detail.Failure)
	}
	if !strings.Contains(w.log.String(), "stack=") {
		t.Errorf("no stack was logged: %s", &w.log)
	}
}
