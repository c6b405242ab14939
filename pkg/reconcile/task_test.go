package reconcile

import (
	"errors"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/target"
)

func TestTargetThatLeftGit(t *testing.T) {
	of := v1alpha1.Target{Pipeline: "a", Environment: "dev"}
	missing := &target.MissingOverlayError{Target: of}
	for name, c := range map[string]struct {
		desired target.Desired
		allowed bool
		want    bool
	}{
		"it is in git":                      {target.Desired{Overlay: "a/overlays/dev"}, true, false},
		"git does not have it":              {target.Desired{}, false, true},
		"its overlay is missing":            {target.Desired{Overlay: "a/overlays/dev", Err: missing}, false, false},
		"its overlay is missing by a wish":  {target.Desired{Overlay: "a/overlays/dev", Err: missing}, true, true},
		"its overlay cannot be rendered":    {target.Desired{Overlay: "a/overlays/dev", Err: errors.New("no YAML")}, true, false},
		"git does not have it, and a limit": {target.Desired{Err: &target.RefusedError{}}, false, true},
	} {
		c.desired.Target = of
		pass := NewPass(target.NewCommit([]*target.Desired{&c.desired}), nil)
		pass.Commit.Allowed.Prunes = map[v1alpha1.Target]bool{of: c.allowed}
		if got := (task{pass: pass, desired: &c.desired}).leftGit(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// A reconcile works on a copy of the planned target: what it notes of the record is not seen by others.
func TestTaskWorksOnACopy(t *testing.T) {
	planned := &target.Desired{Target: v1alpha1.Target{Pipeline: "a", Environment: "dev"}, Record: &v1alpha1.PipelineSync{}}
	one := newTask(t.Context(), Request{Desired: planned, Pass: NewPass(target.NewCommit(nil), nil)})
	one.desired.Record.ResourceVersion = "2"
	if planned.Record.ResourceVersion != "" {
		t.Error("the planned target was changed")
	}
}
