package apply_test

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

func nightlyWith(env string) string {
	return `
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: $NS}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: main, image: "nightly:1", env: [` + env + `]}]
`
}

// Ways in which syncer loses applied fields without a change of a value.
var losses = map[string]func(b *bench.Bench, resource schema.GroupVersionResource, name string){
	"deleted and created again": func(b *bench.Bench, resource schema.GroupVersionResource, name string) {
		recreate(b, resource, name, func(*unstructured.Unstructured) {})
	},
	"deleted and created again without its label": func(b *bench.Bench, resource schema.GroupVersionResource, name string) {
		recreate(b, resource, name, func(obj *unstructured.Unstructured) { obj.SetLabels(nil) })
	},
	"managed fields cleared": func(b *bench.Bench, resource schema.GroupVersionResource, name string) {
		b.Edit(resource, name, `{"metadata":{"managedFields":[{}]}}`)
	},
}

// recreate does the same as `kubectl get -o yaml` and `kubectl replace --force -f`.
func recreate(b *bench.Bench, resource schema.GroupVersionResource, name string, change func(*unstructured.Unstructured)) *unstructured.Unstructured {
	b.T.Helper()
	obj := b.Get(resource, b.Namespace, name)
	for _, field := range []string{"managedFields", "uid", "resourceVersion", "creationTimestamp", "generation"} {
		unstructured.RemoveNestedField(obj.Object, "metadata", field)
	}
	delete(obj.Object, "status")
	change(obj)
	b.Delete(resource, b.Namespace, name)
	b.Eventually(name+" is gone", func() bool { return b.Get(resource, b.Namespace, name) == nil })
	text, err := manifest.Set{obj}.YAML()
	if err != nil {
		b.T.Fatal(err)
	}
	return b.Create(resource, string(text))
}

func TestLostObjectIsNoticedAndTakenBack(t *testing.T) {
	for how, lose := range losses {
		for kind, c := range map[string]struct {
			resource   schema.GroupVersionResource
			name       string
			full, less string // the first and the later object in git
			formerPath string
		}{
			"ConfigMap": {
				resource: bench.ConfigMaps, name: "a",
				full: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: $NS}\ndata: {kept: x, former: x}\n",
				less: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: $NS}\ndata: {kept: x}\n", formerPath: "data.former",
			},
			"CronJob": {
				resource: bench.CronJobs, name: "nightly",
				full: nightlyWith("{name: KEPT, value: x}, {name: FORMER, value: x}"), less: nightlyWith("{name: KEPT, value: x}"),
				formerPath: "spec.jobTemplate.spec.template.spec.containers[name=main].env[name=FORMER]",
			},
		} {
			t.Run(how+"/"+kind, func(t *testing.T) {
				b := bench.New(t)
				has := func() bool {
					return len(manifest.Find(b.Get(c.resource, b.Namespace, c.name).Object, bench.MustPath(c.formerPath))) > 0
				}
				set, less := b.Set(bench.Join(c.full, bench.Settings("beside", "1"))), b.Set(bench.Join(c.less, bench.Settings("beside", "1")))
				pass.Sync(b, set)
				lose(b, c.resource, c.name)

				planned := pass.Plan(b, set)
				if got := bench.Actions(planned.Changes()); got != "Update "+kind+"/"+c.name+" (drifted)" {
					t.Fatalf("the plan: %s", got)
				}
				change := planned.Changes()[pass.IndexOf(planned, c.name)]
				want := manifest.Recreated
				if strings.HasPrefix(how, "managed") {
					want = manifest.Disowned
				}
				if change.Lost == nil || change.Lost.Kind != want || want == manifest.Recreated && change.Lost.By.Name != "somebody" {
					t.Errorf("it is lost: %+v", change.Lost)
				}
				if len(change.Added) != 0 {
					t.Errorf("beside it, a finding each: %+v", change.Added)
				}
				if len(planned.Members) != 2 {
					t.Errorf("members: %v", planned.Members)
				}
				if got := inventory.Touched(b.Ctx, b.Cluster, b.Record().Status.Inventory, planned.Members); len(got) != 1 {
					t.Errorf("touched: %v", got)
				}

				pass.Sync(b, set) // syncer takes it back
				planned = pass.Plan(b, set)
				if got := bench.Actions(planned.Changes()); got != "" {
					t.Errorf("after it was taken back: %s", got)
				}
				for _, change := range planned.Changes() {
					if len(change.Added) > 0 {
						t.Errorf("what has a default counts as added: %+v", change.Added)
					}
				}
				pass.Sync(b, less)
				if has() {
					t.Error("what leaves git stays")
				}
				pass.Sync(b, b.Set(bench.Settings("beside", "1")))
				if b.Get(c.resource, b.Namespace, c.name) != nil {
					t.Error("it stays when it leaves git")
				}
			})
			// Without a pass in between, git's former content is unknown: the object is reported.
			t.Run(how+"/"+kind+", and a new commit", func(t *testing.T) {
				b := bench.New(t)
				set, less := b.Set(bench.Join(c.full, bench.Settings("beside", "1"))), b.Set(bench.Join(c.less, bench.Settings("beside", "1")))
				pass.Sync(b, set)
				lose(b, c.resource, c.name)
				pass.Sync(b, less)
				planned := pass.Plan(b, less)
				added := planned.Changes()[pass.IndexOf(planned, c.name)].Added
				if len(added) != 1 || added[0].Path != c.formerPath {
					t.Errorf("added: %+v", added)
				}
			})
			t.Run(how+"/"+kind+", and it leaves git", func(t *testing.T) {
				b := bench.New(t)
				pass.Sync(b, b.Set(bench.Join(c.full, bench.Settings("beside", "1"))))
				lose(b, c.resource, c.name)
				rest := b.Set(bench.Settings("beside", "1"))
				pass.Sync(b, rest)
				planned := pass.Plan(b, rest)
				gone := b.Get(c.resource, b.Namespace, c.name) == nil
				if labelled := !strings.Contains(how, "without its label"); gone != labelled || labelled != (len(planned.Strays()) == 0) {
					t.Errorf("gone: %t; strays: %+v", gone, planned.Strays())
				}
				if !gone {
					if got := planned.Strays()[0]; !got.Unlabelled || got.ID.Name != c.name || got.By.Name != "somebody" {
						t.Errorf("it is %+v", got)
					}
					b.Edit(c.resource, c.name, `{"metadata":{"annotations":{"syncer.dev/prune":"disabled"}}}`)
					pass.Sync(b, rest)
					if planned := pass.Plan(b, rest); len(planned.Strays()) > 0 || len(b.Record().Status.Inventory) != 1 {
						t.Errorf("it is kept by permission, and said: %+v", planned.Strays())
					}
				}
			})
		}
	}
}

// A backup may restore an object with its managed fields. Then nothing is lost.
func TestRestoredObjectIsAtRest(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Settings("a", "1"))
	pass.Sync(b, set)
	fields, err := json.Marshal(b.Get(bench.ConfigMaps, b.Namespace, "a").GetManagedFields())
	if err != nil {
		t.Fatal(err)
	}
	made := recreate(b, bench.ConfigMaps, "a", func(*unstructured.Unstructured) {})
	b.Edit(bench.ConfigMaps, "a", `{"metadata":{"managedFields":`+string(fields)+`}}`)
	if got := bench.Actions(pass.Plan(b, set).Changes()); got != "" {
		t.Errorf("the plan: %s", got)
	}
	pass.Sync(b, set)
	if got := b.Record().Status.Inventory[0].UID; got != made.GetUID() {
		t.Errorf("the inventory has %s, and it is %s", got, made.GetUID())
	}
}

// An object that has the label of a target, and was never applied, is reported and not changed. An object that a controller
// created is not reported.
func TestObjectsWithTheLabelThatGitDoesNotHave(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Settings("a", "1"))
	pass.Sync(b, set)
	_, id := v1alpha1.MemberLabel(b.Records, b.Target)
	labelled := func(name, more string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: $NS, labels: {" + v1alpha1.LabelMember + ": " + id + "}" + more + "}\n"
	}
	if _, err := b.Admin.Resource(bench.ConfigMaps).Namespace(b.Namespace).Create(b.Ctx, b.Object(labelled("mirrored", "")), metav1.CreateOptions{FieldManager: "kube-controller-manager"}); err != nil {
		t.Fatal(err)
	}
	owner := b.Get(bench.ConfigMaps, b.Namespace, "a").GetUID()
	b.Create(bench.ConfigMaps, labelled("owned", ", ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a, uid: "+string(owner)+"}]"))
	b.Create(bench.ConfigMaps, labelled("copied", ""))

	pass.Sync(b, set)
	planned := pass.Plan(b, set)
	strays := planned.Strays()
	if len(strays) != 1 || strays[0].ID.Name != "copied" || strays[0].Unlabelled || strays[0].By.Name != "somebody" {
		t.Errorf("strays: %+v", strays)
	}
	if got := bench.Actions(planned.Changes()); got != "" {
		t.Errorf("the plan: %s", got)
	}
	if planned.Seen(planned.Members)[strays[0].ID.Key()] == nil {
		t.Error("the copy is not among what the plan has seen")
	}
	if b.Get(bench.ConfigMaps, b.Namespace, "copied") == nil {
		t.Error("the copy is gone")
	}
	pass.Sync(b, b.Set(bench.Join(bench.Settings("a", "1"), bench.Settings("copied", "ours"))))
	if got := bench.Names(b.Record().Status.Inventory); got != "ConfigMap/a, ConfigMap/copied" {
		t.Errorf("when git takes it in: %s", got)
	}
}
