package limit

import "testing"

func TestObjects(t *testing.T) {
	for _, c := range []struct {
		deleted, total, percent, objects int
		want                             string
	}{
		{0, 10, 50, 0, ""},
		{0, 0, 50, 0, ""},
		{5, 10, 50, 0, ""}, // strictly more is refused
		{6, 10, 50, 0, "the limit of 50 %"},
		{10, 10, 100, 0, "what a commit may delete without leave"},
		{1, 1, 100, 0, "what a commit may delete without leave"},
		{3, 100, 50, 3, ""},
		{4, 100, 50, 3, "the limit of 3 objects"},
		{60, 100, 50, 3, "the limit of 50 %"},
		{99, 100, 100, 0, ""},
	} {
		if got := Objects(c.deleted, c.total, c.percent, c.objects); got != c.want {
			t.Errorf("%d of %d by %d %% and %d: %q, want %q", c.deleted, c.total, c.percent, c.objects, got, c.want)
		}
	}
}

func TestTarget(t *testing.T) {
	for _, c := range []struct {
		objects, limit int
		want           string
	}{{5, 0, ""}, {5, 5, ""}, {6, 5, "the limit of 5 objects"}} {
		if got := Target(c.objects, c.limit); got != c.want {
			t.Errorf("%d by %d: %q, want %q", c.objects, c.limit, got, c.want)
		}
	}
}

func TestPipelines(t *testing.T) {
	for _, c := range []struct {
		removed, total, percent int
		want                    bool
	}{{0, 0, 50, false}, {1, 4, 25, false}, {2, 4, 25, true}, {4, 4, 100, true}, {3, 4, 100, false}, {1, 1, 100, true}} {
		if got := Pipelines(c.removed, c.total, c.percent); got != c.want {
			t.Errorf("%d of %d by %d %%: %t", c.removed, c.total, c.percent, got)
		}
	}
}

func TestPass(t *testing.T) {
	if Pass(100, 0) || Pass(10, 10) || !Pass(11, 10) {
		t.Error("a pass may delete as many objects as its limit says, and any number without one")
	}
}
