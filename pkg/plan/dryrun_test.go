package plan_test

import (
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/apply"
)

// Every object is tried before the first write.
func TestOneBadObjectKeepsTheWholeTargetBack(t *testing.T) {
	twice := `
apiVersion: apps/v1
kind: Deployment
metadata: {name: bad, namespace: $NS}
spec:
  selector: {matchLabels: {app: bad}}
  template:
    metadata: {labels: {app: bad}}
    spec:
      containers:
      - {name: main, image: "web:1", env: [{name: A, value: "1"}, {name: A, value: "2"}]}
`
	for name, c := range map[string]struct {
		bad     string
		message []string
	}{
		"name that is not valid": {
			bad:     bench.Settings("Bad_Name", "1"),
			message: []string{"ConfigMap/", "/Bad_Name: ", "RFC 1123"},
		},
		"environment variable that stands twice": {
			bad:     twice,
			message: []string{"Deployment/", "/bad: ", `.spec.template.spec.containers[name="main"].env`, `duplicate entries for key [name="A"]`},
		},
		"scalar of a wrong type": {
			bad:     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad, namespace: $NS}\ndata: {replicas: 3}\n",
			message: []string{"ConfigMap/", "/bad: ", ".data.replicas: expected string, got 3"},
		},
		"field that a CRD's schema does not know": {
			bad:     strings.Replace(sparkApp("bad", 5), "\nspec:\n", "\nspec:\n  parallelism: 3\n", 1),
			message: []string{"SparkApplication/", "/bad: ", ".spec.parallelism: field not declared in schema"},
		},
		"value that validation refuses": {
			bad:     "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: bad, namespace: $NS}\nspec:\n  schedule: never\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}\n",
			message: []string{"CronJob/", "/bad: ", "spec.schedule"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			set := b.Set(bench.Join(bench.Settings("good-1", "1"), c.bad, bench.Settings("good-2", "1")))
			var err error
			requests := b.Requests(func() { _, err = pass.TryPlan(b, set) })
			bench.WantError(t, err, c.message...)
			if strings.Contains(err.Error(), "good-") {
				t.Error("the error blames a good object")
			}
			tries := 0
			for _, e := range requests {
				if bench.IsWrite(e) {
					t.Errorf("a write:%s", bench.Shortly([]lab.AuditEvent{e}))
				}
				if bench.IsDryRun(e) && !strings.HasPrefix(e.Object.Name, "good") {
					tries++
				}
			}
			if tries != 1 {
				t.Errorf("the bad object was tried %d times:%s", tries, bench.Shortly(requests))
			}
			if b.Record() != nil {
				t.Error("there is a record")
			}
		})
	}
}

func TestEveryBadObjectIsNamed(t *testing.T) {
	b := bench.New(t)
	_, err := pass.TryPlan(b, b.Set(bench.Join(bench.Settings("Bad_B", "1"), bench.Settings("Bad_A", "1"), bench.Settings("good", "1"))))
	bench.WantError(t, err, "/Bad_A: ", "/Bad_B: ")
	if strings.Index(err.Error(), "Bad_A") > strings.Index(err.Error(), "Bad_B") {
		t.Error("the errors are not sorted")
	}
}

// few is a quota on ConfigMaps.
func few(n string) string {
	return "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: few, namespace: $NS}\nspec: {hard: {count/configmaps: \"" + n + "\"}}\n"
}

// limitConfigMaps creates a quota and waits until the quota has counted the one ConfigMap of the test, and the one that the
// controller manager puts into every namespace.
func limitConfigMaps(b *bench.Bench, n string) {
	b.T.Helper()
	b.Eventually("the namespace has its certificates", func() bool { return b.Get(bench.ConfigMaps, b.Namespace, "kube-root-ca.crt") != nil })
	b.Create(bench.Quotas, few(n))
	b.Eventually("the quota is counted", func() bool {
		return bench.Value(b.Get(bench.Quotas, b.Namespace, "few"), "status", "used", "count/configmaps") == "2"
	})
}

func TestExceededQuotaKeepsTheTargetBack(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Settings("one", "1")))
	limitConfigMaps(b, "2")
	_, err := pass.TryPlan(b, b.Set(bench.Join(bench.Settings("one", "2"), bench.Settings("two", "1"))))
	bench.WantError(t, err, "ConfigMap/", "/two: ", "exceeded quota: few", "limited: count/configmaps=2")
	if strings.Contains(err.Error(), "ClusterRole") {
		t.Error("a quota is taken for RBAC")
	}
	if got := bench.Value(b.Get(bench.ConfigMaps, b.Namespace, "one"), "data", "key"); got != "1" {
		t.Errorf("the good object is now %v", got)
	}
	if apierrors.IsNotFound(err) {
		t.Error("it counts as not found")
	}
}

// A commit may raise a quota and need the raise.
func TestRaisedQuotaHelpsTheObjectsOfItsOwnSet(t *testing.T) {
	b := bench.New(t)
	quota := func(n string) string {
		return "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: few, namespace: $NS}\nspec: {hard: {count/configmaps: \"" + n + "\"}}\n"
	}
	pass.Sync(b, b.Set(quota("2")))
	b.Eventually("the quota is counted", func() bool {
		return bench.Value(b.Get(bench.Quotas, b.Namespace, "few"), "status", "used", "count/configmaps") == "1" // kube-root-ca.crt
	})
	pass.Sync(b, b.Set(bench.Join(quota("2"), bench.Settings("one", "1"))))
	if got := bench.Actions(pass.Sync(b, b.Set(bench.Join(quota("4"), bench.Settings("one", "1"), bench.Settings("two", "1"), bench.Settings("three", "1")))).Changes); got != "Create ConfigMap/three, Create ConfigMap/two, Update ResourceQuota/few" {
		t.Errorf("the apply: %s", got)
	}
}

// syncer retries while the quota controller is behind and the API server refuses objects for that.
func TestQuotaControllerThatLagsBehind(t *testing.T) {
	const counted = `{"hard":{"count/configmaps":"4"},"used":{"count/configmaps":"2"}}`
	for name, c := range map[string]struct {
		hard    string
		docs    []string
		lag     int    // the quota's status is behind from this patch until the next one
		status  string // the quota's status in the meantime
		refusal string
		patches int
	}{
		"behind a new quota": {
			hard: "4", docs: []string{bench.Settings("one", "1"), bench.Settings("two", "1")},
			status: `{"hard":{"count/configmaps":"4"},"used":null}`, refusal: "status unknown for quota",
			lag: 1, patches: 4, // the object is tried twice; record; object
		},
		"behind a raised quota": {
			hard: "2", docs: []string{few("4"), bench.Settings("one", "1"), bench.Settings("two", "1")},
			status: `{"hard":{"count/configmaps":"2"}}`, refusal: "exceeded quota",
			lag: 5, patches: 7, // quota and object are tried; record; quota; the object is tried twice; object
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			pass.Sync(b, b.Set(bench.Settings("one", "1")))
			limitConfigMaps(b, c.hard)
			patches := 0
			b.Before(http.MethodPatch, func() {
				switch patches++; patches {
				case c.lag:
					quotaSays(b, c.status, c.refusal)
				case c.lag + 1:
					quotaSays(b, counted, "")
				}
			})
			plan := pass.Plan(b, b.Set(bench.Join(c.docs...)))
			if _, err := apply.Carry(b.Ctx, b.Cluster, plan, apply.Options{Spec: b.Spec()}); err != nil {
				t.Fatal(err)
			}
			if patches != c.patches {
				t.Errorf("%d patches, want %d", patches, c.patches)
			}
		})
	}
}

// quotaSays writes a quota's status and waits until admission uses it.
func quotaSays(b *bench.Bench, status, refusal string) {
	b.T.Helper()
	b.Eventually("the controller has seen the quota", func() bool {
		return bench.Value(b.Get(bench.Quotas, b.Namespace, "few"), "status", "hard", "count/configmaps") == bench.Value(b.Get(bench.Quotas, b.Namespace, "few"), "spec", "hard", "count/configmaps") || refusal == ""
	})
	_, err := b.Admin.Resource(bench.Quotas).Namespace(b.Namespace).Patch(b.Ctx, "few", types.MergePatchType, []byte(`{"status":`+status+`}`), metav1.PatchOptions{}, "status")
	if err != nil {
		b.T.Fatal(err)
	}
	probe := b.Object(bench.Settings("probe", "1"))
	b.Eventually("admission goes by the quota's status", func() bool {
		_, err := b.Admin.Resource(bench.ConfigMaps).Namespace(b.Namespace).Create(b.Ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return refusal == "" && err == nil || refusal != "" && err != nil && strings.Contains(err.Error(), refusal)
	})
}
