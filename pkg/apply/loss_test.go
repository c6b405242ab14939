package apply_test

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
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
var losses = map[string]func(b *bench, resource schema.GroupVersionResource, name string){
	"deleted and created again": func(b *bench, resource schema.GroupVersionResource, name string) {
		b.recreate(resource, name, func(*unstructured.Unstructured) {})
	},
	"deleted and created again without its label": func(b *bench, resource schema.GroupVersionResource, name string) {
		b.recreate(resource, name, func(obj *unstructured.Unstructured) { obj.SetLabels(nil) })
	},
	"managed fields cleared": func(b *bench, resource schema.GroupVersionResource, name string) {
		b.edit(resource, name, `{"metadata":{"managedFields":[{}]}}`)
	},
}

// recreate does the same as `kubectl get -o yaml` and `kubectl replace --force -f`.
func (b *bench) recreate(resource schema.GroupVersionResource, name string, change func(*unstructured.Unstructured)) *unstructured.Unstructured {
	b.t.Helper()
	obj := b.get(resource, b.namespace, name)
	for _, field := range []string{"managedFields", "uid", "resourceVersion", "creationTimestamp", "generation"} {
		unstructured.RemoveNestedField(obj.Object, "metadata", field)
	}
	delete(obj.Object, "status")
	change(obj)
	b.delete(resource, b.namespace, name)
	b.eventually(name+" is gone", func() bool { return b.get(resource, b.namespace, name) == nil })
	text, err := manifest.Set{obj}.YAML()
	if err != nil {
		b.t.Fatal(err)
	}
	return b.create(resource, string(text))
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
				resource: configMaps, name: "a",
				full: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: $NS}\ndata: {kept: x, former: x}\n",
				less: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: $NS}\ndata: {kept: x}\n", formerPath: "data.former",
			},
			"CronJob": {
				resource: cronJobs, name: "nightly",
				full: nightlyWith("{name: KEPT, value: x}, {name: FORMER, value: x}"), less: nightlyWith("{name: KEPT, value: x}"),
				formerPath: "spec.jobTemplate.spec.template.spec.containers[name=main].env[name=FORMER]",
			},
		} {
			t.Run(how+"/"+kind, func(t *testing.T) {
				b := newBench(t)
				has := func() bool {
					return len(manifest.Find(b.get(c.resource, b.namespace, c.name).Object, mustPath(c.formerPath))) > 0
				}
				set, less := b.set(join(c.full, settings("beside", "1"))), b.set(join(c.less, settings("beside", "1")))
				b.sync(set)
				lose(b, c.resource, c.name)

				planned := b.plan(set)
				if got := actions(planned.Changes()); got != "Update "+kind+"/"+c.name+" (drifted)" {
					t.Fatalf("the plan: %s", got)
				}
				change := planned.Changes()[indexOf(planned, c.name)]
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
				if got := inventory.Touched(b.ctx, b.cluster, b.record().Status.Inventory, planned.Members); len(got) != 1 {
					t.Errorf("touched: %v", got)
				}

				b.sync(set) // syncer takes it back
				planned = b.plan(set)
				if got := actions(planned.Changes()); got != "" {
					t.Errorf("after it was taken back: %s", got)
				}
				for _, change := range planned.Changes() {
					if len(change.Added) > 0 {
						t.Errorf("what has a default counts as added: %+v", change.Added)
					}
				}
				b.sync(less)
				if has() {
					t.Error("what leaves git stays")
				}
				b.sync(b.set(settings("beside", "1")))
				if b.get(c.resource, b.namespace, c.name) != nil {
					t.Error("it stays when it leaves git")
				}
			})
			// Without a pass in between, git's former content is unknown: the object is reported.
			t.Run(how+"/"+kind+", and a new commit", func(t *testing.T) {
				b := newBench(t)
				set, less := b.set(join(c.full, settings("beside", "1"))), b.set(join(c.less, settings("beside", "1")))
				b.sync(set)
				lose(b, c.resource, c.name)
				b.sync(less)
				planned := b.plan(less)
				added := planned.Changes()[indexOf(planned, c.name)].Added
				if len(added) != 1 || added[0].Path != c.formerPath {
					t.Errorf("added: %+v", added)
				}
			})
			t.Run(how+"/"+kind+", and it leaves git", func(t *testing.T) {
				b := newBench(t)
				b.sync(b.set(join(c.full, settings("beside", "1"))))
				lose(b, c.resource, c.name)
				rest := b.set(settings("beside", "1"))
				b.sync(rest)
				planned := b.plan(rest)
				gone := b.get(c.resource, b.namespace, c.name) == nil
				if labelled := !strings.Contains(how, "without its label"); gone != labelled || labelled != (len(planned.Strays()) == 0) {
					t.Errorf("gone: %t; strays: %+v", gone, planned.Strays())
				}
				if !gone {
					if got := planned.Strays()[0]; !got.Unlabelled || got.ID.Name != c.name || got.By.Name != "somebody" {
						t.Errorf("it is %+v", got)
					}
					b.edit(c.resource, c.name, `{"metadata":{"annotations":{"syncer.dev/prune":"disabled"}}}`)
					b.sync(rest)
					if planned := b.plan(rest); len(planned.Strays()) > 0 || len(b.record().Status.Inventory) != 1 {
						t.Errorf("it is kept by permission, and said: %+v", planned.Strays())
					}
				}
			})
		}
	}
}

func indexOf(planned *plan.Plan, name string) int {
	for i, change := range planned.Changes() {
		if change.ID.Name == name {
			return i
		}
	}
	return -1
}

// A backup may restore an object with its managed fields. Then nothing is lost.
func TestRestoredObjectIsAtRest(t *testing.T) {
	b := newBench(t)
	set := b.set(settings("a", "1"))
	b.sync(set)
	fields, err := json.Marshal(b.get(configMaps, b.namespace, "a").GetManagedFields())
	if err != nil {
		t.Fatal(err)
	}
	made := b.recreate(configMaps, "a", func(*unstructured.Unstructured) {})
	b.edit(configMaps, "a", `{"metadata":{"managedFields":`+string(fields)+`}}`)
	if got := actions(b.plan(set).Changes()); got != "" {
		t.Errorf("the plan: %s", got)
	}
	b.sync(set)
	if got := b.record().Status.Inventory[0].UID; got != made.GetUID() {
		t.Errorf("the inventory has %s, and it is %s", got, made.GetUID())
	}
}

// An object that has the label of a target, and was never applied, is reported and not changed. An object that a controller
// created is not reported.
func TestObjectsWithTheLabelThatGitDoesNotHave(t *testing.T) {
	b := newBench(t)
	set := b.set(settings("a", "1"))
	b.sync(set)
	_, id := v1alpha1.MemberLabel(b.records, b.target)
	labelled := func(name, more string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: $NS, labels: {" + partOf + ": " + id + "}" + more + "}\n"
	}
	if _, err := b.admin.Resource(configMaps).Namespace(b.namespace).Create(b.ctx, b.object(labelled("mirrored", "")), metav1.CreateOptions{FieldManager: "kube-controller-manager"}); err != nil {
		t.Fatal(err)
	}
	owner := b.get(configMaps, b.namespace, "a").GetUID()
	b.create(configMaps, labelled("owned", ", ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a, uid: "+string(owner)+"}]"))
	b.create(configMaps, labelled("copied", ""))

	b.sync(set)
	planned := b.plan(set)
	strays := planned.Strays()
	if len(strays) != 1 || strays[0].ID.Name != "copied" || strays[0].Unlabelled || strays[0].By.Name != "somebody" {
		t.Errorf("strays: %+v", strays)
	}
	if got := actions(planned.Changes()); got != "" {
		t.Errorf("the plan: %s", got)
	}
	if planned.Seen(planned.Members)[strays[0].ID.Key()] == nil {
		t.Error("the copy is not among what the plan has seen")
	}
	if b.get(configMaps, b.namespace, "copied") == nil {
		t.Error("the copy is gone")
	}
	b.sync(b.set(join(settings("a", "1"), settings("copied", "ours"))))
	if got := inventoryNames(b.record().Status.Inventory); got != "ConfigMap/a, ConfigMap/copied" {
		t.Errorf("when git takes it in: %s", got)
	}
}
