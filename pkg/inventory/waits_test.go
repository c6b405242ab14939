package inventory_test

import (
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// nowhere is a connection over which nothing is asked: it only judges.
func nowhere(t *testing.T) *cluster.Cluster {
	t.Helper()
	c, err := cluster.With(&rest.Config{Host: "http://127.0.0.1:1"}, connect.DefaultLimits, cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parsed(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	content, err := yaml.YAMLToJSON([]byte(text))
	obj := &unstructured.Unstructured{}
	if err == nil {
		err = obj.UnmarshalJSON(content)
	}
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

const (
	aJob        = "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {}, status: {startTime: first, "
	runningJob  = aJob + "active: 1}}"
	completeJob = aJob + "succeeded: 1, conditions: [{type: Complete, status: 'True'}]}}"
	failedJob   = aJob + "failed: 1, conditions: [{type: Failed, status: 'True', message: too often}]}}"
)

// Dependents wait until an object is healthy, and a run has ended well.
func TestDependentsWaitForAnObject(t *testing.T) {
	c := nowhere(t)
	for name, tt := range map[string]struct{ object, says string }{
		"not there":                   {"", "is not in the cluster"},
		"settings":                    {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", ""},
		"a run that goes on":          {runningJob, "runs (the job is running)"},
		"a run that ended well":       {completeJob, ""},
		"a run that failed":           {failedJob, "is not healthy: the job failed"},
		"ended well and goes":         {strings.Replace(completeJob, "{name: a}", "{name: a, deletionTimestamp: '2030-01-01T00:00:00Z'}", 1), ""},
		"a deployment without status": {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, generation: 1}, spec: {replicas: 1}}", "is not healthy: "},
	} {
		var obj *unstructured.Unstructured
		if tt.object != "" {
			obj = parsed(t, tt.object)
		}
		if got := inventory.Unready(c, obj); tt.says == "" && got != "" || !strings.HasPrefix(got, tt.says) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// What an object uses stays while it runs, may start, or has no run to wait for.
func TestObjectsInUseAreNeeded(t *testing.T) {
	c := nowhere(t)
	for object, want := range map[string]bool{
		runningJob: true, completeJob: false,
		"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {restartPolicy: Never}, status: {phase: Running}}":   true,
		"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {restartPolicy: Always}, status: {phase: Running}}":  false,
		"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {restartPolicy: Never}, status: {phase: Succeeded}}": false,
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}":                                                     true,
	} {
		if got := inventory.Needed(c, parsed(t, object)); got != want {
			t.Errorf("%s: needed %t", object, got)
		}
	}
}

// A rollout needs the old object until its pods are gone.
func TestRolloutKeepsWhatItsPodsUse(t *testing.T) {
	used := manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Name: "used"}
	pod := func(phase, name string) string {
		return "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: m, envFrom: [{configMapRef: {name: " + name + "}}]}]}, status: {phase: " + phase + "}}"
	}
	for object, want := range map[string]bool{
		pod("Running", "used"): true, pod("Running", "other"): false, pod("Failed", "used"): false,
		"{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: a}, spec: {replicas: 0}, status: {replicas: 1}}":                          true,
		"{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: a}, spec: {replicas: 0}}":                                                 false,
		"{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, generation: 2}, spec: {replicas: 1}, status: {observedGeneration: 1}}": true,
	} {
		if got := inventory.AwaitsRollout(parsed(t, object), used); got != want {
			t.Errorf("%s: awaits a rollout %t", object, got)
		}
	}
}

// An object whose spec changed after its run still shows that run until it runs again.
func TestRunFromBeforeAChangeIsKnown(t *testing.T) {
	c := nowhere(t)
	for _, tt := range []struct {
		object, ended         string
		notRerun, awaitsRerun bool
	}{
		{completeJob, "first", true, true}, {completeJob, "", false, false}, {completeJob, "earlier", false, false}, {runningJob, "first", false, true},
	} {
		live, entry := parsed(t, tt.object), v1alpha1.InventoryEntry{EndedRun: tt.ended}
		if got := inventory.NotRerun(c.Judge().Run(live), entry); got != tt.notRerun {
			t.Errorf("%s after %q: not run again %t", tt.object, tt.ended, got)
		}
		if got := inventory.AwaitsRerun(c, live, entry); got != tt.awaitsRerun {
			t.Errorf("%s after %q: awaits its run %t", tt.object, tt.ended, got)
		}
	}
	if got := health.Idle; inventory.NotRerun(health.Run{State: got, ID: "first"}, v1alpha1.InventoryEntry{EndedRun: "first"}) {
		t.Error("an object without a run has not run again")
	}
}
