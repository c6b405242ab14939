package apply_test

import (
	"errors"
	"testing"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/plan"
)

func TestObjectOfAnotherTargetIsRefused(t *testing.T) {
	b := newBench(t)
	owner := b.other("owner")
	owner.sync(owner.set(settings("shared", "theirs")))
	var err error
	requests := b.requests(func() { _, err = b.tryPlan(b.set(join(settings("shared", "ours"), settings("ours", "1")))) })
	wantError(t, err, "ConfigMap/"+b.namespace+"/shared: it belongs to owner@prod, so orders@prod may not take it")
	if owned, ok := errors.AsType[*plan.OwnedError](err); !ok || owned.Owner != "owner@prod" || owned.ID.Name != "shared" {
		t.Errorf("the error is %#v", err)
	}
	for _, e := range requests {
		if isWrite(e) {
			t.Errorf("a write:%s", shortly([]lab.AuditEvent{e}))
		}
	}
	if got := value(b.get(configMaps, b.namespace, "shared"), "data", "key"); got != "theirs" {
		t.Errorf("the object is %v", got)
	}
}

func TestObjectOfAnotherToolsApplySetIsRefused(t *testing.T) {
	b := newBench(t)
	b.create(configMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs, namespace: $NS, labels: {"+partOf+": applyset-xyz-v1}}\n")
	_, err := b.tryPlan(b.set(settings("theirs", "ours")))
	wantError(t, err, "/theirs: it belongs to the ApplySet applyset-xyz-v1")
}

// Another syncer has its records in another namespace, and may have a target of the same name.
func TestObjectOfAnotherSyncerIsRefused(t *testing.T) {
	b := newBench(t)
	elsewhere := *b
	elsewhere.records = b.namespace
	elsewhere.restart()
	elsewhere.sync(elsewhere.set(settings("shared", "theirs")))
	_, err := b.tryPlan(b.set(settings("shared", "ours")))
	wantError(t, err, "/shared: it belongs to orders@prod, so orders@prod may not take it", "(the record of the owner is in namespace "+b.namespace+")")
}

// An object that another owner takes over after it was applied is not written again.
func TestObjectThatIsTakenAwayIsNotFoughtFor(t *testing.T) {
	b := newBench(t)
	set := b.set(settings("a", "1"))
	b.sync(set)
	b.edit(configMaps, "a", `{"metadata":{"labels":{"`+partOf+`":"applyset-xyz-v1"}}}`)
	_, err := b.tryPlan(set)
	wantError(t, err, "it belongs to the ApplySet applyset-xyz-v1")
}

func TestObjectOfNobodyIsAdopted(t *testing.T) {
	b := newBench(t)
	made := b.create(configMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: found, namespace: $NS}\ndata: {key: theirs, extra: theirs}\n")
	set := b.set(settings("found", "ours"))
	planned := b.plan(set)
	if got := actions(planned.Changes()); got != "Update ConfigMap/found" {
		t.Errorf("the plan: %s", got)
	}
	b.sync(set)
	live := b.get(configMaps, b.namespace, "found")
	if live.GetUID() != made.GetUID() {
		t.Error("it was made anew")
	}
	if got := live.GetLabels()[partOf]; got != v1alpha1.ApplySetID(b.records, b.target) {
		t.Errorf("its label is %q", got)
	}
	if got := value(live, "data", "key"); got != "ours" {
		t.Errorf("its field is %v", got)
	}
	if got := value(live, "data", "extra"); got != "theirs" {
		t.Errorf("a field that git does not set is %v", got)
	}
	if got := actions(b.plan(set).Changes()); got != "" {
		t.Errorf("the second plan: %s", got)
	}
	b.sync(b.set(settings("other", "1")))
	if b.get(configMaps, b.namespace, "found") != nil {
		t.Error("it is not pruned")
	}
}

// If two targets want an object at the same moment, one of them gets it.
func TestDeferredObjectOfAnotherTargetIsRefused(t *testing.T) {
	b := newBench(t)
	fresh := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + b.namespace + "-fresh}\n"
	inside := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inside, namespace: " + b.namespace + "-fresh}\n"
	rival := b.other("rival")
	brings := func(req *plan.Request) { req.Provides = plan.ProvidedBy(b.set(fresh)) }
	planned, theirs := b.plan(b.set(join(fresh, inside))), rival.plan(rival.set(inside), brings)
	if _, err := apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec()}); err != nil {
		t.Fatal(err)
	}
	_, err := apply.Carry(b.ctx, b.cluster, theirs, apply.Options{Spec: rival.spec()})
	wantError(t, err, "ConfigMap/"+b.namespace+"-fresh/inside: it belongs to orders@prod")
}
