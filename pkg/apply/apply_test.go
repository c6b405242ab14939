package apply_test

import (
	"fmt"
	"net/http"
	"reflect"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

func TestObjectsAreCreatedUpdatedAndPruned(t *testing.T) {
	b := bench.New(t)
	applied := pass.Sync(b, b.Set(bench.Join(bench.Settings("kept", "1"), bench.Settings("dropped", "1"))))
	if got := bench.Actions(applied.Changes); got != "Create ConfigMap/dropped, Create ConfigMap/kept" {
		t.Errorf("the first apply: %s", got)
	}
	applied = pass.Sync(b, b.Set(bench.Join(bench.Settings("kept", "2"), bench.Settings("new", "1"))))
	if got := bench.Actions(applied.Changes); got != "Prune ConfigMap/dropped, Update ConfigMap/kept, Create ConfigMap/new" {
		t.Errorf("the second apply: %s", got)
	}
	if got := bench.Names(applied.Inventory); got != "ConfigMap/kept, ConfigMap/new" {
		t.Errorf("the inventory: %s", got)
	}
	if len(applied.Live) != 2 {
		t.Errorf("%d live objects", len(applied.Live))
	}
	if got := bench.Value(b.Get(bench.ConfigMaps, b.Namespace, "kept"), "data", "key"); got != "2" {
		t.Errorf("kept is %v", got)
	}
	if b.Get(bench.ConfigMaps, b.Namespace, "dropped") != nil {
		t.Error("the dropped object is still there")
	}
}

func TestUnchangedSetCostsOnlyLists(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Join(bench.Settings("a", "1"), bench.Settings("b", "1"), `
apiVersion: v1
kind: Secret
metadata: {name: login, namespace: $NS}
stringData: {password: hunter22}
`, `
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: $NS}
spec:
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: "ingest:1"}]}}}}
`))
	pass.Sync(b, set)
	record := b.Record()
	var pending []manifest.Change
	requests := b.Requests(func() {
		planned, err := plan.Make(b.Ctx, b.Cluster, pass.RequestOf(b, set, record))
		if err != nil {
			t.Fatal(err)
		}
		pending = planned.Pending()
		for _, change := range planned.Changes() {
			if change.Drifted {
				t.Errorf("%s counts as drifted", change.ID)
			}
		}
	})
	if len(pending) > 0 {
		t.Errorf("pending: %s", bench.Actions(pending))
	}
	lists := map[string]int{}
	for _, e := range requests {
		if e.Verb != "list" {
			t.Errorf("a request that is no list:%s", bench.Shortly([]lab.AuditEvent{e}))
		}
		lists[e.Object.Resource]++
	}
	if len(lists) != 3 || len(requests) != 3 {
		t.Errorf("the lists:%s", bench.Shortly(requests))
	}
}

// An object that passed its dry run may still fail.
func TestFailedObjectHoldsLaterStagesBack(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Settings("dropped", "1")))
	b.Cluster = b.ConnectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return bench.Refusing{Inner: inner, Method: http.MethodPatch, Path: "/configmaps/bad"}
		})
	})
	set := b.Set(bench.Join(
		bench.Settings("bad", "1"), bench.Settings("good", "1"), // the stage before a CronJob's stage
		"apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly, namespace: $NS}\nspec:\n  schedule: \"@daily\"\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}\n",
	))
	applied, err := pass.TrySync(b, set)
	bench.WantError(t, err, "ConfigMap/"+b.Namespace+"/bad: applying: ")
	if got := bench.Names(applied.Inventory); got != "ConfigMap/dropped, ConfigMap/good" {
		t.Errorf("the inventory: %s", got)
	}
	if b.Get(bench.ConfigMaps, b.Namespace, "dropped") == nil {
		t.Error("something was pruned")
	}
	b.Restart()
	if got := bench.Actions(pass.Plan(b, set).Changes()); got != "Create ConfigMap/bad, Prune ConfigMap/dropped, Create CronJob/nightly" {
		t.Errorf("the next plan: %s", got)
	}
}

func TestInstallIsRepeatable(t *testing.T) {
	b := bench.New(t)
	fresh := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + b.Namespace + "-fresh}\n"
	inside := "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: syncer, namespace: " + b.Namespace + "-fresh}\n"
	install := func(docs ...string) string {
		t.Helper()
		var set manifest.Set
		for _, doc := range docs {
			set = append(set, b.Object(doc))
		}
		changes, err := apply.Install(b.Ctx, b.Cluster, set)
		if err != nil {
			t.Fatal(err)
		}
		return bench.Actions(changes)
	}
	definition := bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer}")
	if got := install(inside, fresh, definition); got != "Create CustomResourceDefinition/widgets."+b.Group()+", Create Namespace/"+b.Namespace+"-fresh, Create ServiceAccount/syncer" {
		t.Errorf("the first time: %s", got)
	}
	requests := b.Requests(func() {
		if got := install(inside, fresh, definition); got != "" {
			t.Errorf("the second time: %s", got)
		}
	})
	for _, e := range requests {
		if bench.IsWrite(e) {
			t.Errorf("a write:%s", bench.Shortly([]lab.AuditEvent{e}))
		}
	}
	if install(fresh); b.Get(bench.ServiceAccounts, b.Namespace+"-fresh", "syncer") == nil {
		t.Error("what an install leaves out is gone")
	}
	if _, ok := bench.Value(b.Get(bench.Namespaces, "", b.Namespace+"-fresh"), "metadata", "labels").(map[string]any)[v1alpha1.LabelMember]; ok {
		t.Error("it is part of an ApplySet")
	}
}

// A change beside the spec of an object that has run to its end starts no run. So the inventory keeps the end, and the next
// reconcile has nothing new to record.
func TestAnApplyNotesTheEndOfARunThatItLeaves(t *testing.T) {
	b := bench.New(t)
	const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: $NS, annotations: {release: "%s"}}
spec:
  managedBy: example.com/test
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}
`
	if e := pass.Sync(b, b.Set(fmt.Sprintf(job, "1"))).Inventory[0]; e.Completed {
		t.Errorf("before its run: %+v", e)
	}
	b.Status(bench.Jobs, "once", `{"status":{"startTime":"2026-01-01T00:00:00Z","completionTime":"2026-01-01T00:01:00Z","succeeded":1,"conditions":[
		{"type":"SuccessCriteriaMet","status":"True","lastTransitionTime":"2026-01-01T00:01:00Z"},{"type":"Complete","status":"True","lastTransitionTime":"2026-01-01T00:01:00Z"}]}}`)
	changed := b.Set(fmt.Sprintf(job, "2"))
	applied := pass.Sync(b, changed)
	if got := bench.Actions(applied.Changes); got != "Update Job/once" || !applied.Inventory[0].Completed {
		t.Errorf("after a change of an annotation: %s, %+v", got, applied.Inventory[0])
	}
	if next := pass.Plan(b, changed).Inventory(); !reflect.DeepEqual(next, applied.Inventory) {
		t.Errorf("the next reconcile changes the inventory to %+v", next)
	}
}
