package underway

import (
	"log/slog"
	"strconv"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

const (
	older = "1111111111111111111111111111111111111111"
	newer = "2222222222222222222222222222222222222222"
)

var etl = v1alpha1.Target{Pipeline: "etl", Environment: "prod"}

// desired returns the target etl@prod as a commit has it, which the daemon `data` has deployed before.
func desired(commit string) *target.Desired {
	return &target.Desired{
		Target: etl, Snapshot: source.Snapshot{Commit: commit},
		Record: &v1alpha1.PipelineSync{
			Spec: v1alpha1.PipelineSyncSpec{Owner: "data"}, Status: v1alpha1.PipelineSyncStatus{LastAppliedCommit: older},
		},
	}
}

func newTracker() *Tracker {
	return NewTracker(target.Dates{Now: time.Now}, slog.New(slog.DiscardHandler), nil)
}

// TestWhichRecordsAreMarked: a record says that a newer commit is on its way only where it is the daemon's own and says of an
// older one that it is applied.
func TestWhichRecordsAreMarked(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*target.Desired)
		want bool
	}{
		{"deployed before", func(*target.Desired) {}, true},
		{"never deployed", func(d *target.Desired) { d.Record = nil }, false},
		{"never applied", func(d *target.Desired) { d.Record.Status.LastAppliedCommit = "" }, false},
		{"of another daemon", func(d *target.Desired) { d.Record.Spec.Owner = "sales" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := desired(newer)
			tt.edit(d)
			marks := newTracker().Track("data", []*target.Desired{d}, time.Now())
			if got := marks[etl] != nil; got != tt.want {
				t.Errorf("marked: %t, want %t", got, tt.want)
			}
		})
	}
}

// TestMessageOfAFailedCommit: what a reconcile ended with is said only of the newest commit, and until that is carried out.
func TestMessageOfAFailedCommit(t *testing.T) {
	type end struct {
		commit, failure string
		superseded      bool
	}
	failed := end{commit: newer, failure: "the API server is away"}
	const said = "commit 22222222 is not carried out: the API server is away"
	for _, tt := range []struct {
		name string
		ends []end
		want string
	}{
		{"it failed", []end{failed}, said},
		{"it succeeded", []end{{commit: newer}}, ""},
		{"it failed, and then succeeded", []end{failed, {commit: newer}}, ""},
		{"an older one failed", []end{{commit: older, failure: "late"}}, ""},
		{"an older one ended after it failed", []end{failed, {commit: older}}, said},
		{"it was superseded", []end{{commit: newer, failure: "late", superseded: true}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tracker := newTracker()
			tracker.Track("data", []*target.Desired{desired(newer)}, time.Now())
			for _, e := range tt.ends {
				tracker.Ended(etl, e.commit, e.failure, e.superseded)
			}
			if got := tracker.Message(etl); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if tracker.Forget(etl); tracker.Message(etl) != "" {
				t.Error("a forgotten target still has a message")
			}
		})
	}
}

// TestMarksOfACommitShareOneState: a reconcile with an older commit may still write the record, so a newer commit gets the
// mark that this reconcile closes.
func TestMarksOfACommitShareOneState(t *testing.T) {
	tracker := newTracker()
	first := tracker.Track("data", []*target.Desired{desired(older)}, time.Now())[etl]
	second := tracker.Track("data", []*target.Desired{desired(newer)}, time.Now())[etl]
	if first != second {
		t.Error("two commits on their way to one target have two marks")
	}
	tracker.Ended(etl, newer, "", false)
	if third := tracker.Track("data", []*target.Desired{desired(newer)}, time.Now())[etl]; third == first {
		t.Error("a commit after one that has arrived has the mark of the one before")
	}
}

// Where a commit is on its way to very many targets, some are marked at once, the last first, and the others one after the
// other. Targets that were tried in vain do not keep others from their mark.
func TestMarksOfManyTargetsArePaced(t *testing.T) {
	var all []*target.Desired
	for i := range 80 {
		d := *desired(newer)
		d.Target.Pipeline = strconv.Itoa(i)
		all = append(all, &d)
	}
	marks := newTracker().Track("data", all, time.Now())
	p := pace{rate.NewLimiter(0, marksBurst), map[*target.Desired]int{}}
	first := p.next(all, marks)
	if len(first) != marksBurst || first[0] != all[79] || first[marksBurst-1] != all[30] {
		t.Errorf("%d are marked at once", len(first))
	}
	if again := p.next(all, marks); len(again) > 0 {
		t.Errorf("%d more are marked at once", len(again))
	}
	p.limiter = rate.NewLimiter(0, 31)
	marks[all[29].Target].marked = newer // by its reconcile
	if next := p.next(all, marks); len(next) != 31 || next[0] != all[28] || next[28] != all[0] || next[29] != all[79] {
		t.Errorf("then %d are marked", len(next))
	}
}
