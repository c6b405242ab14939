package drift

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// changeShape names a change by what it is made of.
type changeShape struct {
	action, held manifest.Action // held is what waits, of a Hold
	live, want   bool            // the object is in the cluster; git has it
	drifted      bool
}

func (s changeShape) String() string {
	return fmt.Sprintf("%s%s live=%t want=%t drifted=%t", s.action, s.held, s.live, s.want, s.drifted)
}

// change is one of the shape. Its fields differ also where an object is missing: no consumer may rely on both.
func (s changeShape) change() manifest.Change {
	change := changed(edited+"spec: {replicas: 7}", original)
	change.Added = []manifest.Addition{{Path: "metadata.labels.team", Value: "mine", Manager: manifest.Manager{Name: "kubectl-edit"}}}
	change.Fields = append(change.Fields,
		manifest.FieldChange{Path: "spec.paused", To: false}, manifest.FieldChange{Path: "spec.replicas", From: int64(7)}, manifest.FieldChange{Path: "not[a path"})
	change.Action, change.Drifted = s.action, s.drifted
	if s.action == manifest.Hold {
		change.Action = s.held
		change.Hold(manifest.HeldDependency, "Job/data/migrate runs", change.ID)
	}
	if !s.live {
		change.Live = nil
	}
	if !s.want {
		change.Want = nil
	}
	return change
}

func changeShapes() []changeShape {
	var out []changeShape
	actions := []manifest.Action{manifest.None, manifest.Create, manifest.Update, manifest.Replace, manifest.Prune}
	for _, live := range []bool{true, false} {
		for _, want := range []bool{true, false} {
			for _, drifted := range []bool{true, false} {
				for _, action := range actions {
					out = append(out, changeShape{action: action, live: live, want: want, drifted: drifted}, changeShape{action: manifest.Hold, held: action, live: live, want: want, drifted: drifted})
				}
			}
		}
	}
	return out
}

// A change may be of an object that is not in the cluster yet, or not in git any more, and it may wait: findings are
// made of each.
func TestEveryShapeOfChangeIsReported(t *testing.T) {
	for _, s := range changeShapes() {
		t.Run(s.String(), func(t *testing.T) {
			changes := []manifest.Change{s.change()}
			Compare("sessions", "prod", changes, "syncer")
			HeldEdits("sessions", "prod", changes, "syncer")
			Additions("sessions", "prod", changes)
		})
	}
}

func TestHeldCreation(t *testing.T) {
	for _, test := range []struct {
		name    string
		drifted bool
		kinds   []Kind
		message string
	}{
		{"git made it", false, []Kind{Held}, "Job/data/migrate runs"},
		{"somebody deleted the object, and its predecessor is not healthy", true, []Kind{Missing}, "not in the cluster"},
	} {
		t.Run(test.name, func(t *testing.T) {
			change := manifest.Change{Action: manifest.Create, Drifted: test.drifted, Want: object(original)}
			change.ID = manifest.IDOf(change.Want)
			change.Hold(manifest.HeldDependency, "Job/data/migrate runs")
			found := Compare("sessions", "prod", []manifest.Change{change}, "syncer")
			var kinds []Kind
			for _, f := range found {
				kinds = append(kinds, f.Kind)
			}
			if diff := cmp.Diff(test.kinds, kinds); diff != "" {
				t.Fatal(diff)
			}
			if !strings.Contains(found[0].Message, test.message) {
				t.Errorf("the finding says %q", found[0].Message)
			}
		})
	}
}

// Of an object that cannot be compared a finding names the reason once, and what can be seen of it all the same.
func TestUncompared(t *testing.T) {
	id := manifest.IDOf(object(original))
	refused := fmt.Errorf("%s: trying: the webhook is down", id)
	there := changed(edited+"spec: {replicas: 7}", original)
	there.Fields = []manifest.FieldChange{{Path: "spec.replicas", From: int64(7), To: int64(2)}}
	for _, test := range []struct {
		name   string
		change manifest.Change
		unread bool
		want   []string // kinds and paths
		says   string
	}{
		{"it can be read", there, false, []string{"NotCompared ", "Modified spec.replicas"}, "could not be compared with git: trying: the webhook is down"},
		{"it cannot be read", manifest.Change{ID: id}, true, []string{"NotCompared "}, "could not be compared with git: trying: the webhook is down"},
		{"it is not there", manifest.Change{ID: id}, false, []string{"Missing "}, "would not take it: trying: the webhook is down"},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := Uncompared("sessions", "prod", test.change, refused, test.unread, "syncer")
			Sort(found)
			var got []string
			for _, f := range found {
				got = append(got, string(f.Kind)+" "+f.Path)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if message := found[0].Message; !strings.Contains(message, test.says) || strings.Count(message, id.String()) != 1 {
				t.Errorf("the finding says %q", message)
			}
		})
	}
}
