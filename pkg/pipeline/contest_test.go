package pipeline

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

// takenBack is a correction of one field that autoscaler had taken.
func takenBack(name string) manifest.Change {
	return manifest.Change{
		ID: manifest.ID{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: name}, Drifted: true,
		Fields: []manifest.FieldChange{{Path: "spec.replicas"}}, Taken: []manifest.Taken{{Path: "spec.replicas", Manager: "autoscaler"}},
	}
}

func TestFightEndsInATruce(t *testing.T) {
	var state []v1alpha1.Contest
	fight := func(at time.Time) { state = contests(state, []manifest.Change{takenBack("web")}, at) }
	for i := range 2 {
		fight(noon.Add(time.Duration(i) * 20 * time.Second))
		if contested(state, takenBack("web").ID, "spec.replicas", noon.Add(time.Minute)) {
			t.Fatalf("contested after %d times", i+1)
		}
	}
	third := noon.Add(40 * time.Second)
	fight(third)
	if !contested(state, takenBack("web").ID, "spec.replicas", third.Add(truce-time.Second)) {
		t.Errorf("a third time within a minute is no contest: %+v", state)
	}
	if contested(state, takenBack("other").ID, "spec.replicas", third.Add(time.Second)) {
		t.Error("another object is contested, too")
	}
	if got := contestMessage(state, third); !strings.Contains(got, "autoscaler keeps taking spec.replicas of Deployment/web") {
		t.Errorf("the message is %q", got)
	}
	over := third.Add(truce)
	if contested(state, takenBack("web").ID, "spec.replicas", over) || contestMessage(state, over) != "" {
		t.Error("the truce does not end")
	}
	// The rival is back at once: the next truce is longer.
	fight(over)
	if !contested(state, takenBack("web").ID, "spec.replicas", over.Add(2*truce-time.Second)) || contested(state, takenBack("web").ID, "spec.replicas", over.Add(2*truce)) {
		t.Errorf("the second truce: %+v", state)
	}
}

// A rival that takes a field away leaves no trace of itself in the object.
func TestFieldThatIsTakenAwayIsAFight(t *testing.T) {
	change := takenBack("web")
	change.Live, change.Taken = &unstructured.Unstructured{}, nil
	change.Fields = []manifest.FieldChange{{Path: "spec.replicas", To: int64(3)}}
	var state []v1alpha1.Contest
	for i := range contestTimes {
		state = contests(state, []manifest.Change{change}, noon.Add(time.Duration(i)*time.Second))
	}
	if got := contestMessage(state, noon.Add(time.Minute)); !strings.Contains(got, "somebody keeps taking spec.replicas of Deployment/web") {
		t.Errorf("the message is %q", got)
	}
}

func TestSlowChangesAreNoFight(t *testing.T) {
	var state []v1alpha1.Contest
	for i := range 6 {
		at := noon.Add(time.Duration(i) * 45 * time.Second)
		state = contests(state, []manifest.Change{takenBack("web")}, at)
		if contested(state, takenBack("web").ID, "spec.replicas", at) {
			t.Fatalf("contested after %d times in %s", i+1, at.Sub(noon))
		}
	}
	if state = contests(state, nil, noon.Add(time.Hour)); len(state) > 0 {
		t.Errorf("not forgotten: %+v", state)
	}
}

func TestRolloutIsNoFight(t *testing.T) {
	change := takenBack("web")
	change.Drifted = false
	if state := contests(nil, []manifest.Change{change}, noon); len(state) > 0 {
		t.Errorf("a change that git made counts: %+v", state)
	}
}
