package target

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// deployed is a target of prod whose record lists some ConfigMaps, and whose overlay renders to nothing.
func deployed(environment *v1alpha1.Environment, name string, objects int) *Desired {
	d := wanted(name)
	d.Environment, d.Record, d.Rendered.Set = environment, &v1alpha1.PipelineSync{}, manifest.Pack(manifest.Set{})
	for i := range objects {
		entry := v1alpha1.InventoryEntry{APIVersion: "v1", Kind: "ConfigMap", Namespace: "shop", Name: fmt.Sprintf("%s-%d", name, i)}
		d.Record.Status.Inventory = append(d.Record.Status.Inventory, entry)
	}
	return d
}

// refused lists the targets with a refusal, in their order.
func refused(t *testing.T, targets []*Desired, says string) string {
	t.Helper()
	var names []string
	for _, d := range targets {
		if d.Err == nil {
			continue
		}
		var refusal *RefusedError
		if !errors.As(d.Err, &refusal) || !strings.Contains(d.Err.Error(), says) || !strings.Contains(d.Err.Error(), "`Syncer-Allow-Prune: "+d.Target.Pipeline+"`") {
			t.Errorf("%s: %v", d.Target, d.Err)
		}
		names = append(names, d.Target.Pipeline)
	}
	return strings.Join(names, " ")
}

func TestRemovingTooManyPipelinesIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		gone     []string
		recorded int
		allowed  []string
		refused  string
	}{
		"half of them":                        {[]string{"a", "b"}, 4, nil, ""},
		"more than half":                      {[]string{"a", "b", "c"}, 4, nil, "a b c"},
		"one is allowed, and the rest is few": {[]string{"a", "b", "c"}, 4, []string{"a"}, ""},
		"all are allowed":                     {[]string{"a", "b", "c"}, 3, []string{"a", "b", "c"}, ""},
		"the only one":                        {[]string{"a"}, 1, nil, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			half := 50
			environment := &v1alpha1.Environment{Name: "prod", Prune: v1alpha1.Prune{MaxPercent: &half}}
			commit := NewCommit([]*Desired{wanted("stays")})
			for _, pipeline := range c.gone {
				d := deployed(environment, pipeline, 1)
				d.Overlay = ""
				commit.Targets = append(commit.Targets, d)
			}
			commit.recorded = map[string]int{"prod": c.recorded}
			commit.Allowed.Prunes = map[v1alpha1.Target]bool{}
			for _, pipeline := range c.allowed {
				commit.Allowed.Prunes[v1alpha1.Target{Pipeline: pipeline, Environment: "prod"}] = true
			}
			commit.limitRemovals()
			if got := refused(t, commit.Targets, fmt.Sprintf("this commit would remove %d of the %d pipelines of prod", len(c.gone), c.recorded)); got != c.refused {
				t.Errorf("refused are %q, want %q", got, c.refused)
			}
		})
	}
}

// The limit of a pass counts the deletions of all targets of an environment, also of those that leave git and were not selected.
func TestDeletingTooManyObjectsInOnePassIsRefused(t *testing.T) {
	const limit = 4
	for name, c := range map[string]struct {
		a, b    int
		edit    func(*Commit)
		refused string
	}{
		"as many as the limit": {2, 2, nil, ""},
		"more":                 {2, 3, nil, "a b"},
		"one is allowed":       {2, 3, func(c *Commit) { c.Allowed.Prunes = map[v1alpha1.Target]bool{c.Targets[0].Target: true} }, ""},
		"one has another fault": {2, 3, func(c *Commit) {
			c.Targets[0].Overlay = ""
			c.Targets[0].Err = &RefusedError{"`Syncer-Allow-Prune: a` this commit would delete 5 objects"}
		}, "a"},
		"one was never deployed":       {2, 3, func(c *Commit) { c.Targets[0].Record = nil }, ""},
		"one is not rendered":          {2, 3, func(c *Commit) { c.Targets[0].Rendered.Set = manifest.Packed{} }, ""},
		"one was not selected":         {2, 3, func(c *Commit) { c.Targets, c.Others = c.Targets[:1], c.Targets[1:] }, ""},
		"one leaves git, not selected": {2, 3, func(c *Commit) { c.Targets[1].Overlay = ""; c.Targets, c.Others = c.Targets[:1], c.Targets[1:] }, "a b"},
		"there is no limit":            {2, 3, func(c *Commit) { c.Targets[0].Environment.Prune.MaxPerPass = 0 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			environment := &v1alpha1.Environment{Name: "prod", Prune: v1alpha1.Prune{MaxPerPass: limit}}
			commit := NewCommit([]*Desired{deployed(environment, "a", c.a), deployed(environment, "b", c.b)})
			if c.edit != nil {
				c.edit(commit)
			}
			commit.limitPrunes()
			if got := refused(t, commit.All(), "this commit would delete 5 objects"); got != c.refused {
				t.Errorf("refused are %q, want %q", got, c.refused)
			}
		})
	}
}

func TestOnePipelineThatLosesTooMuchIsNamedInTheSingular(t *testing.T) {
	environment := &v1alpha1.Environment{Name: "prod", Prune: v1alpha1.Prune{MaxPerPass: 1}}
	one, two := deployed(environment, "a", 3), deployed(environment, "b", 2)
	commit := NewCommit([]*Desired{one})
	commit.limitPrunes()
	refused(t, commit.Targets, "this commit would delete 3 objects from 1 pipeline of prod, which is above the limit of 1 in one pass")
	one.Err = nil
	commit = NewCommit([]*Desired{one, two})
	commit.limitPrunes()
	refused(t, commit.Targets, "this commit would delete 5 objects from 2 pipelines of prod,")
}

// A limit of an environment is checked with the targets whose overlays are late, and not without them.
func TestDeletionsWaitForTheOverlaysThatAreLate(t *testing.T) {
	for name, c := range map[string]struct {
		most  int
		waits bool
	}{"the late one may go over the limit": {4, true}, "all of them are within it": {5, false}} {
		environment := &v1alpha1.Environment{Name: "prod", Prune: v1alpha1.Prune{MaxPerPass: c.most}}
		losing, late := deployed(environment, "losing", 2), deployed(environment, "late", 3)
		late.Err = &PendingError{Overlay: "late"}
		commit := NewCommit([]*Desired{losing, late})
		commit.limitPrunes()
		if _, waits := errors.AsType[*PendingError](losing.Err); waits != c.waits || (losing.Err != nil) != c.waits {
			t.Errorf("%s: %v", name, losing.Err)
		}
	}
}
