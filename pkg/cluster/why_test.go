package cluster_test

import (
	"strings"
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
)

const (
	job = `
apiVersion: batch/v1
kind: Job
metadata: {name: refused, namespace: $NS}
spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}
`
	service = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: $NS}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: web:1}]}
`
)

func TestUnhealthyObjectsSayWhy(t *testing.T) {
	t.Run("a quota refuses the pods of a Job", func(t *testing.T) {
		b := bench.New(t)
		b.Create(bench.Quotas, "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: none, namespace: $NS}\nspec: {hard: {pods: \"0\"}}\n")
		b.Eventually("the quota is counted", func() bool {
			return bench.Value(b.Get(bench.Quotas, b.Namespace, "none"), "status", "used", "pods") != nil
		})
		b.Deploy(b.Set(job))
		b.Eventually("the reason is there", func() bool {
			return strings.Contains(cluster.Why(b.Ctx, b.Cluster, b.Get(bench.Jobs, b.Namespace, "refused")), "exceeded quota: none")
		})
	})
	t.Run("a quota refuses the pods of a Deployment", func(t *testing.T) {
		b := bench.New(t)
		b.Create(bench.Quotas, "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: none, namespace: $NS}\nspec: {hard: {pods: \"0\"}}\n")
		b.Eventually("the quota is counted", func() bool {
			return bench.Value(b.Get(bench.Quotas, b.Namespace, "none"), "status", "used", "pods") != nil
		})
		b.Deploy(b.Set(service))
		b.Eventually("it failed", func() bool {
			verdict := b.Cluster.Judge().Health(b.Get(bench.Deployments, b.Namespace, "web"))
			return verdict.Status == health.Failed && strings.Contains(verdict.Message, "exceeded quota: none")
		})
	})
	t.Run("a pod that no node takes", func(t *testing.T) {
		b := bench.New(t)
		b.Create(bench.Pods, "apiVersion: v1\nkind: Pod\nmetadata: {name: web-1, namespace: $NS, labels: {app: web}}\nspec:\n  nodeName: nowhere\n  containers: [{name: main, image: x}]\n")
		b.Status(bench.Pods, "web-1", `{"status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]}}`)
		if got := cluster.Why(b.Ctx, b.Cluster, b.Object(service)); got != "Pod/web-1 cannot be scheduled: 0/3 nodes are available" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a container that does not start", func(t *testing.T) {
		b := bench.New(t)
		b.Create(bench.Pods, "apiVersion: v1\nkind: Pod\nmetadata: {name: web-1, namespace: $NS, labels: {app: web}}\nspec:\n  nodeName: nowhere\n  containers: [{name: main, image: x}]\n")
		b.Status(bench.Pods, "web-1", `{"status": {"containerStatuses": [{"name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"login\" not found"}}}]}}`)
		if got := cluster.Why(b.Ctx, b.Cluster, b.Object(service)); got != `Pod/web-1: container main waits (CreateContainerConfigError): secret "login" not found` {
			t.Errorf("got %q", got)
		}
		b.Status(bench.Pods, "web-1", `{"status": {"containerStatuses": [{"name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 3, "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}}`)
		if got := cluster.Why(b.Ctx, b.Cluster, b.Object(service)); got != `Pod/web-1: container main exited with 137 (OOMKilled)` {
			t.Errorf("got %q", got)
		}
	})
}
