package drift

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/pkg/manifest"
)

func finding(path string, live any) Finding {
	at := now.Add(-time.Hour)
	return Finding{
		Pipeline: "p", Environment: "e", Kind: Modified, Severity: Warning, Path: path, Desired: int64(1), Live: live, Manager: "kubectl-edit", Operation: "Update", Time: &at,
		Object: manifest.ID{APIVersion: "v1", Kind: "K", Namespace: "n", Name: "x"}, Message: "m", File: "a.yaml", Line: 3,
	}
}

func TestFindingsComeBackFromARecord(t *testing.T) {
	want := []Finding{finding("spec.a", map[string]any{"b": []any{"c"}}), finding("spec.b", nil)}
	got := Recorded("p", "e", Summary(want, nil, nil, now))
	for i := range want {
		want[i].FirstSeen = &now
		want[i].Desired = float64(1) // as JSON has it
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAFindingKeepsWhenItWasFirstSeen(t *testing.T) {
	first := Summary([]Finding{finding("spec.a", "x")}, nil, nil, now)
	later := Summary([]Finding{finding("spec.a", "y"), finding("spec.b", "z")}, nil, first, now.Add(time.Minute))
	if a, b := later.Findings[0].FirstSeen, later.Findings[1].FirstSeen; !a.Equal(first.Findings[0].FirstSeen) || !b.Time.Equal(now.Add(time.Minute)) {
		t.Errorf("first seen at %s and %s", a, b)
	}
	if again := Summary([]Finding{finding("spec.a", "y"), finding("spec.b", "z")}, nil, later, now.Add(time.Hour)); !cmp.Equal(later, again) {
		t.Errorf("an equal check says something new: %s", cmp.Diff(later, again))
	}
}

func TestWhatEndsIsRemembered(t *testing.T) {
	a, b, c := finding("spec.a", "x"), finding("spec.b", "y"), finding("spec.c", "z")
	waits := finding("", nil)
	waits.Kind = Held
	before := Summary([]Finding{a, b, waits}, nil, nil, now)
	later := now.Add(time.Minute)
	// a was put right, b went by itself, and c came and was put right in one pass.
	summary := Summary(nil, []Finding{a, c}, before, later)
	got := map[string]string{}
	for _, past := range PastOf("p", "e", summary) {
		got[past.Path] = string(past.Ending) + " " + past.FirstSeen.Format(time.TimeOnly) + " " + past.EndedAt.Format(time.TimeOnly) + " " + past.Manager
	}
	want := map[string]string{
		"spec.a": "Corrected 12:00:00 12:01:00 kubectl-edit", "spec.b": "Gone 12:00:00 12:01:00 kubectl-edit", "spec.c": "Corrected 12:01:00 12:01:00 kubectl-edit",
	}
	if diff := cmp.Diff(want, got); diff != "" || summary.Total != 0 {
		t.Errorf("%d findings; %s", summary.Total, diff)
	}
	for range 100 {
		summary = Summary(nil, []Finding{a}, summary, later)
	}
	if len(summary.Past) != keptPast {
		t.Errorf("%d past findings are kept", len(summary.Past))
	}
}

func TestALongValueIsCut(t *testing.T) {
	long := finding("data.a", map[string]any{"k": strings.Repeat("é", 5000)})
	kept := Summary([]Finding{long}, nil, nil, now).Findings[0]
	if size := len(kept.Live.Raw); size == 0 || size > longestKept {
		t.Errorf("%d bytes are kept", size)
	}
}

func TestUserIsRecalledForTheSameWrite(t *testing.T) {
	f := finding("spec.a", "x")
	f.User = "alice"
	before := Summary([]Finding{f}, nil, nil, now)
	again := []Finding{finding("spec.a", "x")}
	Recall(again, before)
	if again[0].User != "alice" || again[0].FirstSeen == nil {
		t.Errorf("got %+v", again[0])
	}
	other := finding("spec.a", "y")
	other.Time = &now
	again = []Finding{other}
	if Recall(again, before); again[0].User != "" {
		t.Errorf("a newer write is said to be %s's", again[0].User)
	}
	again = []Finding{finding("spec.a", "z")}
	if Recall(again, before); again[0].User != "" {
		t.Errorf("a write of another value is said to be %s's", again[0].User)
	}
}

func TestRate(t *testing.T) {
	path := func(text string) manifest.Path {
		p, err := manifest.ParsePath(text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	rules := []SeverityRule{
		{Kind: "K", Path: path("spec.a"), Severity: Info},
		{Kind: "K", Path: path("spec"), Severity: Critical},
		{Kind: "Other", Severity: Critical},
	}
	findings := []Finding{finding("spec.a.b", 1), finding("spec.b", 1), finding("data", 1), finding("", nil)}
	Rate(findings, rules)
	var got []Severity
	for _, f := range findings {
		got = append(got, f.Severity)
	}
	if diff := cmp.Diff([]Severity{Info, Critical, Warning, Warning}, got); diff != "" {
		t.Error(diff)
	}
}
