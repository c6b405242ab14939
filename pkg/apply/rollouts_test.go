package apply_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/watch"
)

var (
	statefulSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}
	daemonSets   = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}
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

func (b *bench) rolledOut(resource schema.GroupVersionResource) func() bool {
	return func() bool { return health.RolledOut(b.get(resource, b.namespace, "web")) }
}

// userPods lists the existing pods of web that use settings.
func (b *bench) userPods(settings string) (out []string) {
	b.t.Helper()
	list, err := b.admin.Resource(pods).Namespace(b.namespace).List(b.ctx, metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range list.Items {
		if text, err := list.Items[i].MarshalJSON(); err == nil && strings.Contains(string(text), `"name":"`+settings+`"`) {
			out = append(out, list.Items[i].GetName())
		}
	}
	return out
}

// settle applies a set until nothing waits, as a daemon does.
func (b *bench) settle(docs string) {
	b.t.Helper()
	for applied := b.sync(b.set(docs)); len(applied.Held) > 0; applied = b.sync(b.set(docs)) {
		if err := watch.AwaitChange(b.ctx, b.cluster, applied.Held); err != nil {
			b.t.Fatalf("waiting for the end of %s: %v", held(applied), err)
		}
	}
}

const (
	oldSettings = "settings-2222222222"
	newSettings = "settings-4444444444"
)

// The kinds of pods' owners, with the way to read them.
var workloads = map[string]schema.GroupVersionResource{"Deployment": deployments, "StatefulSet": statefulSets, "DaemonSet": daemonSets}

func TestSettingsStayUntilTheRolloutIsComplete(t *testing.T) {
	for kind, resource := range workloads {
		t.Run(kind, func(t *testing.T) {
			b := newBench(t)
			more := map[string]string{"Deployment": "replicas: 2", "StatefulSet": "replicas: 2", "DaemonSet": ""}[kind]
			before := join(workload(kind, more, reads(oldSettings)), settings(oldSettings, "1"))
			b.sync(b.set(before))
			b.eventually("it is rolled out", b.rolledOut(resource))

			after := join(workload(kind, more, reads(newSettings)), settings(newSettings, "2"))
			if got := actions(b.plan(b.set(after)).Changes()); !strings.Contains(got, "Hold ConfigMap/"+oldSettings) {
				t.Errorf("the plan: %s", got)
			}
			applied := b.sync(b.set(after))
			if got := held(applied); got != "InUse ConfigMap/"+oldSettings || b.going(configMaps, b.namespace, oldSettings) {
				t.Fatalf("held are %q", got)
			}
			b.settle(after)
			if !b.going(configMaps, b.namespace, oldSettings) || len(b.userPods(oldSettings)) > 0 {
				t.Errorf("the old settings are there: %t; pods that use them: %v", !b.going(configMaps, b.namespace, oldSettings), b.userPods(oldSettings))
			}
			b.eventually("it is rolled out again", b.rolledOut(resource))
			b.nothingToDo(b.set(after))

			// After its workload is gone, nothing waits.
			if got := held(b.sync(b.set(settings("beside", "1")))); got != "" || !b.going(configMaps, b.namespace, newSettings) {
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
				b := newBench(t)
				starts := strings.Replace(more, "paused: true, ", "", 1)
				b.sync(b.set(join(workload(kind, starts, reads(oldSettings)), settings(oldSettings, "1"))))
				b.eventually("it is rolled out", func() bool { return len(b.userPods(oldSettings)) > 0 && b.rolledOut(resource)() })
				next := reads(newSettings)
				if name == "rolling" {
					next = stuck + next
				}
				after := b.set(join(workload(kind, more, next), settings(newSettings, "2")))
				b.sync(after)
				b.eventually("its controller has seen it", func() bool {
					obj := b.get(resource, b.namespace, "web")
					return value(obj, "status", "observedGeneration") == obj.GetGeneration()
				})
				if name == "rolling" {
					b.eventually("a new pod is there", func() bool { return len(b.userPods(newSettings)) > 0 })
				}
				for range 3 {
					if got := held(b.sync(after)); got != "InUse ConfigMap/"+oldSettings || b.going(configMaps, b.namespace, oldSettings) {
						t.Fatalf("held are %q", got)
					}
				}
			})
		}
	}
}

// A StatefulSet creates a lost pod again with the template from before its rollout.
func TestSettingsStayForAPodThatIsMadeAgain(t *testing.T) {
	b := newBench(t)
	const part = "replicas: 1, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}"
	b.sync(b.set(join(workload("StatefulSet", part, stuck+reads(oldSettings)), settings(oldSettings, "1"))))
	b.eventually("its pod is there", func() bool { return len(b.userPods(oldSettings)) > 0 })
	after := b.set(join(workload("StatefulSet", part, stuck+reads(newSettings)), settings(newSettings, "2")))
	b.sync(after)
	b.eventually("its controller has seen it", func() bool {
		current, update := health.Revisions(b.get(statefulSets, b.namespace, "web"))
		return current != update
	})
	// The pod does not exist yet, as before its new creation.
	b.edit(pods, "web-0", `{"metadata":{"ownerReferences":null,"labels":{"app":"lost"}}}`)
	if got := held(b.sync(after)); got != "InUse ConfigMap/"+oldSettings {
		t.Errorf("held are %q", got)
	}
}

// A scheduler that stops first passes its tasks on, which takes minutes.
func TestSettingsStayForAnOldPodThatEnds(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(workload("Deployment", "", reads(oldSettings)), settings(oldSettings, "1"))))
	b.eventually("it is rolled out", b.rolledOut(deployments))
	old := b.userPods(oldSettings)[0]
	b.edit(pods, old, `{"metadata":{"finalizers":["example.com/hands-over"]}}`)
	let := func() { b.letGo(pods, old) }
	after := b.set(join(workload("Deployment", "", reads(newSettings)), settings(newSettings, "2")))
	b.sync(after)
	b.eventually("the rollout is complete", b.rolledOut(deployments))
	applied := b.sync(after)
	if got := held(applied); got != "InUse ConfigMap/"+oldSettings || applied.Held[0].Held.For[0].Name != old {
		let()
		t.Fatalf("held are %q", got)
	}
	ended := make(chan error, 1)
	go func() { ended <- watch.AwaitChange(b.ctx, b.cluster, applied.Held) }()
	let()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := held(b.sync(after)); got != "" || !b.going(configMaps, b.namespace, oldSettings) {
		t.Errorf("after its end are held %q", got)
	}
}

// users are all the ways in which a pod can use a pruned object.
var users = map[string]struct {
	uses, doc string
	resource  schema.GroupVersionResource
}{
	"ConfigMap in a volume":           {"containers: [{name: main, image: web}], volumes: [{name: v, configMap: {name: used}}]", settings("used", "1"), configMaps},
	"ConfigMap in a projected volume": {"containers: [{name: main, image: web}], volumes: [{name: v, projected: {sources: [{configMap: {name: used}}]}}]", settings("used", "1"), configMaps},
	"ConfigMap in env":                {"containers: [{name: main, image: web, env: [{name: A, valueFrom: {configMapKeyRef: {name: used, key: key}}}]}]", settings("used", "1"), configMaps},
	"ConfigMap of an init container":  {"initContainers: [{name: init, image: web, envFrom: [{configMapRef: {name: used}}]}], containers: [{name: main, image: web}]", settings("used", "1"), configMaps},
	"Secret in envFrom":               {"containers: [{name: main, image: web, envFrom: [{secretRef: {name: used}}]}]", "apiVersion: v1\nkind: Secret\nmetadata: {name: used, namespace: $NS}\nstringData: {a: b}\n", secrets},
	"Secret in a volume":              {"containers: [{name: main, image: web}], volumes: [{name: v, secret: {secretName: used}}]", "apiVersion: v1\nkind: Secret\nmetadata: {name: used, namespace: $NS}\nstringData: {a: b}\n", secrets},
	"Secret in a projected volume":    {"containers: [{name: main, image: web}], volumes: [{name: v, projected: {sources: [{secret: {name: used}}]}}]", "apiVersion: v1\nkind: Secret\nmetadata: {name: used, namespace: $NS}\nstringData: {a: b}\n", secrets},
	"Secret to pull images":           {"containers: [{name: main, image: web}], imagePullSecrets: [{name: used}]", "apiVersion: v1\nkind: Secret\nmetadata: {name: used, namespace: $NS}\ntype: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: \"{}\"}\n", secrets},
	"Secret of a CSI volume":          {"containers: [{name: main, image: web}], volumes: [{name: v, csi: {driver: example.com, nodePublishSecretRef: {name: used}}}]", "apiVersion: v1\nkind: Secret\nmetadata: {name: used, namespace: $NS}\nstringData: {a: b}\n", secrets},
	"service account":                 {"serviceAccountName: used, containers: [{name: main, image: web}]", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: used, namespace: $NS}\n", serviceAccounts},
	"volume claim":                    {"containers: [{name: main, image: web}], volumes: [{name: v, persistentVolumeClaim: {claimName: used}}]", "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: used, namespace: $NS}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n", claims},
}

func TestWhatOldPodsUseStays(t *testing.T) {
	for name, c := range users {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			// Its pods stay unbound, so that the rollout is never complete.
			b.sync(b.set(join(workload("Deployment", "", stuck+c.uses), c.doc, settings("beside", "1"))))
			b.eventually("its pod is there", func() bool {
				list, err := b.admin.Resource(pods).Namespace(b.namespace).List(b.ctx, metav1.ListOptions{LabelSelector: "app=web"})
				return err == nil && len(list.Items) > 0
			})
			after := b.set(join(workload("Deployment", "", stuck+"containers: [{name: main, image: \"web:2\"}]"), settings("beside", "1")))
			for range 2 {
				if got := held(b.sync(after)); !strings.HasPrefix(got, "InUse ") || b.going(c.resource, b.namespace, "used") {
					t.Fatalf("held are %q", got)
				}
			}
		})
	}
}

// A rollout of another target, or of no target, counts as well.
func TestSettingsStayForARolloutOfOthers(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(settings("shared", "1"), settings("beside", "1"))))
	b.create(deployments, workload("Deployment", "", stuck+reads("shared")))
	b.eventually("its pod is there", func() bool { return len(b.userPods("shared")) > 0 })
	if got := held(b.sync(b.set(settings("beside", "1")))); got != "InUse ConfigMap/shared" {
		t.Errorf("held are %q", got)
	}
	b.delete(deployments, b.namespace, "web")
	b.eventually("its pods are gone", func() bool { return len(b.userPods("shared")) == 0 })
	if got := held(b.sync(b.set(settings("beside", "1")))); got != "" {
		t.Errorf("when it is gone are held %q", got)
	}
}

// If a rolled-out workload names an object that left git, git decides: the object is deleted.
func TestSettingsGoThatARolledOutWorkloadNames(t *testing.T) {
	b := newBench(t)
	web := workload("Deployment", "", reads("used"))
	b.sync(b.set(join(web, settings("used", "1"), settings("beside", "1"))))
	b.eventually("it is rolled out", b.rolledOut(deployments))
	if got := held(b.sync(b.set(join(web, settings("beside", "1"))))); got != "" || !b.going(configMaps, b.namespace, "used") {
		t.Errorf("held are %q", got)
	}
}
