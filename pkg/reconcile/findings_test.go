package reconcile

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

func configMap(name string) manifest.ID {
	return manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "data", Name: name}
}

// heldChanges are changes that wait, as a record has them.
func heldChanges(names ...string) (out []v1alpha1.HeldChange) {
	for _, name := range names {
		out = append(out, v1alpha1.HeldChange{ObjectReference: v1alpha1.ReferenceTo(configMap(name)), Action: "Update", Message: "a run goes on"})
	}
	return out
}

// A change that the record holds is no drift, also where its wait is over: the next reconcile carries it out.
func TestReleasedChangesAreNoDrift(t *testing.T) {
	changes := []manifest.Change{
		{ID: configMap("held"), Action: manifest.Update},
		{ID: configMap("edited"), Action: manifest.Update, Drifted: true},
		{ID: configMap("other"), Action: manifest.Create},
		{ID: configMap("gone"), Action: manifest.Prune},
	}
	actions := func(status v1alpha1.PipelineSyncStatus) string {
		var out string
		for _, change := range Released(status, changes) {
			out += string(change.Action) + " "
		}
		return out
	}
	if got := actions(v1alpha1.PipelineSyncStatus{Held: heldChanges("held", "edited")}); got != "Hold Update Create Prune " {
		t.Errorf("the record lists what is held: %s", got)
	}
	if got := actions(v1alpha1.PipelineSyncStatus{Held: heldChanges("held"), HeldTotal: 200}); got != "Hold Update Hold Prune " {
		t.Errorf("the record lists a part of what is held: %s", got)
	}
	if changes[0].Action != manifest.Update {
		t.Error("the plan was changed")
	}
}

func TestStillHeldChangesHaveFindings(t *testing.T) {
	d := &target.Desired{Target: v1alpha1.Target{Pipeline: "a", Environment: "dev"}, Record: &v1alpha1.PipelineSync{}}
	d.Record.Status.Held = heldChanges("seen", "unseen", "drifted")
	found := []drift.Finding{{Kind: drift.Held, Object: configMap("seen")}, {Kind: drift.Modified, Object: configMap("drifted")}}
	got := StillHeld(d, found)
	if len(got) != 2 || got[0].Object.Name != "unseen" || got[0].Kind != drift.Held || got[1].Object.Name != "drifted" {
		t.Errorf("%+v", got)
	}
}

func TestComparisonThatFailed(t *testing.T) {
	if got := unknownDrift(errors.New("git is away")); got.Unknown != "git is away" {
		t.Errorf("%+v", got)
	}
	if got := unknownDrift(fmt.Errorf("reading: %w", context.Canceled)); got != nil {
		t.Errorf("a reconcile that was stopped says %+v", got)
	}
}

func TestUnpinnedValuesAreRecorded(t *testing.T) {
	got := unpinned([]image.Suspect{{Object: configMap("a"), Path: "data.image", Value: "web:v1", Nameable: true}})
	if len(got) != 1 || got[0].Path != "data.image" || got[0].Reference != "web:v1" || !got[0].Nameable || got[0].Object.Name != "a" {
		t.Errorf("%+v", got)
	}
}
