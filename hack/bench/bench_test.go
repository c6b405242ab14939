package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/syncerdev/syncer/internal/lab"
)

func TestPercentileIsAValueThatWasMeasured(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(100-i))
	}
	thirty := hundred[70:] // 30 to 1
	for _, c := range []struct {
		values []time.Duration
		p      int
		want   time.Duration
	}{
		{hundred, 50, 50}, {hundred, 99, 99}, {hundred, 100, 100},
		{thirty, 50, 15}, {thirty, 90, 27}, {thirty, 99, 30},
		{[]time.Duration{7}, 50, 7}, {[]time.Duration{3, 1, 2}, 50, 2}, {nil, 50, 0},
	} {
		if got := percentile(c.values, c.p); got != c.want {
			t.Errorf("p%d of %d values is %d, want %d", c.p, len(c.values), got, c.want)
		}
	}
}

func TestRequestsAreCountedByUser(t *testing.T) {
	event := func(user, verb, resource, uri, stage string) lab.AuditEvent {
		e := lab.AuditEvent{Verb: verb, RequestURI: uri, Stage: stage}
		e.User.Username, e.Object.Resource = user, resource
		return e
	}
	const done, begun = "ResponseComplete", "ResponseStarted"
	status := event("daemon", "patch", "pipelinesyncs", "/apis/x", done)
	status.Object.Subresource = "status"
	c := countOf([]lab.AuditEvent{
		event("daemon", "patch", "configmaps", "/api/v1/x?dryRun=All&force=true", done),
		event("daemon", "patch", "configmaps", "/api/v1/x?force=true", done),
		event("daemon", "patch", "configmaps", "/api/v1/y?force=true", done),
		event("daemon", "update", "leases", "/apis/x", done),
		event("daemon", "watch", "configmaps", "/api/v1/x?watch=true", begun),
		event("daemon", "watch", "configmaps", "/api/v1/x?watch=true", done),
		event("daemon", "get", "", "/apis?timeout=32s", done),
		event("raw", "patch", "configmaps", "/api/v1/x", done),
		status,
	}, "daemon")
	want := counts{
		"patch configmaps (dry run)": 1, "patch configmaps": 2, "update leases": 1, "watch configmaps": 1, "get /apis": 1,
		"patch pipelinesyncs/status": 1,
	}
	if len(c) != len(want) {
		t.Errorf("%v, want %v", c, want)
	}
	for what, n := range want {
		if c[what] != n {
			t.Errorf("%s: %d, want %d", what, c[what], n)
		}
	}
	if c.total() != 5 || c.leases() != 1 || c.watches() != 1 {
		t.Errorf("%d requests, %d for Leases and %d watches, want 5, 1 and 1", c.total(), c.leases(), c.watches())
	}
	if first := c.sorted()[0]; first != "patch configmaps" {
		t.Errorf("the first is %s", first)
	}
}

func TestReportHasARowForEachFigureAndAColumnForEachRun(t *testing.T) {
	one, two := &result{name: "102 settled"}, &result{name: "102 in progress"}
	one.seconds(rawCreate, 800*time.Millisecond)
	one.ratio(firstTime, 4*time.Second, rawCreate)
	two.ratio(firstTime, 3*time.Second, rawCreate) // without RAW there is no ratio
	two.megabytes("at rest, RSS", 97e6)
	one.requests("a commit", counts{"patch configmaps": 6}, 2)
	two.requests("a commit", counts{"patch configmaps": 1, "list secrets": 2}, 1)
	want := `| targets | 102 settled | 102 in progress | goal |
| --- | --- | --- | --- |
| RAW: all objects created | 0.80 s |  |  |
| first rollout | 4.00 s | 3.00 s |  |
| first rollout, x RAW | 5.00 |  | 3 |
| at rest, RSS |  | 97.0 MB |  |

Requests of a commit:

| verb and resource | 102 settled | 102 in progress |
| --- | --- | --- |
| patch configmaps | 3.00 | 1.00 |
| list secrets |  | 2.00 |
`
	if got := report([]*result{one, two}, true); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestMetricIsTheSumOfItsSamples(t *testing.T) {
	text := `# HELP syncer_targets Targets by state.
syncer_targets{environment="dev",state="Ready"} 30
syncer_targets{environment="dev",state="Unknown"} 4
syncer_targets{environment="prod",state="Ready"} 34
syncer_targets_other 5
go_goroutines 12
go_memstats_heap_inuse_bytes 5.5e+07
`
	for _, c := range []struct {
		name, without string
		want          float64
	}{
		{"syncer_targets", "", 68}, {"syncer_targets", `state="Unknown"`, 64}, {"go_goroutines", "", 12},
		{"go_memstats_heap_inuse_bytes", "", 5.5e7}, {"syncer_target", "", 0},
	} {
		if got := metric(text, c.name, c.without); got != c.want {
			t.Errorf("%s is %g, want %g", c.name, got, c.want)
		}
	}
}

func TestProcessorTimeIsThatOfAProcessAndItsChildren(t *testing.T) {
	p, err := parseStat("42 (sync (er) x) S 7 40 40 0 -1 4194560 1 2 3 4 100 50 30 20 20 0 9 0 1 1 1\n")
	if err != nil || p.parent != 7 || p.cpu != 2*time.Second {
		t.Errorf("%+v, %v", p, err)
	}
	all := map[int]process{1: {}, 7: {parent: 1}, 42: {parent: 7}, 43: {parent: 42}, 8: {parent: 1}}
	for id, want := range map[int]bool{7: true, 42: true, 43: true, 8: false, 1: false} {
		if descends(all, id, 7) != want {
			t.Errorf("process %d", id)
		}
	}
	if _, err := parseStat("42 (x) S 1"); err == nil {
		t.Error("a line that is too short is no error")
	}
	if got := kilobytes("VmPeak:\t  9 kB\nVmRSS:\t  1234 kB\n", "VmRSS:"); got != 1234 {
		t.Errorf("%d kB", got)
	}
}

func TestEachLimitHasAGoal(t *testing.T) {
	for _, l := range limits {
		if goals[l.figure] == "" {
			t.Errorf("%s has a limit and no goal", l.figure)
		}
	}
}

func TestCheckNamesWhatIsWorseThanItsLimit(t *testing.T) {
	r := &result{name: "102 settled"}
	for _, l := range limits {
		if strings.Contains(r.name, l.mode) {
			r.number(l.figure, l.most)
		}
	}
	if err := check([]*result{r}); err != nil {
		t.Error(err)
	}
	r.figures[0].value *= 2
	if err := check([]*result{r}); err == nil || !strings.Contains(err.Error(), r.figures[0].name) {
		t.Errorf("twice the limit: %v", err)
	}
	r.figures = r.figures[1:]
	if err := check([]*result{r}); err == nil || !strings.Contains(err.Error(), "was not measured") {
		t.Errorf("no value: %v", err)
	}
}

func TestFlagsChooseRunsAndParts(t *testing.T) {
	cases, err := selection{pipelines: "34,334", modes: "settled,progress"}.cases()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range cases {
		got = append(got, c.name())
	}
	if want := []string{"102 settled", "102 in progress", "1002 settled", "1002 in progress"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, wrong := range []selection{{pipelines: "0", modes: "settled"}, {pipelines: "x", modes: "settled"}, {pipelines: "1", modes: "fast"}} {
		if _, err := wrong.cases(); err == nil {
			t.Errorf("%+v is no error", wrong)
		}
	}
	if _, err := (selection{only: "commit,none"}).parts(); err == nil {
		t.Error("an unknown part is no error")
	}
}
