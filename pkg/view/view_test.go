package view

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
)

var midday = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

const (
	newest = "cccc000000000000000000000000000000000000"
	middle = "bbbb000000000000000000000000000000000000"
	oldest = "aaaa000000000000000000000000000000000000"
	gone   = "aaad000000000000000000000000000000000000" // rewritten away
)

func TestArrivals(t *testing.T) {
	target := func(name, commit string, behind int, state drift.State, history ...drift.Deployment) Target {
		return Target{Target: drift.Target{Pipeline: name, Environment: "prod", Commit: commit, Behind: behind, State: state, Message: "why " + name, Deployments: history}}
	}
	deployed := func(number int64, commit, outcome string) drift.Deployment {
		return drift.Deployment{Number: number, Commit: commit, Outcome: outcome}
	}
	v := &View{Commits: []Commit{{Hash: newest}, {Hash: middle}, {Hash: oldest}}, Targets: []Target{
		target("runs it", middle, 0, drift.Ready, deployed(2, middle, record.Applied), deployed(1, oldest, record.Applied)),
		target("ran it", newest, 0, drift.Ready, deployed(3, newest, record.Applied), deployed(2, middle, record.Applied)),
		target("never needed it", oldest, 0, drift.Ready, deployed(1, oldest, record.Applied)),
		target("took a newer one", newest, 0, drift.Ready, deployed(3, newest, record.Applied)),
		target("holds a part", oldest, 2, drift.Waiting, deployed(2, middle, record.HeldInPart), deployed(1, oldest, record.Applied)),
		target("waits as a whole", oldest, 2, drift.Waiting, deployed(1, oldest, record.Applied)),
		target("refused it", oldest, 2, drift.Failed, deployed(2, middle, record.Failed), deployed(1, oldest, record.Applied)),
		target("has not come so far", oldest, 2, drift.Ready, deployed(1, oldest, record.Applied)),
	}}
	want := map[string]ArrivalKind{
		"runs it": Arrived, "ran it": Replaced, "never needed it": Untouched, "took a newer one": Untouched,
		"holds a part": Awaited, "waits as a whole": Awaited, "refused it": Refused, "has not come so far": Pending,
	}
	got := v.Arrivals(middle)
	if len(got) != len(want) {
		t.Fatalf("%d targets, want %d", len(got), len(want))
	}
	for _, a := range got {
		if a.Arrival != want[a.Pipeline] || a.Message == "" && a.Arrival != Arrived {
			t.Errorf("a target that %s: %s (%q), want %s", a.Pipeline, a.Arrival, a.Message, want[a.Pipeline])
		}
	}
}

func TestCommitsAreFoundByTheirBeginning(t *testing.T) {
	v := &View{
		Commits: []Commit{{Hash: newest, Subject: "newest"}, {Hash: oldest}},
		Targets: []Target{{Target: drift.Target{Deployments: drift.Deployments{{Commit: gone, Subject: "gone"}, {Commit: newest}}}}},
	}
	for prefix, want := range map[string]string{"cccc0": "newest", newest: "newest", "aaad": "gone", "aaa": "", "ffff": "", "": ""} {
		got := ""
		if c := v.Commit(prefix); c != nil {
			got = c.Subject
		}
		if got != want {
			t.Errorf("%q finds %q, want %q", prefix, got, want)
		}
	}
	v.Commits[1].Hash = "aaad111111111111111111111111111111111111"
	if c := v.Commit("aaad"); c != nil {
		t.Errorf("what begins two commits finds %s", c.Hash)
	}
}

// A record gives the same view, whichever replica reads it.
func TestViewOfARecord(t *testing.T) {
	at := func(minute int) metav1.Time { return metav1.NewTime(midday.Add(time.Duration(minute) * time.Minute)) }
	healthy, seen := at(2), at(7)
	r := &v1alpha1.PipelineSync{
		Spec: v1alpha1.PipelineSyncSpec{Pipeline: "etl", Environment: "prod"},
		Status: v1alpha1.PipelineSyncStatus{
			LastAppliedCommit: oldest,
			History: []v1alpha1.Deployment{
				{Number: 4, Commit: newest, Subject: "waits", Outcome: record.HeldInPart, Time: at(6)},
				{Number: 3, Commit: oldest, Subject: "back", Outcome: record.Applied, Time: at(5), RollbackOf: 1},
				{Number: 2, Commit: middle, Subject: "bad", Outcome: record.Failed, Time: at(4)},
				{Number: 1, Commit: oldest, Subject: "first", Outcome: record.Applied, Time: at(1), HealthyAt: &healthy},
			},
			Held: []v1alpha1.HeldChange{{Message: "it runs", Since: at(6)}},
			Drift: &v1alpha1.DriftSummary{
				Total:    3,
				Findings: []v1alpha1.Finding{{Kind: "Modified", Severity: "warning", FirstSeen: &seen, Message: "changed"}, {Kind: "Held", Severity: "info", FirstSeen: &seen, Message: "held"}},
				Past:     []v1alpha1.PastFinding{{Finding: v1alpha1.Finding{Kind: "Missing", FirstSeen: &healthy, Message: "deleted"}, EndedAt: at(3), Ending: "Corrected"}},
			},
			Inventory: []v1alpha1.InventoryEntry{{APIVersion: "v1", Kind: "ConfigMap", Namespace: "etl", Name: "settings"}},
		},
	}
	v := OfRecord(r, 2)
	if v.Subject != "back" || v.Total != 3 || v.Drift(drift.Warning) != 1 || v.Drift(drift.Info) != 0 || len(v.Objects) != 1 || v.Behind != 2 {
		t.Errorf("the view is %+v", v)
	}
	var got strings.Builder
	for _, e := range eventsOf(&v) {
		fmt.Fprintln(&got, int(e.Time.Sub(midday).Minutes()), e.Kind, e.Message)
	}
	want := `6 Held waits
5 RolledBack back
4 Failed bad
1 Deployed first
2 Healthy every object is healthy
7 Drifted changed
2 Drifted deleted
3 Ended put right: deleted
6 Held it runs
`
	if got.String() != want {
		t.Errorf("the events are\n%s, want\n%s", got.String(), want)
	}
}

// A daemon says of a target what the command says: nothing for a target that is ready and in sync.
func TestViewStatusSaysOnlyNews(t *testing.T) {
	deploy := manifest.ID{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "data-prod", Name: "app"}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		state    drift.State
		message  string
		findings []drift.Finding
		want     string
	}{
		"ready":  {drift.Ready, "every object is as git says and healthy", nil, ""},
		"failed": {drift.Failed, "the registry has no such image", nil, "the registry has no such image"},
		"held":   {drift.Waiting, "it waits", []drift.Finding{{Kind: drift.Held, Object: deploy, Message: "it waits for its run"}}, "it waits"},
		"changed": {drift.Ready, "every object is healthy", []drift.Finding{
			{Kind: drift.Modified, Severity: drift.Warning, Object: deploy, Path: "spec.replicas"},
			{Kind: drift.Modified, Severity: drift.Warning, Object: deploy, Path: "spec.paused"},
			{Kind: drift.Added, Severity: drift.Info, Object: deploy, Message: "kubectl added a label"},
		}, "kubectl added a label; changed by hand: Deployment/data-prod/app"},
	} {
		v := View{At: at, Targets: []Target{{Target: drift.Target{Pipeline: "app", Environment: "prod", State: c.state, Message: c.message, DeployedAt: &at}, Findings: c.findings}}}
		if got := v.Status(v1alpha1.Selection{}).Targets[0].Message; got != c.want {
			t.Errorf("%s: %q, not %q", name, got, c.want)
		}
	}
}

// A commit that is held in part is shown with its own subject, and what runs with its own images.
func TestTargetIsShownWithTheSubjectOfItsCommit(t *testing.T) {
	deployment := func(number int64, commit, outcome string) v1alpha1.Deployment {
		return v1alpha1.Deployment{Number: number, Commit: commit, Subject: "subject of " + commit, Author: "author of " + commit, Outcome: outcome, Time: metav1.Unix(number, 0),
			Images: []v1alpha1.DeployedImage{{Reference: "app:" + commit}}}
	}
	r := &v1alpha1.PipelineSync{Status: v1alpha1.PipelineSyncStatus{
		History: []v1alpha1.Deployment{deployment(2, "newer", record.HeldInPart), deployment(1, "older", "Applied")},
	}}
	for applied, want := range map[string]string{"newer": "newer", "older": "older", "changed nothing here": "older"} {
		r.Status.LastAppliedCommit = applied
		got := Reported(r, 0)
		if got.Subject != "subject of "+want || got.Author != "author of "+want {
			t.Errorf("commit %q is shown as %q by %q", applied, got.Subject, got.Author)
		}
		if got.Images[0].Reference != "app:older" || got.DeployedAt.Unix() != 1 {
			t.Errorf("commit %q: what runs is %v of %s", applied, got.Images, got.DeployedAt)
		}
	}
}
