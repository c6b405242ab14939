package plan_test

import (
	"errors"
	"testing"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/neighbour"
	"github.com/syncerdev/syncer/pkg/plan"
)

func TestObjectOfAnotherTargetIsRefused(t *testing.T) {
	b := bench.New(t)
	owner := b.Other("owner")
	pass.Sync(owner, owner.Set(bench.Settings("shared", "theirs")))
	var err error
	requests := b.Requests(func() {
		_, err = pass.TryPlan(b, b.Set(bench.Join(bench.Settings("shared", "ours"), bench.Settings("ours", "1"))))
	})
	bench.WantError(t, err, "ConfigMap/"+b.Namespace+"/shared: it belongs to owner@prod, so orders@prod may not take it")
	if owned, ok := errors.AsType[*plan.OwnedError](err); !ok || owned.Owner != "owner@prod" || owned.ID.Name != "shared" {
		t.Errorf("the error is %#v", err)
	}
	for _, e := range requests {
		if bench.IsWrite(e) {
			t.Errorf("a write:%s", bench.Shortly([]lab.AuditEvent{e}))
		}
	}
	if got := bench.Value(b.Get(bench.ConfigMaps, b.Namespace, "shared"), "data", "key"); got != "theirs" {
		t.Errorf("the object is %v", got)
	}
}

func TestObjectOfAnotherToolsApplySetIsRefused(t *testing.T) {
	b := bench.New(t)
	b.Create(bench.ConfigMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs, namespace: $NS, labels: {"+v1alpha1.LabelMember+": applyset-xyz-v1}}\n")
	_, err := pass.TryPlan(b, b.Set(bench.Settings("theirs", "ours")))
	bench.WantError(t, err, "/theirs: it belongs to the ApplySet applyset-xyz-v1")
}

// Another syncer has its records in another namespace, and may have a target of the same name.
func TestObjectOfAnotherSyncerIsRefused(t *testing.T) {
	b := bench.New(t)
	elsewhere := *b
	elsewhere.Records = b.Namespace
	elsewhere.Restart()
	pass.Sync(&elsewhere, elsewhere.Set(bench.Settings("shared", "theirs")))
	_, err := pass.TryPlan(b, b.Set(bench.Settings("shared", "ours")))
	bench.WantError(t, err, "/shared: it belongs to orders@prod, so orders@prod may not take it", "(the record of the owner is in namespace "+b.Namespace+")")
}

// An object that another owner takes over after it was applied is not written again.
func TestObjectThatIsTakenAwayIsNotFoughtFor(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Settings("a", "1"))
	pass.Sync(b, set)
	b.Edit(bench.ConfigMaps, "a", `{"metadata":{"labels":{"`+v1alpha1.LabelMember+`":"applyset-xyz-v1"}}}`)
	_, err := pass.TryPlan(b, set)
	bench.WantError(t, err, "it belongs to the ApplySet applyset-xyz-v1")
}

func TestObjectOfNobodyIsAdopted(t *testing.T) {
	b := bench.New(t)
	made := b.Create(bench.ConfigMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: found, namespace: $NS}\ndata: {key: theirs, extra: theirs}\n")
	set := b.Set(bench.Settings("found", "ours"))
	planned := pass.Plan(b, set)
	if got := bench.Actions(planned.Changes()); got != "Update ConfigMap/found" {
		t.Errorf("the plan: %s", got)
	}
	pass.Sync(b, set)
	live := b.Get(bench.ConfigMaps, b.Namespace, "found")
	if live.GetUID() != made.GetUID() {
		t.Error("it was made anew")
	}
	if got := live.GetLabels()[v1alpha1.LabelMember]; got != v1alpha1.ApplySetID(b.Records, b.Target) {
		t.Errorf("its label is %q", got)
	}
	if got := bench.Value(live, "data", "key"); got != "ours" {
		t.Errorf("its field is %v", got)
	}
	if got := bench.Value(live, "data", "extra"); got != "theirs" {
		t.Errorf("a field that git does not set is %v", got)
	}
	if got := bench.Actions(pass.Plan(b, set).Changes()); got != "" {
		t.Errorf("the second plan: %s", got)
	}
	pass.Sync(b, b.Set(bench.Settings("other", "1")))
	if b.Get(bench.ConfigMaps, b.Namespace, "found") != nil {
		t.Error("it is not pruned")
	}
}

// If two targets want an object at the same moment, one of them gets it.
func TestDeferredObjectOfAnotherTargetIsRefused(t *testing.T) {
	b := bench.New(t)
	fresh := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + b.Namespace + "-fresh}\n"
	inside := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inside, namespace: " + b.Namespace + "-fresh}\n"
	rival := b.Other("rival")
	brings := func(req *plan.Request) { req.Provides = neighbour.ProvidedBy(b.Set(fresh)) }
	planned, theirs := pass.Plan(b, b.Set(bench.Join(fresh, inside))), pass.Plan(rival, rival.Set(inside), brings)
	if _, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()}); err != nil {
		t.Fatal(err)
	}
	_, err := apply.Carry(b.Ctx, b.Cluster, theirs, apply.Options{Spec: rival.Spec()})
	bench.WantError(t, err, "ConfigMap/"+b.Namespace+"-fresh/inside: it belongs to orders@prod")
}
