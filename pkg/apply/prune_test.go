package apply_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/plan"
)

func TestOnlyOwnMembersArePruned(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(bench.Settings("anchor", "1"), bench.Settings("unlabelled", "1"), bench.Settings("relabelled", "1"))))
	b.Edit(bench.ConfigMaps, "unlabelled", `{"metadata":{"labels":{"`+v1alpha1.LabelMember+`":null}}}`)
	b.Edit(bench.ConfigMaps, "relabelled", `{"metadata":{"labels":{"`+v1alpha1.LabelMember+`":"`+v1alpha1.ApplySetID(b.Records, v1alpha1.Target{Pipeline: "other", Environment: "prod"})+`"}}}`)
	// A copy with the label that syncer never applied.
	_, id := v1alpha1.MemberLabel(b.Records, b.Target)
	b.Create(bench.ConfigMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: copied, namespace: $NS, labels: {"+v1alpha1.LabelMember+": "+id+"}}\n")
	b.Create(bench.ConfigMaps, bench.Settings("foreign", "1"))

	applied := pass.Sync(b, b.Set(bench.Settings("anchor", "1")))
	if got := bench.Actions(applied.Changes); got != "" {
		t.Errorf("the apply: %s", got)
	}
	for _, name := range []string{"unlabelled", "relabelled", "copied", "foreign"} {
		if b.Get(bench.ConfigMaps, b.Namespace, name) == nil {
			t.Errorf("%s is gone", name)
		}
	}
	// The object belonged to syncer. The removal of the label may not mean that the object must stay, so it is reported
	// until it is gone.
	if got := bench.Names(applied.Inventory); got != "ConfigMap/anchor, ConfigMap/unlabelled" {
		t.Errorf("the inventory: %s", got)
	}
}

// Objects change their owner between a plan and its prunes.
func TestPruneJudgesTheObjectAsItIsNow(t *testing.T) {
	b := bench.New(t)
	names := []string{"relabelled", "remade", "marked", "busy", "doomed"}
	docs := []string{bench.Settings("anchor", "1")}
	for _, name := range names {
		docs = append(docs, bench.Settings(name, "1"))
	}
	pass.Sync(b, b.Set(bench.Join(docs...)))
	planned := pass.Plan(b, b.Set(bench.Settings("anchor", "1")))
	if got := len(planned.Pending()); got != len(names) {
		t.Fatalf("pending: %s", bench.Actions(planned.Changes()))
	}
	b.Edit(bench.ConfigMaps, "relabelled", `{"metadata":{"labels":{"`+v1alpha1.LabelMember+`":"somebody"}}}`)
	labels := b.Get(bench.ConfigMaps, b.Namespace, "remade").GetLabels()
	b.Delete(bench.ConfigMaps, b.Namespace, "remade")
	b.Create(bench.ConfigMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: remade, namespace: $NS, labels: {"+v1alpha1.LabelMember+": "+labels[v1alpha1.LabelMember]+"}}\n")
	b.Edit(bench.ConfigMaps, "marked", `{"metadata":{"annotations":{"syncer.dev/prune":"disabled"}}}`)
	b.Edit(bench.ConfigMaps, "busy", `{"data":{"key":"2"}}`)
	if _, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"relabelled", "remade", "marked"} {
		if b.Get(bench.ConfigMaps, b.Namespace, name) == nil {
			t.Errorf("%s is gone", name)
		}
	}
	for _, name := range []string{"busy", "doomed"} {
		if b.Get(bench.ConfigMaps, b.Namespace, name) != nil {
			t.Errorf("%s is still there", name)
		}
	}
}

func TestPruneOfAnObjectThatIsWrittenMeanwhile(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(bench.Settings("anchor", "1"), bench.Settings("busy", "1"))))
	n := 0
	// Another client writes between the read and the delete, as a controller that reports a status does.
	b.Before(http.MethodDelete, func() {
		if n++; n <= 2 {
			b.Edit(bench.ConfigMaps, "busy", fmt.Sprintf(`{"data":{"key":"write %d"}}`, n))
		}
	})
	pass.Sync(b, b.Set(bench.Settings("anchor", "1")))
	if n != 3 || b.Get(bench.ConfigMaps, b.Namespace, "busy") != nil {
		t.Errorf("after %d deletes, the object is still there", n)
	}
}

func TestPruneDisabledOnAnObject(t *testing.T) {
	b := bench.New(t)
	kept := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, namespace: $NS, annotations: {syncer.dev/prune: disabled}}\n"
	pass.Sync(b, b.Set(bench.Join(bench.Settings("anchor", "1"), kept)))
	planned := pass.Plan(b, b.Set(bench.Settings("anchor", "1")))
	if got := bench.Actions(planned.Changes()); got != "" {
		t.Errorf("the plan: %s", got)
	}
	if err := planned.LimitPrunes(plan.PruneLimit{MaxPercent: 0}); err != nil {
		t.Errorf("an object that stays counts as a loss: %v", err)
	}
	pass.Sync(b, b.Set(bench.Settings("anchor", "2")))
	if b.Get(bench.ConfigMaps, b.Namespace, "kept") == nil {
		t.Error("the object is gone")
	}
}

func TestFinalizerThatHangsBlocksNothing(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(bench.Settings("anchor", "1"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hangs, namespace: $NS, finalizers: [example.com/never]}\n")))
	t.Cleanup(func() { bench.LetGo(b, bench.ConfigMaps, "hangs") })
	pass.Sync(b, b.Set(bench.Settings("anchor", "2")))
	live := b.Get(bench.ConfigMaps, b.Namespace, "hangs")
	if live == nil || live.GetDeletionTimestamp() == nil {
		t.Fatal("the object is not on its way out")
	}
	set := b.Set(bench.Settings("anchor", "3"))
	if got := bench.Actions(pass.Sync(b, set).Changes); got != "Update ConfigMap/anchor" {
		t.Errorf("the pass after the prune: %s", got)
	}
	requests := b.Requests(func() {
		if planned := pass.Plan(b, set); len(planned.Pending()) > 0 {
			t.Errorf("the pass after that: %s", bench.Actions(planned.Changes()))
		}
	})
	for _, e := range requests {
		if bench.IsWrite(e) {
			t.Errorf("a write:%s", bench.Shortly([]lab.AuditEvent{e}))
		}
	}
}

func TestPruningGoesTheOtherWayRound(t *testing.T) {
	b := bench.New(t)
	fresh := b.Namespace + "-fresh"
	set := b.Set(bench.Join(
		bench.Settings("anchor", "1"),
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: "+fresh+"}\n",
		bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer}"),
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inside, namespace: "+fresh+"}\n",
		"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner, namespace: "+fresh+"}\n",
		bench.Custom(b.Group(), "v1", "Widget", fresh, "one", "size: 3"),
	))
	pass.Sync(b, set)
	requests := b.Requests(func() { pass.Sync(b, b.Set(bench.Settings("anchor", "1"))) })
	var order []string
	for _, e := range requests {
		if e.Verb == "delete" {
			order = append(order, e.Object.Resource)
		}
	}
	want := []string{"widgets", "configmaps", "serviceaccounts", "namespaces", "customresourcedefinitions"}
	if !slices.Equal(order, want) {
		t.Errorf("the order is %v, want %v", order, want)
	}
}

// If a stage could not delete an object, the objects that it may need stay.
func TestFailedPruneKeepsTheEarlierStages(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(bench.Settings("one", "1"), bench.Settings("two", "1"), "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner, namespace: $NS}\n")))
	b.Cluster = b.ConnectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return bench.Refusing{Inner: inner, Method: http.MethodDelete, Path: "/configmaps/one"}
		})
	})
	_, err := apply.Carry(b.Ctx, b.Cluster, pass.Plan(b, nil), apply.Options{Spec: b.Record().Spec})
	bench.WantError(t, err, "ConfigMap/"+b.Namespace+"/one: pruning: ")
	if b.Get(bench.ConfigMaps, b.Namespace, "two") != nil {
		t.Error("an object beside the failed one is still there")
	}
	if b.Get(bench.ServiceAccounts, b.Namespace, "runner") == nil {
		t.Error("the earlier stage is gone")
	}
	if b.Record() == nil {
		t.Error("the record is gone, and with it the knowledge of what is left")
	}
}

// refusing is a network that fails for the writes of one object.

func TestRemovingATargetLeavesNothingOfIt(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(bench.Settings("one", "1"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, namespace: $NS, annotations: {syncer.dev/prune: disabled}}\n")))
	other := b.Other("neighbour")
	pass.Sync(other, other.Set(bench.Settings("neighbour", "1")))
	if _, err := apply.Carry(b.Ctx, b.Cluster, pass.Plan(b, nil), apply.Options{Spec: b.Record().Spec}); err != nil {
		t.Fatal(err)
	}
	if b.Get(bench.ConfigMaps, b.Namespace, "one") != nil {
		t.Error("an object is still there")
	}
	if b.Get(bench.ConfigMaps, b.Namespace, "kept") == nil {
		t.Error("an object with prune disabled is gone")
	}
	if b.Record() == nil {
		t.Error("the record went with the objects; its pins are the caller's to judge")
	}
	record := b.Record()
	if err := b.Cluster.Records().Delete(b.Ctx, b.Target, record.UID, "1"); !errors.As(err, new(*answer.OvertakenError)) || b.Record() == nil {
		t.Errorf("a record that somebody wrote meanwhile is deleted: %v", err)
	}
	if err := b.Cluster.Records().Delete(b.Ctx, b.Target, record.UID, record.ResourceVersion); err != nil {
		t.Fatal(err)
	}
	if b.Record() != nil {
		t.Error("the record is still there")
	}
	if b.Get(bench.ConfigMaps, b.Namespace, "neighbour") == nil || other.Record() == nil {
		t.Error("another target lost something")
	}
	if _, err := apply.Carry(b.Ctx, b.Cluster, pass.Plan(b, nil), apply.Options{Spec: b.Spec()}); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
}

// With foreground deletion an object stays until its dependents are gone.
func TestPruneInTheForeground(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(bench.Settings("owner", "1"), bench.Settings("stays", "1"))))
	owner := b.Get(bench.ConfigMaps, b.Namespace, "owner").GetUID()
	b.Create(bench.ConfigMaps, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: owned\n  namespace: $NS\n  finalizers: [example.com/hold]\n  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: %s, blockOwnerDeletion: true}]\n", owner))
	pass.Sync(b, b.Set(bench.Settings("stays", "1")), pass.Under(plan.Policies{Propagation: v1alpha1.Foreground}))
	b.Eventually("what it owns is being deleted", func() bool { return b.Get(bench.ConfigMaps, b.Namespace, "owned").GetDeletionTimestamp() != nil })
	if live := b.Get(bench.ConfigMaps, b.Namespace, "owner"); live == nil || live.GetDeletionTimestamp() == nil {
		t.Error("it did not wait for what it owns")
	}
	planned := pass.Plan(b, b.Set(bench.Settings("stays", "1")))
	if got := planned.Terminating(); len(got) != 1 || !strings.Contains(got[0], "ConfigMap/"+b.Namespace+"/owner is being deleted since ") || len(planned.Pending()) > 0 {
		t.Errorf("terminating: %v, pending: %s", got, bench.Actions(planned.Pending()))
	}
	bench.LetGo(b, bench.ConfigMaps, "owned")
	b.Eventually("both are gone", func() bool { return b.Get(bench.ConfigMaps, b.Namespace, "owner") == nil })
}
