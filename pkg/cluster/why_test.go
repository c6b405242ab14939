package apply_test

import (
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
)

func TestUnhealthyObjectsSayWhy(t *testing.T) {
	t.Run("a quota refuses the pods of a Job", func(t *testing.T) {
		b := newBench(t)
		b.create(quotas, "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: none, namespace: $NS}\nspec: {hard: {pods: \"0\"}}\n")
		b.eventually("the quota is counted", func() bool { return value(b.get(quotas, b.namespace, "none"), "status", "used", "pods") != nil })
		b.sync(b.set(backfill("refused", 1)))
		b.eventually("the reason is there", func() bool {
			return strings.Contains(cluster.Why(b.ctx, b.cluster, b.get(jobs, b.namespace, "refused")), "exceeded quota: none")
		})
	})
	t.Run("a quota refuses the pods of a Deployment", func(t *testing.T) {
		b := newBench(t)
		b.create(quotas, "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: none, namespace: $NS}\nspec: {hard: {pods: \"0\"}}\n")
		b.eventually("the quota is counted", func() bool { return value(b.get(quotas, b.namespace, "none"), "status", "used", "pods") != nil })
		b.sync(b.set(service("")))
		b.eventually("it failed", func() bool {
			verdict := b.cluster.Judge().Health(b.get(deployments, b.namespace, "web"))
			return verdict.Status == health.Failed && strings.Contains(verdict.Message, "exceeded quota: none")
		})
	})
	t.Run("a pod that no node takes", func(t *testing.T) {
		b := newBench(t)
		b.create(pods, "apiVersion: v1\nkind: Pod\nmetadata: {name: web-1, namespace: $NS, labels: {app: web}}\nspec:\n  nodeName: nowhere\n  containers: [{name: main, image: x}]\n")
		b.status(pods, "web-1", `{"status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]}}`)
		if got := cluster.Why(b.ctx, b.cluster, b.object(service(""))); got != "Pod/web-1 cannot be scheduled: 0/3 nodes are available" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a container that does not start", func(t *testing.T) {
		b := newBench(t)
		b.create(pods, "apiVersion: v1\nkind: Pod\nmetadata: {name: web-1, namespace: $NS, labels: {app: web}}\nspec:\n  nodeName: nowhere\n  containers: [{name: main, image: x}]\n")
		b.status(pods, "web-1", `{"status": {"containerStatuses": [{"name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"login\" not found"}}}]}}`)
		if got := cluster.Why(b.ctx, b.cluster, b.object(service(""))); got != `Pod/web-1: container main waits (CreateContainerConfigError): secret "login" not found` {
			t.Errorf("got %q", got)
		}
		b.status(pods, "web-1", `{"status": {"containerStatuses": [{"name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 3, "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}}`)
		if got := cluster.Why(b.ctx, b.cluster, b.object(service(""))); got != `Pod/web-1: container main exited with 137 (OOMKilled)` {
			t.Errorf("got %q", got)
		}
	})
}
