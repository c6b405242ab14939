package view

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/record"
)

// recordOf is a record of the configuration "data" with a condition Ready.
func recordOf(pipeline, environment string, history ...v1alpha1.Deployment) *v1alpha1.PipelineSync {
	return &v1alpha1.PipelineSync{
		Spec: v1alpha1.PipelineSyncSpec{Owner: "data", Pipeline: pipeline, Environment: environment},
		Status: v1alpha1.PipelineSyncStatus{
			LastAppliedCommit: oldest, History: history,
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: "True", Message: "all is well", LastTransitionTime: metav1.NewTime(midday)}},
		},
	}
}

func factsOf(records ...*v1alpha1.PipelineSync) Facts {
	f := Facts{
		At: midday, Config: &v1alpha1.Config{Name: "data", Environments: []v1alpha1.Environment{{Name: "prod", Drift: v1alpha1.Report}, {Name: "dev", Suspend: true}}},
		Records:  map[string]Records{"prod": {List: []*v1alpha1.PipelineSync{}}, "dev": {List: []*v1alpha1.PipelineSync{}}},
		Underway: func(v1alpha1.Target) string { return "" },
		Guard:    func(_ v1alpha1.Target, do func() error) error { return do() },
	}
	for _, r := range records {
		of := f.Records[r.Spec.Environment]
		of.List = append(of.List, r)
		f.Records[r.Spec.Environment] = of
	}
	return f
}

func namesOf(v *View) []string {
	out := []string{}
	for i := range v.Targets {
		out = append(out, v.Targets[i].Name())
	}
	return out
}

func TestTargetsOfAConfigurationAreShown(t *testing.T) {
	other, removed, astray := recordOf("etl", "dev"), recordOf("report", "dev"), recordOf("etl", "dev")
	other.Spec.Owner, removed.Status.RemovedAt = "other", &metav1.Time{Time: midday}
	f := factsOf(other, removed, recordOf("report", "prod"), recordOf("etl", "dev"), recordOf("etl", "prod"))
	astray.Spec.Environment = "test"
	f.Records["dev"] = Records{List: append(f.Records["dev"].List, astray)}
	v := New(f)
	if diff := cmp.Diff([]string{"etl@prod", "etl@dev", "report@prod"}, namesOf(v)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"etl", "report"}, v.Pipelines()); diff != "" {
		t.Error(diff)
	}
	if h, ok := v.History("etl", "prod"); !ok || h.Deployments == nil {
		t.Errorf("the history is %+v", h)
	}
	if _, ok := v.History("etl", "nowhere"); ok {
		t.Error("a target that is not there has a history")
	}
}

func TestFactsOfATarget(t *testing.T) {
	of := v1alpha1.Target{Pipeline: "etl", Environment: "prod"}
	for name, c := range map[string]struct {
		given  func(f *Facts, r *v1alpha1.PipelineSync)
		state  drift.State
		says   string
		behind int
	}{
		"nothing more": {func(*Facts, *v1alpha1.PipelineSync) {}, drift.Ready, "all is well", -1},
		"counted":      {func(f *Facts, _ *v1alpha1.PipelineSync) { f.Behind = map[v1alpha1.Target]int{of: 2} }, drift.Ready, "all is well", 2},
		"a commit is underway": {func(f *Facts, _ *v1alpha1.PipelineSync) {
			f.Underway = func(v1alpha1.Target) string { return "it waits" }
		}, drift.Progressing, "it waits", -1},
		"underway into a failed": {func(f *Facts, r *v1alpha1.PipelineSync) {
			f.Underway = func(v1alpha1.Target) string { return "it waits" }
			r.Status.Conditions[0].Status, r.Status.Conditions[0].Message = "False", "no such image"
		}, drift.Failed, "no such image", -1},
		"becoming healthy": {func(_ *Facts, r *v1alpha1.PipelineSync) {
			r.Status.Conditions[0].Status = "False"
			r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReconciling, Status: "True"})
		}, drift.Progressing, "all is well", -1},
		"held": {func(_ *Facts, r *v1alpha1.PipelineSync) {
			r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionHeld, Status: "True", Message: "it runs"})
		}, drift.Waiting, "it runs", -1},
		"no condition": {func(_ *Facts, r *v1alpha1.PipelineSync) { r.Status.Conditions = nil }, drift.Unknown, "syncer has not said yet how it is", -1},
		"a panic": {func(f *Facts, _ *v1alpha1.PipelineSync) {
			f.Guard = func(of v1alpha1.Target, do func() error) error {
				return errors.Join(do(), fmt.Errorf("%s caused a panic", of))
			}
		}, drift.Failed, "etl@prod caused a panic", -1},
	} {
		r := recordOf("etl", "prod")
		f := factsOf(r)
		f.Settings = map[v1alpha1.Target]Settings{of: {Owner: "data team", Folder: "pipelines/etl", LeftGit: true}}
		c.given(&f, r)
		got := New(f).Target("etl", "prod")
		if got.State != c.state || got.Message != c.says || got.Behind != c.behind || got.Owner != "data team" || got.Folder != "pipelines/etl" || !got.LeftGit {
			t.Errorf("%s: %s %q behind %d, of %q in %q", name, got.State, got.Message, got.Behind, got.Owner, got.Folder)
		}
	}
}

func TestEnvironmentsAreShownAsTheyCanBeRead(t *testing.T) {
	f := factsOf(recordOf("etl", "prod"))
	f.Records["prod"] = Records{List: f.Records["prod"].List, Err: errors.New("no answer")}
	delete(f.Records, "dev")
	v := New(f)
	want := []Environment{{Name: "prod", Drift: v1alpha1.Report, Error: "no answer"}, {Name: "dev", Suspended: true, Error: "its records are being read"}}
	if diff := cmp.Diff(want, v.Environments); diff != "" {
		t.Error(diff)
	}
	if v.Target("etl", "prod") == nil {
		t.Error("what was read last is not shown")
	}
}

func TestNewestCommitsAndEventsAreShown(t *testing.T) {
	var history []v1alpha1.Deployment
	for n := range 400 {
		history = append(history, v1alpha1.Deployment{Number: int64(400 - n), Commit: oldest, Outcome: record.Applied, Time: metav1.NewTime(midday.Add(-time.Duration(n) * time.Minute))})
	}
	f := factsOf(recordOf("etl", "prod", history...), recordOf("report", "dev", history...))
	f.Commits = make([]Commit, 2000)
	v := New(f)
	newestFirst := slices.IsSortedFunc(v.Events, func(a, b Event) int { return b.Time.Compare(a.Time) })
	if len(v.Commits) != shownCommits || len(v.Events) != shownEvents || !newestFirst || v.Events[1].Pipeline != "report" {
		t.Errorf("%d commits and %d events, the newest first: %t", len(v.Commits), len(v.Events), newestFirst)
	}
	if empty := New(factsOf()); empty.Targets == nil || empty.Events == nil || empty.Commits == nil {
		t.Error("a list is nil")
	}
}

func TestReportOfAView(t *testing.T) {
	seen := metav1.NewTime(midday.Add(-time.Minute))
	r := recordOf("etl", "prod")
	r.Status.Drift = &v1alpha1.DriftSummary{
		Findings: []v1alpha1.Finding{{Kind: "Modified", Severity: "warning", FirstSeen: &seen, Message: "changed"}},
		Past:     []v1alpha1.PastFinding{{Finding: v1alpha1.Finding{Kind: "Missing", Message: "deleted"}, EndedAt: seen, Ending: "Gone"}},
	}
	f := factsOf(r, recordOf("report", "dev"))
	f.Source = Source{URL: "https://git.example.com/a.git", Follows: "main", Commit: newest}
	v := New(f)
	got := v.Report(v1alpha1.Selection{Pipelines: []string{"etl"}})
	if len(got.Targets) != 1 || len(got.Findings) != 1 || len(got.Past) != 1 || got.Findings[0].AgeSeconds != 60 || got.Source.Branch != "main" {
		t.Errorf("the report is %+v", got)
	}
	status := v.Status(v1alpha1.Selection{Environments: []string{"prod"}}).Targets
	if len(status) != 1 || !status[0].Drifted || !status[0].Ready || status[0].DeployedAt != nil {
		t.Errorf("the status is %+v", status)
	}
}

// A view with kept parts equals one without them, whatever changed; only the targets that changed are made.
func TestKeptViewsEqualNewOnes(t *testing.T) {
	etl, report := recordOf("etl", "prod"), recordOf("report", "prod")
	newer := recordOf("etl", "prod")
	newer.Status.Conditions[0].Status, newer.Status.Conditions[0].Message = "False", "it failed"
	of := v1alpha1.Target{Pipeline: "report", Environment: "prod"}
	made, message := 0, ""
	kept := &Kept{}
	for name, c := range []struct {
		what string
		next func(*Facts)
		made int
	}{
		{"the first view", func(*Facts) {}, 2},
		{"nothing new", func(*Facts) {}, 0},
		{"a newer record", func(f *Facts) { f.Records["prod"] = Records{List: []*v1alpha1.PipelineSync{newer, report}} }, 1},
		{"another owner", func(f *Facts) { f.Settings = map[v1alpha1.Target]Settings{of: {Owner: "team-b"}} }, 2},
		{"more commits behind", func(f *Facts) { f.Behind = map[v1alpha1.Target]int{of: 3} }, 1},
		{"a commit on its way", func(*Facts) { message = "commit c0ffee is on its way" }, 1},
		{"a target less", func(f *Facts) { f.Records["prod"] = Records{List: []*v1alpha1.PipelineSync{report}} }, 0},
	} {
		f := factsOf(etl, report)
		f.Underway = func(target v1alpha1.Target) string {
			if target == of {
				return message
			}
			return ""
		}
		c.next(&f)
		want := New(f)
		f.Kept, made = kept, 0
		f.Guard = func(_ v1alpha1.Target, do func() error) error { made++; return do() }
		if diff := cmp.Diff(want, New(f)); diff != "" || made != c.made {
			t.Errorf("%d, %s: %d were made, want %d\n%s", name, c.what, made, c.made, diff)
		}
	}
	if len(kept.byTarget) != 1 {
		t.Errorf("%d views are kept of one target", len(kept.byTarget))
	}
}

// BenchmarkView measures the view of a thousand targets, new and with those that it keeps from the view before.
func BenchmarkView(b *testing.B) {
	var records []*v1alpha1.PipelineSync
	for i := range 500 {
		for _, environment := range []string{"dev", "prod"} {
			records = append(records, recordOf(fmt.Sprintf("pipeline-%d", i), environment, v1alpha1.Deployment{Commit: oldest, Time: metav1.NewTime(midday)}))
		}
	}
	for b.Loop() {
		if got := len(New(factsOf(records...)).Targets); got != len(records) {
			b.Fatal(got)
		}
	}
}
