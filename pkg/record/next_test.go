package record

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

var job = manifest.ID{APIVersion: "batch/v1", Kind: "Job", Namespace: "etl", Name: "daily"}

// heldJob is a change of a job that waits.
func heldJob(action manifest.Action, hash string) manifest.Change {
	return manifest.Change{ID: job, Action: manifest.Hold, Held: &manifest.Held{Action: action, Reason: manifest.HeldRunning, Message: "its run goes on", Hash: hash}}
}

// appliedOnce is a record after its first deployment.
func appliedOnce() v1alpha1.PipelineSync {
	record := v1alpha1.PipelineSync{}
	record.Generation = 7
	record.Status = v1alpha1.PipelineSyncStatus{
		ObservedGeneration: 7, LastAppliedCommit: "c1", LastAttemptedCommit: "c1",
		History: []v1alpha1.Deployment{{Number: 1, Commit: "c1", Outcome: Applied, Set: setHash(nil), Time: noon}},
	}
	return record
}

// atRest is the outcome of a pass that finds a target as git says.
func atRest() Outcome {
	return Outcome{Commit: Commit{Hash: "c1"}, Apply: &Apply{}, Drift: &Drift{}, Health: Health{Status: health.Healthy}}
}

// told writes the conditions of a status in lines.
func told(status v1alpha1.PipelineSyncStatus, kinds ...string) string {
	var lines []string
	for _, c := range status.Conditions {
		for _, kind := range kinds {
			if c.Type == kind {
				lines = append(lines, strings.TrimSpace(strings.Join([]string{c.Type, string(c.Status), c.Reason, c.Message}, " ")))
			}
		}
	}
	return strings.Join(lines, "\n")
}

func TestReadyReconcilingStalled(t *testing.T) {
	late, soon := noon.Time.Add(11*time.Minute), noon.Time.Add(time.Minute)
	left := v1alpha1.Contest{Path: "spec.replicas", Manager: "autoscaler", Object: v1alpha1.ReferenceTo(job), Times: 3, Last: noon, Until: &metav1.Time{Time: late}}
	ready := func(message string) string {
		return "Ready True Healthy " + message + "\nReconciling False Healthy\nStalled False Healthy"
	}
	stalled := func(reason, message string) string {
		return "Ready False " + reason + " " + message + "\nReconciling False " + reason + "\nStalled True " + reason + " " + message
	}
	progressing := func(reason, message string) string {
		return "Ready False " + reason + " " + message + "\nReconciling True " + reason + " " + message + "\nStalled False " + reason
	}
	const waits = "of Job/etl/daily waits since 2030-01-02T12:01:00Z: its run goes on"
	found := []drift.Finding{{Kind: drift.Modified, Path: "data.v"}}
	for name, c := range map[string]struct {
		change func(*Outcome)
		before func(*v1alpha1.PipelineSync)
		now    time.Time
		want   string
	}{
		"healthy": {want: ready("every object is as git says and healthy")},
		"a failure that may end by itself": {
			change: func(o *Outcome) {
				o.Failure = &Failure{Reason: "RegistryUnavailable", Message: "no answer", Passing: true}
			},
			want: "Ready False RegistryUnavailable no answer\nReconciling True Retrying syncer tries again at the next pass\nStalled False Retrying",
		},
		"a failure that stays": {
			change: func(o *Outcome) { o.Failure = &Failure{Reason: "ImageNotFound", Message: "no such tag"} },
			want:   stalled("ImageNotFound", "no such tag"),
		},
		"an ownership conflict": {
			before: func(r *v1alpha1.PipelineSync) { r.Status.Contested = []v1alpha1.Contest{left} },
			want:   stalled("Contested", "autoscaler keeps taking spec.replicas of Job/daily: syncer took it back 3 times and leaves it alone until 2030-01-02T12:11:00Z; end the fight with an ignore rule, or stop autoscaler"),
		},
		"an object that could not be compared": {
			change: func(o *Outcome) { o.Drift.Uncorrected = "1 object could not be compared: no" },
			want:   stalled("NotCompared", "1 object could not be compared: no"),
		},
		"a held creation": {
			change: func(o *Outcome) { o.Apply.Held = []manifest.Change{heldJob(manifest.Create, "a")} },
			want:   progressing("Incomplete", "the creation "+waits),
		},
		"a held change": {
			change: func(o *Outcome) { o.Apply.Held = []manifest.Change{heldJob(manifest.Update, "a")} },
			want:   ready("every object is healthy; 1 change held"),
		},
		"drift that is left alone": {
			change: func(o *Outcome) { o.Drift.Found = found },
			want:   ready("every object is healthy; 1 difference from git"),
		},
		"kinds that are not watched": {
			change: func(o *Outcome) { o.Drift.Unwatched = []string{"Job.batch"} },
			want:   ready("every object is as git says and healthy; not watched, and compared at each poll: Job.batch"),
		},
		"a tag that flaps": {
			change: func(o *Outcome) { o.Health.Notes = []string{"web:1 flaps"} },
			want:   ready("every object is as git says and healthy; web:1 flaps"),
		},
		"the newest commit waits": {
			change: func(o *Outcome) {
				o.Wait, o.Apply, o.Drift = &Wait{Reason: "Suspended", Message: "suspended"}, nil, nil
			},
			want: ready("what was applied last is healthy; the newest commit waits"),
		},
		"a rollout": {
			change: func(o *Outcome) { o.Health = Health{Status: health.InProgress, Message: "1 of 2 pods"} },
			want:   progressing("Progressing", "1 of 2 pods"),
		},
		"a rollout that takes too long": {
			change: func(o *Outcome) { o.Health = Health{Status: health.InProgress, Message: "1 of 2 pods"} },
			now:    late, want: stalled("HealthTimeout", "not healthy within 10m0s: 1 of 2 pods"),
		},
		"a rollout that may take longer": {
			change: func(o *Outcome) {
				o.Health, o.Rules.HealthTimeout = Health{Status: health.InProgress, Message: "1 of 2 pods"}, time.Hour
			},
			now: late, want: progressing("Progressing", "1 of 2 pods"),
		},
		"an object that failed": {
			change: func(o *Outcome) { o.Health = Health{Status: health.Failed, Message: "it crashes"} },
			want:   stalled("Unhealthy", "it crashes"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			record, o := appliedOnce(), atRest()
			if c.before != nil {
				c.before(&record)
			}
			if c.change != nil {
				c.change(&o)
			}
			if c.now.IsZero() {
				c.now = soon
			}
			got := Next(record, o, c.now)
			if diff := cmp.Diff(c.want, told(got, v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled)); diff != "" {
				t.Error(diff)
			}
			record.Status = got
			if again := Next(record, o, c.now.Add(time.Second)); !cmp.Equal(got, again) {
				t.Errorf("the same outcome changes the status: %s", cmp.Diff(got, again))
			}
		})
	}
}

func TestHeldAndPromotionPending(t *testing.T) {
	held := []v1alpha1.HeldChange{{ObjectReference: v1alpha1.ReferenceTo(job), Action: "Update", Reason: "InUse", Message: "it is used", Since: noon}}
	for name, c := range map[string]struct {
		change func(*Outcome)
		before func(*v1alpha1.PipelineSync)
		want   string
	}{
		"nothing": {want: "Held False NothingHeld"},
		"a change": {
			change: func(o *Outcome) { o.Apply.Held = []manifest.Change{heldJob(manifest.Prune, "")} },
			want:   "Held True Running the deletion of Job/etl/daily waits since 2030-01-02T12:01:00Z: its run goes on",
		},
		"a failed pass keeps what waits": {
			change: func(o *Outcome) { o.Failure, o.Apply = &Failure{Reason: "Failed", Message: "no"}, nil },
			before: func(r *v1alpha1.PipelineSync) { r.Status.Held = held },
			want:   "Held True InUse the change of Job/etl/daily waits since 2030-01-02T12:00:00Z: it is used",
		},
		"a suspended target": {
			change: func(o *Outcome) { o.Wait, o.Apply = &Wait{Reason: "Suspended", Message: "suspended"}, nil },
			want:   "Held True Suspended suspended",
		},
		"a promotion": {
			change: func(o *Outcome) {
				o.Rules.Promotes = true
				o.Wait, o.Apply = &Wait{Reason: v1alpha1.ConditionPromotionPending, Message: "not healthy there yet"}, nil
			},
			want: "Held True PromotionPending not healthy there yet\nPromotionPending True PromotionPending not healthy there yet",
		},
		"no promotion is pending": {
			change: func(o *Outcome) { o.Rules.Promotes = true },
			want:   "Held False NothingHeld\nPromotionPending False NothingHeld",
		},
		"another wait of a target that promotes": {
			change: func(o *Outcome) {
				o.Rules.Promotes, o.Wait, o.Apply = true, &Wait{Reason: "Dependency", Message: "it depends on a"}, nil
			},
			want: "Held True Dependency it depends on a\nPromotionPending False NothingHeld",
		},
	} {
		t.Run(name, func(t *testing.T) {
			record, o := appliedOnce(), atRest()
			if c.before != nil {
				c.before(&record)
			}
			if c.change != nil {
				c.change(&o)
			}
			got := Next(record, o, noon.Time.Add(time.Minute))
			if diff := cmp.Diff(c.want, told(got, v1alpha1.ConditionHeld, v1alpha1.ConditionPromotionPending)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A target that waits before its first apply is not ready for that reason, and has no health.
func TestFirstWait(t *testing.T) {
	got := Next(v1alpha1.PipelineSync{}, Outcome{Commit: Commit{Hash: "c1"}, Spec: Spec{Generation: 1}, Wait: &Wait{Reason: "Suspended", Message: "suspended"}}, noon.Time)
	if diff := cmp.Diff("Ready False Suspended suspended\nHeld True Suspended suspended", told(got, "Ready", "Held", "Stalled")); diff != "" {
		t.Error(diff)
	}
	if got.ObservedGeneration != 1 || got.LastAttemptedCommit != "c1" || got.LastAppliedCommit != "" {
		t.Errorf("%+v", got)
	}
}

func TestCommitsOfAStatus(t *testing.T) {
	for name, c := range map[string]struct {
		change                                 func(*Outcome)
		lastAttempted, lastApplied, deployment string
	}{
		"nothing to do":                  {nil, "c1", "c1", "c1"},
		"a change":                       {func(o *Outcome) { o.Apply.Pending, o.Apply.Inventory = true, applied([]manifest.ID{job}) }, "c2", "c2", "c2"},
		"a change that fails":            {func(o *Outcome) { o.Apply.Pending, o.Failure, o.Drift = true, &Failure{Reason: "Failed"}, nil }, "c2", "c1", "c2"},
		"a failure before the apply":     {func(o *Outcome) { o.Apply, o.Failure, o.Drift = nil, &Failure{Reason: "Failed"}, nil }, "c2", "c1", "c1"},
		"a trailer without a change":     {func(o *Outcome) { o.Apply.Allowed = true }, "c1", "c2", "c1"},
		"a wait":                         {func(o *Outcome) { o.Apply, o.Wait, o.Drift = nil, &Wait{Reason: "Suspended"}, nil }, "c2", "c1", "c1"},
		"a change that begins to wait":   {func(o *Outcome) { o.Apply.Held = []manifest.Change{heldJob(manifest.Update, "a")} }, "c2", "c2", "c2"},
		"syncer stops":                   {func(o *Outcome) { o.Apply, o.Failure = nil, &Failure{Canceled: true} }, "c1", "c1", "c1"},
		"an apply that was not recorded": {func(o *Outcome) { o.Apply.Inventory = applied([]manifest.ID{job}) }, "c2", "c2", "c2"},
		"a removal that waits": {func(o *Outcome) {
			o.Apply = &Apply{Removal: true, Held: []manifest.Change{heldJob(manifest.Prune, "")}}
		}, "c1", "c1", "c1"},
	} {
		record, o := appliedOnce(), atRest()
		o.Commit.Hash = "c2"
		if c.change != nil {
			c.change(&o)
		}
		got := Next(record, o, noon.Time)
		if got.LastAttemptedCommit != c.lastAttempted || got.LastAppliedCommit != c.lastApplied || got.History[0].Commit != c.deployment {
			t.Errorf("%s: attempted %s, applied %s, deployed %s", name, got.LastAttemptedCommit, got.LastAppliedCommit, got.History[0].Commit)
		}
	}
}

func TestSpecAndRemarks(t *testing.T) {
	record, o := appliedOnce(), atRest()
	record.Status.Warnings = []string{"old"}
	o.Spec = Spec{Generation: 8, Apply: "id"}
	got := Next(record, o, noon.Time)
	if got.ObservedGeneration != 8 || got.ConfirmedApply != "id" || got.Warnings[0] != "old" {
		t.Errorf("%d %s %v", got.ObservedGeneration, got.ConfirmedApply, got.Warnings)
	}
	o.Rendered = &Rendered{Warnings: []string{"new"}, Unpinned: []v1alpha1.UnpinnedValue{{Path: "data.image", Reference: "a:1"}}}
	got = Next(record, o, noon.Time)
	if diff := cmp.Diff([]string{"new"}, NewWarnings(record.Status.Warnings, got.Warnings)); diff != "" || len(got.Unpinned) != 1 {
		t.Error(diff, got.Unpinned)
	}
}

func TestHealthyDates(t *testing.T) {
	ago := func(minutes int) *metav1.Time {
		return &metav1.Time{Time: noon.Time.Add(-time.Duration(minutes) * time.Minute)}
	}
	for name, c := range map[string]struct {
		health             Health
		healthy, unhealthy *metav1.Time // of the deployment before
		wantHealthy        *metav1.Time
		wantUnhealthy      *metav1.Time
	}{
		"healthy for the first time":    {health: Health{Status: health.Healthy}, wantHealthy: ago(0)},
		"healthy as before":             {health: Health{Status: health.Healthy}, healthy: ago(5), wantHealthy: ago(5)},
		"not healthy yet":               {health: Health{Status: health.InProgress}},
		"not healthy any more":          {health: Health{Status: health.Failed}, healthy: ago(5), wantHealthy: ago(5), wantUnhealthy: ago(0)},
		"still not healthy":             {health: Health{Status: health.Failed}, healthy: ago(5), unhealthy: ago(3), wantHealthy: ago(5), wantUnhealthy: ago(3)},
		"healthy again":                 {health: Health{Status: health.Healthy}, healthy: ago(5), unhealthy: ago(3), wantHealthy: ago(5)},
		"another image runs":            {health: Health{Status: health.Healthy, Swapped: []string{"Deployment/shop/web"}}},
		"the end of a run was not seen": {health: Health{Status: health.Healthy, Unseen: true}},
	} {
		record, o := appliedOnce(), atRest()
		record.Status.History[0].HealthyAt, record.Status.History[0].UnhealthyAt = c.healthy, c.unhealthy
		o.Health = c.health
		got := Next(record, o, noon.Time).History[0]
		if !got.HealthyAt.Equal(c.wantHealthy) || !got.UnhealthyAt.Equal(c.wantUnhealthy) {
			t.Errorf("%s: healthy at %v, unhealthy at %v", name, got.HealthyAt, got.UnhealthyAt)
		}
		if record.Status.History[0].HealthyAt != c.healthy {
			t.Errorf("%s: the given record is changed", name)
		}
	}
}

func TestConflictsOfAPass(t *testing.T) {
	c := v1alpha1.Contest{Object: v1alpha1.ReferenceTo(job), Path: "spec.suspend", Times: 1, First: noon, Last: noon}
	for name, x := range map[string]struct {
		o    Outcome
		want int
	}{
		"no apply":                 {Outcome{Failure: &Failure{}}, 1},
		"a removal that fails":     {Outcome{Apply: &Apply{Removal: true}, Failure: &Failure{}}, 1},
		"a removal that waits":     {Outcome{Apply: &Apply{Removal: true}}, 0},
		"a correction of one more": {Outcome{Apply: &Apply{Changes: []manifest.Change{takenBack("web")}}}, 2},
	} {
		record := appliedOnce()
		record.Status.Contested = []v1alpha1.Contest{c}
		if got := Next(record, x.o, noon.Time); len(got.Contested) != x.want {
			t.Errorf("%s: %+v", name, got.Contested)
		}
	}
}

func TestRemoved(t *testing.T) {
	record := appliedOnce()
	record.Status.ConfirmedApply, record.Status.Inventory = "id", applied([]manifest.ID{job})
	got := Removed(record, "c2", noon.Time)
	want := v1alpha1.PipelineSyncStatus{
		ObservedGeneration: 7, ConfirmedApply: "id", LastAttemptedCommit: "c2", RemovedAt: &noon, History: record.Status.History,
		Conditions: []metav1.Condition{{Type: "Ready", Status: "False", Reason: "Removed", Message: "the pipeline left git and its objects were deleted; the record keeps its pins", LastTransitionTime: noon}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// A revert deploys the same objects once more.
	record.Status = got
	o := atRest()
	o.Apply.Pending = true
	again := Next(record, o, noon.Time)
	if again.RemovedAt != nil || len(again.History) != 2 || again.History[0].RollbackOf != 1 {
		t.Errorf("removed at %v; %+v", again.RemovedAt, again.History)
	}
}

func TestUnderway(t *testing.T) {
	record := appliedOnce()
	record.Status = Next(record, atRest(), noon.Time)
	got := Underway(record.Status, "0123456789", noon.Time.Add(time.Minute))
	const message = "commit 01234567 is on its way; c1 was applied last"
	if diff := cmp.Diff("Ready False CommitUnderway "+message+"\nReconciling True CommitUnderway "+message+"\nStalled False CommitUnderway", told(got, "Ready", "Reconciling", "Stalled")); diff != "" {
		t.Error(diff)
	}
	if at := meta.FindStatusCondition(got.Conditions, "Ready").LastTransitionTime; !at.Time.Equal(noon.Time.Add(time.Minute)) {
		t.Errorf("dated %s", at)
	}
	marked := record
	marked.Status = got
	if !SameButConditions(&record, &marked) {
		t.Error("a mark changes more than conditions")
	}
	doubtful := marked
	doubtful.Status.Inventory, marked.Status.Inventory = applied([]manifest.ID{job}), applied([]manifest.ID{job})
	doubtful.Status.Inventory[0].Unconfirmed = true
	if !SameButConditions(&doubtful, &marked) {
		t.Error("the doubts of a reader count")
	}
	if doubtful.Status.Inventory[0].Hash = "other"; SameButConditions(&doubtful, &marked) {
		t.Error("another inventory counts as the same")
	}
}

func TestNewlyCutOff(t *testing.T) {
	run := func(deleted bool) []v1alpha1.InventoryEntry {
		return []v1alpha1.InventoryEntry{{UID: "u", Deleted: deleted}}
	}
	for name, c := range map[string]struct {
		before, after []v1alpha1.InventoryEntry
		want          bool
	}{
		"it runs":           {run(false), run(false), false},
		"it is gone":        {run(false), run(true), true},
		"it was gone":       {run(true), run(true), false},
		"an object is new":  {nil, run(true), true},
		"there are no runs": {nil, nil, false},
	} {
		if got := NewlyCutOff(c.before, c.after); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
