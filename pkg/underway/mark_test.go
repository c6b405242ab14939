package underway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// trip is a newer commit on its way to a target that is deployed and ready.
type trip struct {
	*bench.Bench
	desired  *target.Desired
	tracker  *Tracker
	mark     *Mark
	marks    Marks
	notified atomic.Int32
}

// newTrip deploys a set, and begins a trip of a commit that cannot be rendered. The commit was first seen ten seconds ago.
func newTrip(t *testing.T, set ...string) *trip {
	t.Helper()
	b := bench.New(t)
	b.Deploy(b.Set(set...))
	status := b.Record().Status
	status.LastAppliedCommit = older
	status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: "True", Reason: "Healthy", LastTransitionTime: metav1.Now()}}
	if _, err := b.Cluster.Records().SaveStatus(b.Ctx, b.Target, status, ""); err != nil {
		t.Fatal(err)
	}
	p := &trip{Bench: b}
	p.desired = &target.Desired{
		Target: b.Target, Cluster: b.Cluster, Record: b.Record(), Overlay: "overlay", Snapshot: source.Snapshot{Commit: newer}, Err: errors.New("not valid YAML"),
	}
	p.tracker = NewTracker(target.Dates{Now: time.Now}, slog.New(slog.DiscardHandler), func(v1alpha1.Target) { p.notified.Add(1) })
	p.marks = p.tracker.Track("test", []*target.Desired{p.desired}, time.Now().Add(-10*time.Second))
	p.mark = p.marks[b.Target]
	return p
}

// write writes the mark now, unless it is not to be written.
func (p *trip) write() error {
	return p.mark.write(p.Ctx, time.Now)
}

// isMarked reports whether the record says that the newer commit is on its way.
func (p *trip) isMarked() bool {
	p.T.Helper()
	ready := meta.FindStatusCondition(p.Record().Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == "False" && ready.Reason == "CommitUnderway" && ready.Message == "commit 22222222 is on its way; 11111111 was applied last"
}

// run runs the tracker until it ends by itself, or the test ends.
func (p *trip) run() (ended func()) {
	var running sync.WaitGroup
	running.Go(func() { p.tracker.Run(p.Ctx, []*target.Desired{p.desired}, p.marks, time.Now()) })
	return running.Wait
}

func TestACommitThatTakesLongIsSaidInTheRecord(t *testing.T) {
	p := newTrip(t)
	ended := p.run()
	p.Eventually("the record says it", p.isMarked)
	if p.tracker.Message(p.Target) == "" || p.notified.Load() != 1 {
		t.Errorf("it says %q, and %d were notified", p.tracker.Message(p.Target), p.notified.Load())
	}
	if !p.mark.Touched() {
		t.Error("the reconcile does not read the record again")
	}
	record := p.Record()
	p.mark.Begin(record)
	p.mark.Close(p.Ctx)
	p.mark.End(newer, false)
	ended()
}

func TestACommitThatArrivesInTimeIsNotSaid(t *testing.T) {
	p := newTrip(t)
	p.mark.End(newer, false)
	p.run()()
	if p.isMarked() || p.notified.Load() > 0 {
		t.Error("the record says that the commit is on its way")
	}
}

func TestACommitThatChangesNothingIsNotSaid(t *testing.T) {
	p := newTrip(t, bench.Settings("settings", "1"))
	p.desired.Err = nil
	p.desired.Rendered.Set = manifest.Pack(manifest.Set{p.Object(bench.Settings("settings", "1"))})
	p.run()()
	if p.isMarked() || p.notified.Load() > 0 {
		t.Error("the record says that the commit is on its way")
	}
	p.desired.Rendered.Set = manifest.Pack(manifest.Set{p.Object(bench.Settings("settings", "2"))})
	ended := p.run()
	p.Eventually("the record says that another commit is on its way", p.isMarked)
	p.mark.End(newer, false)
	ended()
}

func TestTheTrackerEndsWithItsContext(t *testing.T) {
	p := newTrip(t)
	ctx, cancel := context.WithCancel(p.Ctx)
	p.Ctx = ctx
	ended := p.run()
	cancel()
	ended()
}

// A reconcile takes the marks over into the record that it works with, so that its next write asks for the version that the
// mark left.
func TestAReconcileTakesMarksOver(t *testing.T) {
	p := newTrip(t)
	if p.mark.Touched() {
		t.Error("a mark that was never written has touched the record")
	}
	if err := p.write(); err != nil || p.isMarked() {
		t.Errorf("between Touched and Begin the record is the reconcile's: %v", err)
	}

	record := p.Record()
	p.mark.Begin(record)
	if err := p.write(); err != nil || !p.isMarked() {
		t.Fatalf("the record is not marked while the reconcile reads: %v", err)
	}
	p.mark.Close(p.Ctx)
	if now := p.Record(); record.ResourceVersion != now.ResourceVersion || len(record.Status.Conditions) != len(now.Status.Conditions) {
		t.Errorf("the reconcile has version %s of the record, want %s", record.ResourceVersion, now.ResourceVersion)
	}
	p.mark.Close(p.Ctx) // once more, as when the reconcile fails

	written, err := p.Cluster.Records().SaveSpec(p.Ctx, p.Target, record, p.Spec(), cluster.Promises{})
	if err != nil {
		t.Fatal(err)
	}
	p.mark.Reopen(written)
	p.mark.expect(older + "0") // another commit comes while the objects are written
	if err := p.write(); err != nil {
		t.Fatal(err)
	}
	version := p.mark.Leave(p.Ctx, written.Version)
	if now := p.Record().ResourceVersion; version != now || version == written.Version {
		t.Errorf("the next write asks for %s, want %s", version, now)
	}
	if got := p.mark.Leave(p.Ctx, "7"); got != "7" {
		t.Errorf("a mark that is closed changes the version to %s", got)
	}
	p.mark.End(newer, false)
	if p.mark.isOver() {
		t.Error("the other commit has arrived with the one before it")
	}
	p.mark.End(older+"0", false)
	if !p.mark.isOver() {
		t.Error("a commit that was reconciled is on its way")
	}
}

// Another syncer may write the record while a reconcile works with it. The reconcile finds that out by its own write.
func TestARecordOfAnotherSyncerIsNotMarked(t *testing.T) {
	p := newTrip(t)
	p.mark.Touched()
	record := p.Record()
	p.mark.Begin(record)
	status := record.Status
	status.LastAttemptedCommit = "another"
	if _, err := p.Cluster.Records().SaveStatus(p.Ctx, p.Target, status, ""); err != nil {
		t.Fatal(err)
	}
	if err := p.write(); err == nil {
		t.Error("the mark overwrites what another syncer wrote")
	}
	if err := p.write(); err != nil || p.isMarked() { // now the outcome is in doubt, and the record is read
		t.Errorf("the mark overwrites what another syncer wrote: %v", err)
	}
	p.mark.Close(p.Ctx)
	if record.ResourceVersion == p.Record().ResourceVersion {
		t.Error("the reconcile takes over what another syncer wrote")
	}
}

func TestARecordThatIsGoneIsNotMarked(t *testing.T) {
	p := newTrip(t)
	record := p.Record()
	if err := p.Cluster.Records().Delete(p.Ctx, p.Target, record.UID, record.ResourceVersion); err != nil {
		t.Fatal(err)
	}
	if err := p.write(); err != nil || p.Record() != nil {
		t.Errorf("the record is written again: %v", err)
	}
}

// The answer to the write of a mark may be lost. Then the reconcile reads what the write left.
func TestTheAnswerToAMarkIsLost(t *testing.T) {
	p := newTrip(t)
	var lose atomic.Bool
	p.ConnectThrough(connect.Limits{}, func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		answer, err := inner.RoundTrip(req)
		if err == nil && req.Method == http.MethodPatch && lose.Load() {
			return nil, errors.Join(errors.New("connection reset by peer"), answer.Body.Close())
		}
		return answer, err
	})
	p.desired.Cluster, p.mark.cluster = p.Cluster, p.Cluster
	p.mark.Touched()
	record := p.Record()
	p.mark.Begin(record)
	lose.Store(true)
	if err := p.write(); err == nil {
		t.Error("the answer is not lost")
	}
	lose.Store(false)
	p.mark.Close(p.Ctx)
	if now := p.Record(); !p.isMarked() || record.ResourceVersion != now.ResourceVersion {
		t.Errorf("the reconcile has version %s of the record, want %s", record.ResourceVersion, now.ResourceVersion)
	}
}

// A target without a record that could be marked has no mark, and the reconcile asks a nil one all the same.
func TestANilMarkDoesNothing(t *testing.T) {
	var m *Mark
	if m.Touched() {
		t.Error("it has touched a record")
	}
	m.Begin(nil)
	m.Close(t.Context())
	m.Reopen(cluster.Written{})
	if got := m.Leave(t.Context(), "7"); got != "7" {
		t.Errorf("it changes the version to %s", got)
	}
	m.End(newer, false)
}
