package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

func TestEditByAnotherManagerIsNoticedFromManagedFields(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Join(bench.Settings("edited", "git"), bench.Settings("untouched", "git")))
	pass.Sync(b, set)
	b.Edit(bench.ConfigMaps, "edited", `{"data":{"key":"hand"}}`)
	record := b.Record()

	var planned *plan.Plan
	requests := b.Requests(func() { planned = pass.Plan(b, set) })
	for _, e := range requests {
		if bench.IsDryRun(e) && e.Object.Name != "edited" {
			t.Errorf("an untouched object was tried:%s", bench.Shortly([]lab.AuditEvent{e}))
		}
	}
	if got := bench.Actions(planned.Changes()); got != "Update ConfigMap/edited (drifted)" {
		t.Fatalf("the plan: %s", got)
	}
	want := []manifest.FieldChange{{Path: "data.key", From: "hand", To: "git"}}
	if got := planned.Pending()[0].Fields; len(got) != 1 || got[0] != want[0] {
		t.Errorf("the fields: %v", got)
	}
	if got := inventory.Touched(b.Ctx, b.Cluster, record.Status.Inventory, planned.Members); len(got) != 1 || !strings.HasSuffix(got[0], "/edited") {
		t.Errorf("touched: %v", got)
	}

	left := planned.Leave(func(manifest.Change, *manifest.FieldChange) bool { return true })
	if len(left) != 1 || left[0].ID.Name != "edited" || len(planned.Pending()) != 0 {
		t.Errorf("left %s, pending %s", bench.Actions(left), bench.Actions(planned.Pending()))
	}
	if diff := cmp.Diff(record.Status.Inventory, planned.Inventory()); diff != "" {
		t.Errorf("what is left would not be noticed again (-want +got):\n%s", diff)
	}
	if _, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()}); err != nil {
		t.Fatal(err)
	}
	if got := bench.Value(b.Get(bench.ConfigMaps, b.Namespace, "edited"), "data", "key"); got != "hand" {
		t.Errorf("what Leave left is now %v", got)
	}
}

func TestDriftIsTakenBackFromAnotherManager(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Settings("edited", "git"))
	pass.Sync(b, set)
	b.Edit(bench.ConfigMaps, "edited", `{"data":{"key":"hand","more":"hand"}}`)
	pass.Sync(b, set)
	live := b.Get(bench.ConfigMaps, b.Namespace, "edited")
	if got := bench.Value(live, "data", "key"); got != "git" {
		t.Errorf("the field is %v", got)
	}
	if got := bench.Value(live, "data", "more"); got != "hand" {
		t.Errorf("a field that git does not set is %v", got)
	}
	path, err := manifest.ParsePath("data.key")
	if err != nil {
		t.Fatal(err)
	}
	if manager, ok := manifest.ManagerOf(live, path, manifest.FieldManager); ok {
		t.Errorf("%s still owns the field", manager.Name)
	}
	if planned := pass.Plan(b, set); len(planned.Pending()) > 0 {
		t.Errorf("after that: %s", bench.Actions(planned.Changes()))
	}
}

func TestMissingObjectIsDrift(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Join(bench.Settings("gone", "1"), bench.Settings("there", "1")))
	pass.Sync(b, set)
	b.Delete(bench.ConfigMaps, b.Namespace, "gone")
	if got := bench.Actions(pass.Plan(b, set).Changes()); got != "Create ConfigMap/gone (drifted)" {
		t.Errorf("the plan: %s", got)
	}
}

func TestChangeInGitIsNoDrift(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Settings("a", "1")))
	b.Edit(bench.ConfigMaps, "a", `{"data":{"key":"hand"}}`)
	if got := bench.Actions(pass.Plan(b, b.Set(bench.Settings("a", "2"))).Changes()); got != "Update ConfigMap/a" {
		t.Errorf("the plan: %s", got)
	}
}

func TestFullPlanTriesEveryObject(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Join(bench.Settings("a", "1"), bench.Settings("b", "1")))
	pass.Sync(b, set)
	var planned *plan.Plan
	requests := b.Requests(func() { planned = pass.Plan(b, set, pass.Full) })
	tried := 0
	for _, e := range requests {
		if bench.IsWrite(e) {
			t.Errorf("the plan wrote:%s", bench.Shortly([]lab.AuditEvent{e}))
		}
		if bench.IsDryRun(e) {
			tried++
		}
	}
	if tried != 2 {
		t.Errorf("%d dry runs", tried)
	}
	for _, change := range planned.Changes() {
		if change.Action != manifest.None || change.Drifted {
			t.Errorf("%s: %s, drifted %v", change.ID, change.Action, change.Drifted)
		}
	}
}

func TestLabelTakenOffIsDriftAndComesBack(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Settings("a", "1"))
	pass.Sync(b, set)
	b.Edit(bench.ConfigMaps, "a", `{"metadata":{"labels":{"applyset.kubernetes.io/part-of":null}}}`)
	if got := bench.Actions(pass.Plan(b, set).Changes()); got != "Update ConfigMap/a (drifted)" {
		t.Errorf("the plan: %s", got)
	}
	pass.Sync(b, set)
	if got := bench.Actions(pass.Plan(b, set).Changes()); got != "" {
		t.Errorf("after a sync: %s", got)
	}
}

// The record's status is written last: after a crash it is behind the cluster.
func TestStaleInventoryIsCompletedWithoutAWrite(t *testing.T) {
	b := bench.New(t)
	old := b.Set(bench.Settings("a", "1"))
	pass.Sync(b, old)
	stale := b.Record().Status.Inventory
	set := b.Set(bench.Join(bench.Settings("a", "2"), bench.Settings("b", "1")))
	pass.Sync(b, set)
	whole := b.Record().Status.Inventory
	b.Save(stale)

	b.Restart()
	requests := b.Requests(func() { pass.Sync(b, set) })
	for _, e := range requests {
		if bench.IsWrite(e) && e.Object.Resource != bench.RecordResource.Resource {
			t.Errorf("a write:%s", bench.Shortly([]lab.AuditEvent{e}))
		}
	}
	if diff := cmp.Diff(whole, b.Record().Status.Inventory); diff != "" {
		t.Error(diff)
	}
}

// The API server may name the same fields in another way, for example when a kind gets a new version.
func TestInventoryThatNamesOtherFieldsIsMended(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Settings("a", "1"))
	pass.Sync(b, set)
	want := b.Record().Status.Inventory
	other := slices.Clone(want)
	other[0].Fields = "other"
	b.Save(other)
	planned := pass.Plan(b, set)
	if diff := cmp.Diff(want, planned.Inventory()); len(planned.Pending()) > 0 || diff != "" {
		t.Errorf("pending %s, the inventory differs: %s", bench.Actions(planned.Changes()), diff)
	}
}

func TestLostRecordIsRebuiltFromTheMembers(t *testing.T) {
	b := bench.New(t)
	before := b.Set(bench.Join(bench.Settings("a", "1"), bench.Settings("dropped", "1"), bench.Settings("b", "1")))
	pass.Sync(b, before)
	b.Delete(bench.RecordResource, b.Records, b.Target.RecordName())

	b.Restart()
	set := b.Set(bench.Join(bench.Settings("a", "1"), bench.Settings("b", "2")))
	planned := pass.Plan(b, set)
	if got := bench.Actions(planned.Changes()); got != "Update ConfigMap/b, Prune ConfigMap/dropped" {
		t.Errorf("the plan: %s", got)
	}
	if len(planned.Members) != 3 {
		t.Errorf("%d members", len(planned.Members))
	}
	applied := pass.Sync(b, set)
	if got := bench.Names(applied.Inventory); got != "ConfigMap/a, ConfigMap/b" {
		t.Errorf("the inventory: %s", got)
	}
	requests := b.Requests(func() { pass.Plan(b, set) })
	for _, e := range requests {
		if e.Verb != "list" && e.Object.Resource != bench.RecordResource.Resource {
			t.Errorf("the record is not whole again:%s", bench.Shortly([]lab.AuditEvent{e}))
		}
	}
}

func TestLostRecordOfAnUnchangedTargetIsRebuilt(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Join(bench.Settings("a", "1"), bench.Settings("b", "1")))
	pass.Sync(b, set)
	want := b.Record().Status.Inventory
	b.Delete(bench.RecordResource, b.Records, b.Target.RecordName())
	b.Restart()
	requests := b.Requests(func() { pass.Sync(b, set) })
	for _, e := range requests {
		if bench.IsWrite(e) && e.Object.Resource != bench.RecordResource.Resource {
			t.Errorf("a write:%s", bench.Shortly([]lab.AuditEvent{e}))
		}
	}
	if diff := cmp.Diff(want, b.Record().Status.Inventory); len(want) != 2 || diff != "" {
		t.Errorf("%d objects; %s", len(want), diff)
	}
}

func TestTargetsDoNotDisturbEachOther(t *testing.T) {
	b := bench.New(t)
	done := make(chan string, 2)
	for _, name := range []string{"left", "right"} {
		o := b.Other(name)
		set := o.Set(bench.Join(bench.Settings(name+"-a", "1"), bench.Settings(name+"-b", "1"), "apiVersion: v1\nkind: Secret\nmetadata: {name: "+name+", namespace: $NS}\nstringData: {key: hunter22}\n"))
		smaller := o.Set(bench.Settings(name+"-a", "2"))
		go func() {
			defer func() { done <- name }()
			for _, set := range []manifest.Set{set, smaller, set} {
				record, err := o.Cluster.Records().Get(o.Ctx, o.Target)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				planned, err := plan.Make(o.Ctx, o.Cluster, pass.RequestOf(o, set, record))
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				applied, err := apply.Carry(o.Ctx, o.Cluster, planned, apply.Options{Spec: o.Spec()})
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				if len(applied.Inventory) != len(set) {
					t.Errorf("%s: the inventory has %s", name, bench.Names(applied.Inventory))
				}
			}
		}()
	}
	<-done
	<-done
	for _, name := range []string{"left", "right"} {
		for _, suffix := range []string{"-a", "-b"} {
			if b.Get(bench.ConfigMaps, b.Namespace, name+suffix) == nil {
				t.Errorf("%s is gone", name+suffix)
			}
		}
	}
}
