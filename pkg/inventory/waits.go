package inventory

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// NotRerun reports whether an object still shows the run that had ended when its spec was changed.
func NotRerun(run health.Run, entry v1alpha1.InventoryEntry) bool {
	return run.State == health.Ended && entry.EndedRun != "" && entry.EndedRun == run.ID
}

// AwaitsRerun reports whether an object still shows the run from before its spec changed, so that its state does not
// show the change.
func AwaitsRerun(c *cluster.Cluster, live *unstructured.Unstructured, entry v1alpha1.InventoryEntry) bool {
	run := c.Judge().Run(live)
	return entry.EndedRun != "" && entry.EndedRun == run.ID
}

// Unready says why the dependents of an object have to wait; "" when they need not. A run has to have ended well: a
// schema during its migration is of no use yet.
func Unready(c *cluster.Cluster, live *unstructured.Unstructured) string {
	if live == nil {
		return "is not in the cluster"
	}
	verdict, run := c.Judge().Health(live), c.Judge().Run(live)
	if run.State == health.Ended && !run.Failed && live.GetDeletionTimestamp() != nil {
		return "" // it ended well, and is being deleted, such as by its TTL
	}
	if verdict.Status != health.Healthy {
		return "is not healthy: " + verdict.Message
	}
	if run.State == health.Running && !health.KindOf(manifest.IDOf(live).GroupKind()).Is(health.Endless) {
		return "runs (" + run.Message + ")"
	}
	return ""
}

// Needed reports whether an object is still a reason to hold the objects that it uses.
func Needed(c *cluster.Cluster, obj *unstructured.Unstructured) bool {
	if obj.GetKind() == health.Pod.Kind {
		return health.PodRunsToEnd(obj)
	}
	run := c.Judge().Run(obj)
	return run.State == health.Running || run.Starting || run.State == health.NotARun
}

// AwaitsRollout reports whether an object still needs the object that it uses: as a workload that is not rolled out, a
// ReplicaSet with pods, or a pod that is not gone.
func AwaitsRollout(obj *unstructured.Unstructured, used manifest.ID) bool {
	switch kind := manifest.IDOf(obj).GroupKind(); {
	case kind == health.Pod.GroupKind():
		return !health.PodEnded(obj) && health.PodUses(obj, used)
	case kind == health.ReplicaSet.GroupKind():
		return health.HasReplicas(obj)
	}
	return !health.RolledOut(obj)
}
