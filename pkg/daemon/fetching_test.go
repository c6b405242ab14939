package daemon

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// TestFetchThatHangs checks that the retries of targets go on while a git server hangs. The daemon sends one request at a
// time. It sends the next one at once where a webhook called in the meantime.
func TestFetchThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, said := newTestDaemon(func(config *v1alpha1.Config) { config.Source.Interval.Duration = 10 * time.Second })
		s := newScheduler(t.Context(), d)
		report := v1alpha1.Target{Pipeline: "report", Environment: "dev"}
		s.commits.fullPass = time.Now()
		s.commits.plan(planned{commit: target.NewCommit([]*target.Desired{{Target: report, Overlay: "overlays/dev"}})})
		l := &loop{scheduler: s, last: source.Snapshot{Commit: "a"}, polls: newPollLimiter()}
		var questions atomic.Int32
		release := make(chan error)
		l.fetching = newFetching(func(context.Context) (source.Snapshot, error) {
			questions.Add(1)
			return source.Snapshot{}, <-release
		}, &s.others)
		tried := func(after time.Duration) {
			t.Helper()
			began := time.Now()
			l.poll(t.Context())
			if took := time.Since(began); took != after {
				t.Errorf("a poll took %s, want %s", took, after)
			}
			if _, ok := s.queue.entries[report]; !ok {
				t.Error("a target that is due is not looked at while the git server hangs")
			}
			clear(s.queue.entries)
		}
		tried(fetchWait)
		l.pause(t.Context())
		tried(0)
		if n := questions.Load(); n != 1 {
			t.Errorf("%d questions at once, want one", n)
		}
		began := time.Now()
		go func() {
			time.Sleep(3 * time.Second)
			release <- errors.New("no answer")
		}()
		l.pause(t.Context())
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("the next look, for which was asked meanwhile, came after %s", took)
		}
		if view := d.publisher.Source().Error; view != "no answer" || !strings.Contains(said.String(), "no answer") {
			t.Errorf("the failure is shown as %q and logged as %s", view, said.String())
		}
		d.FetchFailed(errors.New("the server sent nothing"))
		if view := d.publisher.Source().Error; view != "the server sent nothing" || !strings.Contains(said.String(), "the server sent nothing") {
			t.Errorf("a try that fails is shown as %q and logged as %s", view, said.String())
		}
		l.fetching.begin(t.Context())
		release <- nil
		<-l.fetching.answers
	})
}
