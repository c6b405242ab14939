package reconcile

import (
	"errors"
	"testing"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
)

func TestSummaryIsOneLine(t *testing.T) {
	changes := func(actions ...manifest.Action) (out []Change) {
		for _, action := range actions {
			out = append(out, Change{Action: action})
		}
		return out
	}
	health := record.Health{Message: "Deployment/a/web: 1 of 2 pods are ready", Notes: []string{"the tag web:v1 flaps"}}
	held := make([]manifest.Change, 2)
	for name, c := range map[string]struct {
		result  Result
		drifted int
		kept    []string
		held    []manifest.Change
		health  record.Health
		want    string
	}{
		"nothing to do": {result: Result{Result: Unchanged}},
		"actions in a fixed order": {
			result: Result{Result: Applied, Changes: changes(manifest.Prune, manifest.Create, manifest.Update, manifest.Create, manifest.Replace)},
			want:   "2 created; 1 updated; 1 replaced; 1 pruned",
		},
		"held":              {result: Result{Result: Held, Changes: changes(manifest.Hold)}, held: held, want: "2 changes held"},
		"drift":             {result: Result{Result: Unchanged}, drifted: 1, want: "1 drifted field left alone"},
		"kept digests":      {result: Result{Result: Applied}, kept: []string{"a:1", "b:2"}, want: "kept the digest of a:1, b:2, which cannot be looked up now"},
		"not compared":      {result: Result{Result: Unchanged, Detail: Detail{Uncompared: errors.New("1 object could not be compared: no")}}, want: "1 object could not be compared: no"},
		"health of changes": {result: Result{Result: Applied, Changes: changes(manifest.Update)}, health: health, want: "1 updated; the tag web:v1 flaps; Deployment/a/web: 1 of 2 pods are ready"},
		"notes alone":       {result: Result{Result: Unchanged}, health: health, want: "the tag web:v1 flaps"},
	} {
		o := record.Outcome{Apply: &record.Apply{Held: c.held}, Health: c.health}
		if got := summary(c.result, c.drifted, c.kept, o); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
