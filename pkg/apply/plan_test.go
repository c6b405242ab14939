package apply_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

func TestEditByAnotherManagerIsNoticedFromManagedFields(t *testing.T) {
	b := newBench(t)
	set := b.set(join(settings("edited", "git"), settings("untouched", "git")))
	b.sync(set)
	b.edit(configMaps, "edited", `{"data":{"key":"hand"}}`)
	record := b.record()

	var planned *plan.Plan
	requests := b.requests(func() { planned = b.plan(set) })
	for _, e := range requests {
		if isDryRun(e) && e.Object.Name != "edited" {
			t.Errorf("an untouched object was tried:%s", shortly([]lab.AuditEvent{e}))
		}
	}
	if got := actions(planned.Changes()); got != "Update ConfigMap/edited (drifted)" {
		t.Fatalf("the plan: %s", got)
	}
	want := []manifest.FieldChange{{Path: "data.key", From: "hand", To: "git"}}
	if got := planned.Pending()[0].Fields; len(got) != 1 || got[0] != want[0] {
		t.Errorf("the fields: %v", got)
	}
	if got := inventory.Touched(b.ctx, b.cluster, record.Status.Inventory, planned.Members); len(got) != 1 || !strings.HasSuffix(got[0], "/edited") {
		t.Errorf("touched: %v", got)
	}

	left := planned.Leave(func(manifest.Change, *manifest.FieldChange) bool { return true })
	if len(left) != 1 || left[0].ID.Name != "edited" || len(planned.Pending()) != 0 {
		t.Errorf("left %s, pending %s", actions(left), actions(planned.Pending()))
	}
	if diff := cmp.Diff(record.Status.Inventory, planned.Inventory()); diff != "" {
		t.Errorf("what is left would not be noticed again (-want +got):\n%s", diff)
	}
	if _, err := apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec()}); err != nil {
		t.Fatal(err)
	}
	if got := value(b.get(configMaps, b.namespace, "edited"), "data", "key"); got != "hand" {
		t.Errorf("what Leave left is now %v", got)
	}
}

func TestDriftIsTakenBackFromAnotherManager(t *testing.T) {
	b := newBench(t)
	set := b.set(settings("edited", "git"))
	b.sync(set)
	b.edit(configMaps, "edited", `{"data":{"key":"hand","more":"hand"}}`)
	b.sync(set)
	live := b.get(configMaps, b.namespace, "edited")
	if got := value(live, "data", "key"); got != "git" {
		t.Errorf("the field is %v", got)
	}
	if got := value(live, "data", "more"); got != "hand" {
		t.Errorf("a field that git does not set is %v", got)
	}
	path, err := manifest.ParsePath("data.key")
	if err != nil {
		t.Fatal(err)
	}
	if manager, ok := manifest.ManagerOf(live, path, manifest.FieldManager); ok {
		t.Errorf("%s still owns the field", manager.Name)
	}
	if planned := b.plan(set); len(planned.Pending()) > 0 {
		t.Errorf("after that: %s", actions(planned.Changes()))
	}
}

func TestMissingObjectIsDrift(t *testing.T) {
	b := newBench(t)
	set := b.set(join(settings("gone", "1"), settings("there", "1")))
	b.sync(set)
	b.delete(configMaps, b.namespace, "gone")
	if got := actions(b.plan(set).Changes()); got != "Create ConfigMap/gone (drifted)" {
		t.Errorf("the plan: %s", got)
	}
}

func TestChangeInGitIsNoDrift(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(settings("a", "1")))
	b.edit(configMaps, "a", `{"data":{"key":"hand"}}`)
	if got := actions(b.plan(b.set(settings("a", "2"))).Changes()); got != "Update ConfigMap/a" {
		t.Errorf("the plan: %s", got)
	}
}

func TestFullPlanTriesEveryObject(t *testing.T) {
	b := newBench(t)
	set := b.set(join(settings("a", "1"), settings("b", "1")))
	b.sync(set)
	var planned *plan.Plan
	requests := b.requests(func() { planned = b.plan(set, full) })
	tried := 0
	for _, e := range requests {
		if isWrite(e) {
			t.Errorf("the plan wrote:%s", shortly([]lab.AuditEvent{e}))
		}
		if isDryRun(e) {
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
	b := newBench(t)
	set := b.set(settings("a", "1"))
	b.sync(set)
	b.edit(configMaps, "a", `{"metadata":{"labels":{"applyset.kubernetes.io/part-of":null}}}`)
	if got := actions(b.plan(set).Changes()); got != "Update ConfigMap/a (drifted)" {
		t.Errorf("the plan: %s", got)
	}
	b.sync(set)
	if got := actions(b.plan(set).Changes()); got != "" {
		t.Errorf("after a sync: %s", got)
	}
}

// The record's status is written last: after a crash it is behind the cluster.
func TestStaleInventoryIsCompletedWithoutAWrite(t *testing.T) {
	b := newBench(t)
	old := b.set(settings("a", "1"))
	b.sync(old)
	stale := b.record().Status.Inventory
	set := b.set(join(settings("a", "2"), settings("b", "1")))
	b.sync(set)
	whole := b.record().Status.Inventory
	b.save(stale)

	b.restart()
	requests := b.requests(func() { b.sync(set) })
	for _, e := range requests {
		if isWrite(e) && e.Object.Resource != records.Resource {
			t.Errorf("a write:%s", shortly([]lab.AuditEvent{e}))
		}
	}
	if diff := cmp.Diff(whole, b.record().Status.Inventory); diff != "" {
		t.Error(diff)
	}
}

// The API server may name the same fields in another way, for example when a kind gets a new version.
func TestInventoryThatNamesOtherFieldsIsMended(t *testing.T) {
	b := newBench(t)
	set := b.set(settings("a", "1"))
	b.sync(set)
	want := b.record().Status.Inventory
	other := slices.Clone(want)
	other[0].Fields = "other"
	b.save(other)
	planned := b.plan(set)
	if diff := cmp.Diff(want, planned.Inventory()); len(planned.Pending()) > 0 || diff != "" {
		t.Errorf("pending %s, the inventory differs: %s", actions(planned.Changes()), diff)
	}
}

func TestLostRecordIsRebuiltFromTheMembers(t *testing.T) {
	b := newBench(t)
	before := b.set(join(settings("a", "1"), settings("dropped", "1"), settings("b", "1")))
	b.sync(before)
	b.delete(records, b.records, b.target.RecordName())

	b.restart()
	set := b.set(join(settings("a", "1"), settings("b", "2")))
	planned := b.plan(set)
	if got := actions(planned.Changes()); got != "Update ConfigMap/b, Prune ConfigMap/dropped" {
		t.Errorf("the plan: %s", got)
	}
	if len(planned.Members) != 3 {
		t.Errorf("%d members", len(planned.Members))
	}
	applied := b.sync(set)
	if got := inventoryNames(applied.Inventory); got != "ConfigMap/a, ConfigMap/b" {
		t.Errorf("the inventory: %s", got)
	}
	requests := b.requests(func() { b.plan(set) })
	for _, e := range requests {
		if e.Verb != "list" && e.Object.Resource != records.Resource {
			t.Errorf("the record is not whole again:%s", shortly([]lab.AuditEvent{e}))
		}
	}
}

func TestLostRecordOfAnUnchangedTargetIsRebuilt(t *testing.T) {
	b := newBench(t)
	set := b.set(join(settings("a", "1"), settings("b", "1")))
	b.sync(set)
	want := b.record().Status.Inventory
	b.delete(records, b.records, b.target.RecordName())
	b.restart()
	requests := b.requests(func() { b.sync(set) })
	for _, e := range requests {
		if isWrite(e) && e.Object.Resource != records.Resource {
			t.Errorf("a write:%s", shortly([]lab.AuditEvent{e}))
		}
	}
	if diff := cmp.Diff(want, b.record().Status.Inventory); len(want) != 2 || diff != "" {
		t.Errorf("%d objects; %s", len(want), diff)
	}
}

func TestTargetsDoNotDisturbEachOther(t *testing.T) {
	b := newBench(t)
	done := make(chan string, 2)
	for _, name := range []string{"left", "right"} {
		o := b.other(name)
		set := o.set(join(settings(name+"-a", "1"), settings(name+"-b", "1"), "apiVersion: v1\nkind: Secret\nmetadata: {name: "+name+", namespace: $NS}\nstringData: {key: hunter22}\n"))
		smaller := o.set(settings(name+"-a", "2"))
		go func() {
			defer func() { done <- name }()
			for _, set := range []manifest.Set{set, smaller, set} {
				record, err := o.cluster.Records().Get(o.ctx, o.target)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				planned, err := plan.Make(o.ctx, o.cluster, requestOf(o, set, record))
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				applied, err := apply.Carry(o.ctx, o.cluster, planned, apply.Options{Spec: o.spec()})
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				if len(applied.Inventory) != len(set) {
					t.Errorf("%s: the inventory has %s", name, inventoryNames(applied.Inventory))
				}
			}
		}()
	}
	<-done
	<-done
	for _, name := range []string{"left", "right"} {
		for _, suffix := range []string{"-a", "-b"} {
			if b.get(configMaps, b.namespace, name+suffix) == nil {
				t.Errorf("%s is gone", name+suffix)
			}
		}
	}
}
