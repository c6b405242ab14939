package plan_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/watch"
)

// stuck are pods that are not bound to a node: a rollout stops at them.
const stuck = "schedulerName: nobody, "

// workload is a Deployment, StatefulSet or DaemonSet named web. A part of the spec of its pods uses an object.
func workload(kind, more, uses string) string {
	spec := "selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {" + uses + "}}"
	if kind == "StatefulSet" {
		spec = "serviceName: web, " + spec
	}
	if more != "" {
		spec = more + ", " + spec
	}
	return "apiVersion: apps/v1\nkind: " + kind + "\nmetadata: {name: web, namespace: $NS}\nspec: {" + spec + "}\n"
}

// reads is a pod spec with a container that reads settings.
func reads(settings string) string {
	return "containers: [{name: main, image: \"web:1\", envFrom: [{configMapRef: {name: " + settings + "}}]}]"
}

func rolledOut(b *bench.Bench, resource schema.GroupVersionResource) func() bool {
	return func() bool { return health.RolledOut(b.Get(resource, b.Namespace, "web")) }
}

// userPods lists the existing pods of web that use settings.
func userPods(b *bench.Bench, settings string) (out []string) {
	b.T.Helper()
	list, err := b.Admin.Resource(bench.Pods).Namespace(b.Namespace).List(b.Ctx, metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		b.T.Fatal(err)
	}
	for i := range list.Items {
		if text, err := list.Items[i].MarshalJSON(); err == nil && strings.Contains(string(text), `"name":"`+settings+`"`) {
			out = append(out, list.Items[i].GetName())
		}
	}
	return out
}

// settle applies a set until nothing waits, as a daemon does.
func settle(b *bench.Bench, docs string) {
	b.T.Helper()
	for applied := pass.Sync(b, b.Set(docs)); len(applied.Held) > 0; applied = pass.Sync(b, b.Set(docs)) {
		if err := watch.AwaitChange(b.Ctx, b.Cluster, applied.Held); err != nil {
			b.T.Fatalf("waiting for the end of %s: %v", bench.Held(applied.Held), err)
		}
	}
}

const (
	oldSettings = "settings-2222222222"
	newSettings = "settings-4444444444"
)

// The kinds of pods' owners, with the way to read them.
var workloads = map[string]schema.GroupVersionResource{"Deployment": bench.Deployments, "StatefulSet": bench.StatefulSets, "DaemonSet": bench.DaemonSets}

func TestSettingsStayUntilTheRolloutIsComplete(t *testing.T) {
	for kind, resource := range workloads {
		t.Run(kind, func(t *testing.T) {
			b := bench.New(t)
			more := map[string]string{"Deployment": "replicas: 2", "StatefulSet": "replicas: 2", "DaemonSet": ""}[kind]
			before := bench.Join(workload(kind, more, reads(oldSettings)), bench.Settings(oldSettings, "1"))
			pass.Sync(b, b.Set(before))
			b.Eventually("it is rolled out", rolledOut(b, resource))

			after := bench.Join(workload(kind, more, reads(newSettings)), bench.Settings(newSettings, "2"))
			if got := bench.Actions(pass.Plan(b, b.Set(after)).Changes()); !strings.Contains(got, "Hold ConfigMap/"+oldSettings) {
				t.Errorf("the plan: %s", got)
			}
			applied := pass.Sync(b, b.Set(after))
			if got := bench.Held(applied.Held); got != "InUse ConfigMap/"+oldSettings || going(b, bench.ConfigMaps, b.Namespace, oldSettings) {
				t.Fatalf("held are %q", got)
			}
			settle(b, after)
			if !going(b, bench.ConfigMaps, b.Namespace, oldSettings) || len(userPods(b, oldSettings)) > 0 {
				t.Errorf("the old settings are there: %t; pods that use them: %v", !going(b, bench.ConfigMaps, b.Namespace, oldSettings), userPods(b, oldSettings))
			}
			b.Eventually("it is rolled out again", rolledOut(b, resource))
			pass.NothingToDo(b, b.Set(after))

			// After its workload is gone, nothing waits.
			if got := bench.Held(pass.Sync(b, b.Set(bench.Settings("beside", "1"))).Held); got != "" || !going(b, bench.ConfigMaps, b.Namespace, newSettings) {
				t.Errorf("after the workload left git are held %q", got)
			}
		})
	}
}

// The pods from before an unfinished rollout go on, and restart with their old objects.
func TestSettingsStayForARolloutThatIsStuck(t *testing.T) {
	for kind, resource := range workloads {
		for name, more := range map[string]string{
			"rolling": map[string]string{"Deployment": "replicas: 2", "StatefulSet": "replicas: 2", "DaemonSet": ""}[kind],
			"by hand": map[string]string{
				"Deployment": "paused: true, replicas: 2", "StatefulSet": "replicas: 2, updateStrategy: {type: OnDelete}", "DaemonSet": "updateStrategy: {type: OnDelete}",
			}[kind],
			"in part": map[string]string{"StatefulSet": "replicas: 2, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}"}[kind],
		} {
			if more == "" {
				continue // a DaemonSet deletes the one pod before it creates the new one
			}
			t.Run(kind+" "+name, func(t *testing.T) {
				b := bench.New(t)
				starts := strings.Replace(more, "paused: true, ", "", 1)
				pass.Sync(b, b.Set(bench.Join(workload(kind, starts, reads(oldSettings)), bench.Settings(oldSettings, "1"))))
				b.Eventually("it is rolled out", func() bool { return len(userPods(b, oldSettings)) > 0 && rolledOut(b, resource)() })
				next := reads(newSettings)
				if name == "rolling" {
					next = stuck + next
				}
				after := b.Set(bench.Join(workload(kind, more, next), bench.Settings(newSettings, "2")))
				pass.Sync(b, after)
				b.Eventually("its controller has seen it", func() bool {
					obj := b.Get(resource, b.Namespace, "web")
					return bench.Value(obj, "status", "observedGeneration") == obj.GetGeneration()
				})
				if name == "rolling" {
					b.Eventually("a new pod is there", func() bool { return len(userPods(b, newSettings)) > 0 })
				}
				for range 3 {
					if got := bench.Held(pass.Sync(b, after).Held); got != "InUse ConfigMap/"+oldSettings || going(b, bench.ConfigMaps, b.Namespace, oldSettings) {
						t.Fatalf("held are %q", got)
					}
				}
			})
		}
	}
}

// A StatefulSet creates a lost pod again with the template from before its rollout.
func TestSettingsStayForAPodThatIsMadeAgain(t *testing.T) {
	b := bench.New(t)
	const part = "replicas: 1, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}"
	pass.Sync(b, b.Set(bench.Join(workload("StatefulSet", part, stuck+reads(oldSettings)), bench.Settings(oldSettings, "1"))))
	b.Eventually("its pod is there", func() bool { return len(userPods(b, oldSettings)) > 0 })
	after := b.Set(bench.Join(workload("StatefulSet", part, stuck+reads(newSettings)), bench.Settings(newSettings, "2")))
	pass.Sync(b, after)
	b.Eventually("its controller has seen it", func() bool {
		current, update := health.Revisions(b.Get(bench.StatefulSets, b.Namespace, "web"))
		return current != update
	})
	// The pod does not exist yet, as before its new creation.
	b.Edit(bench.Pods, "web-0", `{"metadata":{"ownerReferences":null,"labels":{"app":"lost"}}}`)
	if got := bench.Held(pass.Sync(b, after).Held); got != "InUse ConfigMap/"+oldSettings {
		t.Errorf("held are %q", got)
	}
}

// A scheduler that stops first passes its tasks on, which takes minutes.
func TestSettingsStayForAnOldPodThatEnds(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(workload("Deployment", "", reads(oldSettings)), bench.Settings(oldSettings, "1"))))
	b.Eventually("it is rolled out", rolledOut(b, bench.Deployments))
	old := userPods(b, oldSettings)[0]
	b.Edit(bench.Pods, old, `{"metadata":{"finalizers":["example.com/hands-over"]}}`)
	let := func() { bench.LetGo(b, bench.Pods, old) }
	after := b.Set(bench.Join(workload("Deployment", "", reads(newSettings)), bench.Settings(newSettings, "2")))
	pass.Sync(b, after)
	b.Eventually("the rollout is complete", rolledOut(b, bench.Deployments))
	applied := pass.Sync(b, after)
	if got := bench.Held(applied.Held); got != "InUse ConfigMap/"+oldSettings || applied.Held[0].Held.For[0].Name != old {
		let()
		t.Fatalf("held are %q", got)
	}
	ended := make(chan error, 1)
	go func() { ended <- watch.AwaitChange(b.Ctx, b.Cluster, applied.Held) }()
	let()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := bench.Held(pass.Sync(b, after).Held); got != "" || !going(b, bench.ConfigMaps, b.Namespace, oldSettings) {
		t.Errorf("after its end are held %q", got)
	}
}

// users are all the ways in which a pod can use a pruned object.
var users = map[string]struct {
	uses, doc string
	resource  schema.GroupVersionResource
}{
	"ConfigMap in a volume":           {"containers: [{name: main, image: web}], volumes: [{name: v, configMap: {name: used}}]", bench.Settings("used", "1"), bench.ConfigMaps},
	"ConfigMap in a projected volume": {"containers: [{name: main, image: web}], volumes: [{name: v, projected: {sources: [{configMap: {name: used}}]}}]", bench.Settings("used", "1"), bench.ConfigMaps},
	"ConfigMap in env":                {"containers: [{name: main, image: web, env: [{name: A, valueFrom: {configMapKeyRef: {name: used, key: key}}}]}]", bench.Settings("used", "1"), bench.ConfigMaps},
	"ConfigMap of an init container":  {"initContainers: [{name: init, image: web, envFrom: [{configMapRef: {name: used}}]}], containers: [{name: main, image: web}]", bench.Settings("used", "1"), bench.ConfigMaps},
	"Secret in envFrom":               {"containers: [{name: main, image: web, envFrom: [{secretRef: {name: used}}]}]", "apiVersion: v1\nkind: Secret\nmetadata: {name: used, namespace: $NS}\nstringData: {a: b}\n", bench.Secrets},
	"Secret in a volume":              {"containers: [{name: main, image: web}], volumes: [{name: v, secret: {secretName: used}}]", "apiVersion: v1\nkind: Secret\nmetadata: {name: used, namespace: $NS}\nstringData: {a: b}\n", bench.Secrets},
	"Secret in a projected volume":    {"containers: [{name: main, image: web}], volumes: [{name: v, projected: {sources: [{secret: {name: used}}]}}]", "apiVersion: v1\nkind: Secret\nmetadata: {name: used, namespace: $NS}\nstringData: {a: b}\n", bench.Secrets},
	"Secret to pull images":           {"containers: [{name: main, image: web}], imagePullSecrets: [{name: used}]", "apiVersion: v1\nkind: Secret\nmetadata: {name: used, namespace: $NS}\ntype: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: \"{}\"}\n", bench.Secrets},
	"Secret of a CSI volume":          {"containers: [{name: main, image: web}], volumes: [{name: v, csi: {driver: example.com, nodePublishSecretRef: {name: used}}}]", "apiVersion: v1\nkind: Secret\nmetadata: {name: used, namespace: $NS}\nstringData: {a: b}\n", bench.Secrets},
	"service account":                 {"serviceAccountName: used, containers: [{name: main, image: web}]", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: used, namespace: $NS}\n", bench.ServiceAccounts},
	"volume claim":                    {"containers: [{name: main, image: web}], volumes: [{name: v, persistentVolumeClaim: {claimName: used}}]", "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: used, namespace: $NS}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n", bench.Claims},
}

func TestWhatOldPodsUseStays(t *testing.T) {
	for name, c := range users {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			// Its pods stay unbound, so that the rollout is never complete.
			pass.Sync(b, b.Set(bench.Join(workload("Deployment", "", stuck+c.uses), c.doc, bench.Settings("beside", "1"))))
			b.Eventually("its pod is there", func() bool {
				list, err := b.Admin.Resource(bench.Pods).Namespace(b.Namespace).List(b.Ctx, metav1.ListOptions{LabelSelector: "app=web"})
				return err == nil && len(list.Items) > 0
			})
			after := b.Set(bench.Join(workload("Deployment", "", stuck+"containers: [{name: main, image: \"web:2\"}]"), bench.Settings("beside", "1")))
			for range 2 {
				if got := bench.Held(pass.Sync(b, after).Held); !strings.HasPrefix(got, "InUse ") || going(b, c.resource, b.Namespace, "used") {
					t.Fatalf("held are %q", got)
				}
			}
		})
	}
}

// A rollout of another target, or of no target, counts as well.
func TestSettingsStayForARolloutOfOthers(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(bench.Settings("shared", "1"), bench.Settings("beside", "1"))))
	b.Create(bench.Deployments, workload("Deployment", "", stuck+reads("shared")))
	b.Eventually("its pod is there", func() bool { return len(userPods(b, "shared")) > 0 })
	if got := bench.Held(pass.Sync(b, b.Set(bench.Settings("beside", "1"))).Held); got != "InUse ConfigMap/shared" {
		t.Errorf("held are %q", got)
	}
	b.Delete(bench.Deployments, b.Namespace, "web")
	b.Eventually("its pods are gone", func() bool { return len(userPods(b, "shared")) == 0 })
	if got := bench.Held(pass.Sync(b, b.Set(bench.Settings("beside", "1"))).Held); got != "" {
		t.Errorf("when it is gone are held %q", got)
	}
}

// If a rolled-out workload names an object that left git, git decides: the object is deleted.
func TestSettingsGoThatARolledOutWorkloadNames(t *testing.T) {
	b := bench.New(t)
	web := workload("Deployment", "", reads("used"))
	pass.Sync(b, b.Set(bench.Join(web, bench.Settings("used", "1"), bench.Settings("beside", "1"))))
	b.Eventually("it is rolled out", rolledOut(b, bench.Deployments))
	if got := bench.Held(pass.Sync(b, b.Set(bench.Join(web, bench.Settings("beside", "1")))).Held); got != "" || !going(b, bench.ConfigMaps, b.Namespace, "used") {
		t.Errorf("held are %q", got)
	}
}
