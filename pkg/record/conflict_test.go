package record

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// takenBack is a correction of one field that autoscaler had taken.
func takenBack(name string) manifest.Change {
	return manifest.Change{
		ID: manifest.ID{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: name}, Drifted: true,
		Fields: []manifest.FieldChange{{Path: "spec.replicas"}}, Taken: []manifest.Taken{{Path: "spec.replicas", Manager: "autoscaler"}},
	}
}

func TestConflictBacksOff(t *testing.T) {
	var state []v1alpha1.Contest
	correct := func(at time.Time) { state = conflicts(state, []manifest.Change{takenBack("web")}, stamp(at)) }
	for i := range 2 {
		correct(noon.Time.Add(time.Duration(i) * 20 * time.Second))
		if IsContested(state, takenBack("web").ID, "spec.replicas", noon.Time.Add(time.Minute)) {
			t.Fatalf("contested after %d times", i+1)
		}
	}
	third := noon.Time.Add(40 * time.Second)
	correct(third)
	if !IsContested(state, takenBack("web").ID, "spec.replicas", third.Add(firstBackOff-time.Second)) {
		t.Errorf("a third time within a minute is no contest: %+v", state)
	}
	if IsContested(state, takenBack("other").ID, "spec.replicas", third.Add(time.Second)) {
		t.Error("another object is contested, too")
	}
	if got := conflictMessage(state, third); !strings.Contains(got, "autoscaler keeps taking spec.replicas of Deployment/web") {
		t.Errorf("the message is %q", got)
	}
	over := third.Add(firstBackOff)
	if IsContested(state, takenBack("web").ID, "spec.replicas", over) || conflictMessage(state, over) != "" {
		t.Error("the back-off does not end")
	}
	// The other manager is back at once: the next back-off is longer.
	correct(over)
	if !IsContested(state, takenBack("web").ID, "spec.replicas", over.Add(2*firstBackOff-time.Second)) || IsContested(state, takenBack("web").ID, "spec.replicas", over.Add(2*firstBackOff)) {
		t.Errorf("the second back-off: %+v", state)
	}
}

// A manager that removes a field leaves no trace of itself in the object.
func TestRemovedFieldIsAConflict(t *testing.T) {
	change := takenBack("web")
	change.Live, change.Taken = &unstructured.Unstructured{}, nil
	change.Fields = []manifest.FieldChange{{Path: "spec.replicas", To: int64(3)}}
	var state []v1alpha1.Contest
	for i := range conflictTimes {
		state = conflicts(state, []manifest.Change{change}, stamp(noon.Time.Add(time.Duration(i)*time.Second)))
	}
	if got := conflictMessage(state, noon.Time.Add(time.Minute)); !strings.Contains(got, "somebody keeps taking spec.replicas of Deployment/web") {
		t.Errorf("the message is %q", got)
	}
}

func TestSlowChangesAreNoConflict(t *testing.T) {
	var state []v1alpha1.Contest
	for i := range 6 {
		at := noon.Time.Add(time.Duration(i) * 45 * time.Second)
		state = conflicts(state, []manifest.Change{takenBack("web")}, stamp(at))
		if IsContested(state, takenBack("web").ID, "spec.replicas", at) {
			t.Fatalf("contested after %d times in %s", i+1, at.Sub(noon.Time))
		}
	}
	if state = conflicts(state, nil, stamp(noon.Time.Add(time.Hour))); len(state) > 0 {
		t.Errorf("not forgotten: %+v", state)
	}
}

func TestRolloutIsNoConflict(t *testing.T) {
	change := takenBack("web")
	change.Drifted = false
	if state := conflicts(nil, []manifest.Change{change}, noon); len(state) > 0 {
		t.Errorf("a change that git made counts: %+v", state)
	}
}
