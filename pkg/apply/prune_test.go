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
	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

const partOf = "applyset.kubernetes.io/part-of"

func TestOnlyOwnMembersArePruned(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(settings("anchor", "1"), settings("unlabelled", "1"), settings("relabelled", "1"))))
	b.edit(configMaps, "unlabelled", `{"metadata":{"labels":{"`+partOf+`":null}}}`)
	b.edit(configMaps, "relabelled", `{"metadata":{"labels":{"`+partOf+`":"`+v1alpha1.ApplySetID(b.records, v1alpha1.Target{Pipeline: "other", Environment: "prod"})+`"}}}`)
	// A copy with the label that syncer never applied.
	_, id := v1alpha1.MemberLabel(b.records, b.target)
	b.create(configMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: copied, namespace: $NS, labels: {"+partOf+": "+id+"}}\n")
	b.create(configMaps, settings("foreign", "1"))

	applied := b.sync(b.set(settings("anchor", "1")))
	if got := actions(applied.Changes); got != "" {
		t.Errorf("the apply: %s", got)
	}
	for _, name := range []string{"unlabelled", "relabelled", "copied", "foreign"} {
		if b.get(configMaps, b.namespace, name) == nil {
			t.Errorf("%s is gone", name)
		}
	}
	// The object belonged to syncer. The removal of the label may not mean that the object must stay, so it is reported
	// until it is gone.
	if got := inventoryNames(applied.Inventory); got != "ConfigMap/anchor, ConfigMap/unlabelled" {
		t.Errorf("the inventory: %s", got)
	}
}

// Objects change their owner between a plan and its prunes.
func TestPruneJudgesTheObjectAsItIsNow(t *testing.T) {
	b := newBench(t)
	names := []string{"relabelled", "remade", "marked", "busy", "doomed"}
	docs := []string{settings("anchor", "1")}
	for _, name := range names {
		docs = append(docs, settings(name, "1"))
	}
	b.sync(b.set(join(docs...)))
	planned := b.plan(b.set(settings("anchor", "1")))
	if got := len(planned.Pending()); got != len(names) {
		t.Fatalf("pending: %s", actions(planned.Changes()))
	}
	b.edit(configMaps, "relabelled", `{"metadata":{"labels":{"`+partOf+`":"somebody"}}}`)
	labels := b.get(configMaps, b.namespace, "remade").GetLabels()
	b.delete(configMaps, b.namespace, "remade")
	b.create(configMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: remade, namespace: $NS, labels: {"+partOf+": "+labels[partOf]+"}}\n")
	b.edit(configMaps, "marked", `{"metadata":{"annotations":{"syncer.dev/prune":"disabled"}}}`)
	b.edit(configMaps, "busy", `{"data":{"key":"2"}}`)
	if _, err := apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec()}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"relabelled", "remade", "marked"} {
		if b.get(configMaps, b.namespace, name) == nil {
			t.Errorf("%s is gone", name)
		}
	}
	for _, name := range []string{"busy", "doomed"} {
		if b.get(configMaps, b.namespace, name) != nil {
			t.Errorf("%s is still there", name)
		}
	}
}

func TestPruneOfAnObjectThatIsWrittenMeanwhile(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(settings("anchor", "1"), settings("busy", "1"))))
	n := 0
	// Another client writes between the read and the delete, as a controller that reports a status does.
	b.meddle(http.MethodDelete, func() {
		if n++; n <= 2 {
			b.edit(configMaps, "busy", fmt.Sprintf(`{"data":{"key":"write %d"}}`, n))
		}
	})
	b.sync(b.set(settings("anchor", "1")))
	if n != 3 || b.get(configMaps, b.namespace, "busy") != nil {
		t.Errorf("after %d deletes, the object is still there", n)
	}
}

func TestPruneDisabledOnAnObject(t *testing.T) {
	b := newBench(t)
	kept := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, namespace: $NS, annotations: {syncer.dev/prune: disabled}}\n"
	b.sync(b.set(join(settings("anchor", "1"), kept)))
	planned := b.plan(b.set(settings("anchor", "1")))
	if got := actions(planned.Changes()); got != "" {
		t.Errorf("the plan: %s", got)
	}
	if err := planned.LimitPrunes(plan.PruneLimit{MaxPercent: 0}); err != nil {
		t.Errorf("an object that stays counts as a loss: %v", err)
	}
	b.sync(b.set(settings("anchor", "2")))
	if b.get(configMaps, b.namespace, "kept") == nil {
		t.Error("the object is gone")
	}
}

func TestPruneLimits(t *testing.T) {
	b := newBench(t)
	var docs []string
	for i := range 10 {
		docs = append(docs, settings(fmt.Sprintf("c%d", i), "1"))
	}
	b.sync(b.set(join(docs...)))
	for name, c := range map[string]struct {
		left    int
		limit   plan.PruneLimit
		refused string // "" passes it
	}{
		"as many percent as allowed":    {left: 7, limit: plan.PruneLimit{MaxPercent: 30}},
		"more percent than allowed":     {left: 6, limit: plan.PruneLimit{MaxPercent: 30}, refused: "would delete 4 of the 10 objects of orders@prod, which is above the limit of 30 %: ConfigMap/" + b.namespace + "/c6, "},
		"as many objects as allowed":    {left: 8, limit: plan.PruneLimit{MaxPercent: 100, MaxObjects: 2}},
		"more objects than allowed":     {left: 7, limit: plan.PruneLimit{MaxPercent: 100, MaxObjects: 2}, refused: "above the limit of 2 objects"},
		"everything":                    {left: 0, limit: plan.PruneLimit{MaxPercent: 100}, refused: "would delete 10 of the 10 objects"},
		"everything, with leave":        {left: 0, limit: plan.PruneLimit{Allowed: true}},
		"more than allowed, with leave": {left: 2, limit: plan.PruneLimit{MaxPercent: 30, Allowed: true}},
	} {
		t.Run(name, func(t *testing.T) {
			var set manifest.Set
			if c.left > 0 {
				set = b.set(join(docs[:c.left]...))
			}
			planned := b.plan(set)
			err := planned.LimitPrunes(c.limit)
			if c.refused == "" && err != nil {
				t.Error(err)
			}
			if c.refused != "" {
				wantError(t, err, c.refused, "add the trailer `Syncer-Allow-Prune: orders@prod` to a commit message")
				if refused, ok := errors.AsType[*plan.PruneRefusedError](err); !ok || len(refused.Objects) != 10-c.left || refused.Of != 10 {
					t.Errorf("the error is %#v", err)
				}
			}
			if got := len(planned.Pending()); got != 10-c.left {
				t.Errorf("%d prunes are pending", got)
			}
		})
	}
	t.Run("switched off", func(t *testing.T) {
		planned := b.plan(b.set(docs[0]))
		if err := planned.LimitPrunes(plan.PruneLimit{Disabled: true}); err != nil {
			t.Error(err)
		}
		if _, err := apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec()}); err != nil {
			t.Fatal(err)
		}
		if b.get(configMaps, b.namespace, "c9") == nil {
			t.Error("an object is gone")
		}
		if got := len(planned.Inventory()); got != 10 {
			t.Errorf("the inventory has %d entries", got)
		}
	})
}

// A prune that was allowed, and waits since, is not executed after pruning is switched off in the meantime.
func TestPruneThatWaitedIsSwitchedOff(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(settings("old", "1"), settings("stays", "1"))))
	held := v1alpha1.HeldChange{Action: string(manifest.Prune), ObjectReference: v1alpha1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: b.namespace, Name: "old"}}
	for want, limit := range map[string]plan.PruneLimit{"Prune ConfigMap/old": {}, "": {Disabled: true}} {
		planned := b.plan(b.set(settings("stays", "1")), func(req *plan.Request) { req.Record.Status.Held = []v1alpha1.HeldChange{held} })
		if err := planned.LimitPrunes(limit); err != nil {
			t.Fatal(err)
		}
		if got := actions(planned.Pending()); got != want {
			t.Errorf("disabled %t: the plan says %q", limit.Disabled, got)
		}
	}
}

// A generated ConfigMap gets a new name with each change of its content.
func TestGeneratedNamesAreNoLoss(t *testing.T) {
	b := newBench(t)
	job := "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner, namespace: $NS}\n"
	b.sync(b.set(join(job, settings("settings-5f7b9c8d2k", "1"), settings("team-production", "1"))))
	planned := b.plan(b.set(join(job, settings("settings-2222222222", "2"), settings("team-production", "1"))))
	if got := actions(planned.Changes()); got != "Create ConfigMap/settings-2222222222, Prune ConfigMap/settings-5f7b9c8d2k" {
		t.Errorf("the plan: %s", got)
	}
	if err := planned.LimitPrunes(plan.PruneLimit{MaxPercent: 0}); err != nil {
		t.Errorf("the old version of a generated object counts as a loss: %v", err)
	}
	t.Run("a word of ten letters is no hash", func(t *testing.T) {
		planned := b.plan(b.set(join(job, settings("settings-5f7b9c8d2k", "1"), settings("team-operations", "1"))))
		if err := planned.LimitPrunes(plan.PruneLimit{MaxPercent: 0}); err == nil {
			t.Error("it passes")
		}
	})
	t.Run("one that is not followed by another", func(t *testing.T) {
		planned := b.plan(b.set(join(job, settings("team-production", "1"))))
		if err := planned.LimitPrunes(plan.PruneLimit{MaxPercent: 0}); err == nil {
			t.Error("it passes")
		}
	})
}

func TestFinalizerThatHangsBlocksNothing(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(settings("anchor", "1"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hangs, namespace: $NS, finalizers: [example.com/never]}\n")))
	t.Cleanup(func() { b.letGo(configMaps, "hangs") })
	b.sync(b.set(settings("anchor", "2")))
	live := b.get(configMaps, b.namespace, "hangs")
	if live == nil || live.GetDeletionTimestamp() == nil {
		t.Fatal("the object is not on its way out")
	}
	set := b.set(settings("anchor", "3"))
	if got := actions(b.sync(set).Changes); got != "Update ConfigMap/anchor" {
		t.Errorf("the pass after the prune: %s", got)
	}
	requests := b.requests(func() {
		if planned := b.plan(set); len(planned.Pending()) > 0 {
			t.Errorf("the pass after that: %s", actions(planned.Changes()))
		}
	})
	for _, e := range requests {
		if isWrite(e) {
			t.Errorf("a write:%s", shortly([]lab.AuditEvent{e}))
		}
	}
}

func TestPruningGoesTheOtherWayRound(t *testing.T) {
	b := newBench(t)
	fresh := b.namespace + "-fresh"
	set := b.set(join(
		settings("anchor", "1"),
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: "+fresh+"}\n",
		crd(b.group(), "Widget", "Namespaced", "v1 size: {type: integer}"),
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inside, namespace: "+fresh+"}\n",
		"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner, namespace: "+fresh+"}\n",
		custom(b.group(), "v1", "Widget", fresh, "one", "size: 3"),
	))
	b.sync(set)
	requests := b.requests(func() { b.sync(b.set(settings("anchor", "1"))) })
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
	b := newBench(t)
	b.sync(b.set(join(settings("one", "1"), settings("two", "1"), "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner, namespace: $NS}\n")))
	b.cluster = b.connectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return refusing{inner, http.MethodDelete, "/configmaps/one"}
		})
	})
	_, err := apply.Carry(b.ctx, b.cluster, b.plan(nil), apply.Options{Spec: b.record().Spec})
	wantError(t, err, "ConfigMap/"+b.namespace+"/one: pruning: ")
	if b.get(configMaps, b.namespace, "two") != nil {
		t.Error("an object beside the failed one is still there")
	}
	if b.get(serviceAccounts, b.namespace, "runner") == nil {
		t.Error("the earlier stage is gone")
	}
	if b.record() == nil {
		t.Error("the record is gone, and with it the knowledge of what is left")
	}
}

// refusing is a network that fails for the writes of one object.
type refusing struct {
	inner        http.RoundTripper
	method, path string
}

func (r refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == r.method && strings.HasSuffix(req.URL.Path, r.path) && req.URL.Query().Get("dryRun") == "" {
		return nil, errors.New("the network says no")
	}
	return r.inner.RoundTrip(req)
}

func TestRemovingATargetLeavesNothingOfIt(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(settings("one", "1"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, namespace: $NS, annotations: {syncer.dev/prune: disabled}}\n")))
	other := b.other("neighbour")
	other.sync(other.set(settings("neighbour", "1")))
	if _, err := apply.Carry(b.ctx, b.cluster, b.plan(nil), apply.Options{Spec: b.record().Spec}); err != nil {
		t.Fatal(err)
	}
	if b.get(configMaps, b.namespace, "one") != nil {
		t.Error("an object is still there")
	}
	if b.get(configMaps, b.namespace, "kept") == nil {
		t.Error("an object with prune disabled is gone")
	}
	if b.record() == nil {
		t.Error("the record went with the objects; its pins are the caller's to judge")
	}
	record := b.record()
	if err := b.cluster.Records().Delete(b.ctx, b.target, record.UID, "1"); !errors.As(err, new(*answer.OvertakenError)) || b.record() == nil {
		t.Errorf("a record that somebody wrote meanwhile is deleted: %v", err)
	}
	if err := b.cluster.Records().Delete(b.ctx, b.target, record.UID, record.ResourceVersion); err != nil {
		t.Fatal(err)
	}
	if b.record() != nil {
		t.Error("the record is still there")
	}
	if b.get(configMaps, b.namespace, "neighbour") == nil || other.record() == nil {
		t.Error("another target lost something")
	}
	if _, err := apply.Carry(b.ctx, b.cluster, b.plan(nil), apply.Options{Spec: b.spec()}); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
}

// With foreground deletion an object stays until its dependents are gone.
func TestPruneInTheForeground(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(settings("owner", "1"), settings("stays", "1"))))
	owner := b.get(configMaps, b.namespace, "owner").GetUID()
	b.create(configMaps, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: owned\n  namespace: $NS\n  finalizers: [example.com/hold]\n  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: %s, blockOwnerDeletion: true}]\n", owner))
	b.sync(b.set(settings("stays", "1")), rules(plan.Policies{Propagation: v1alpha1.Foreground}))
	b.eventually("what it owns is being deleted", func() bool { return b.get(configMaps, b.namespace, "owned").GetDeletionTimestamp() != nil })
	if live := b.get(configMaps, b.namespace, "owner"); live == nil || live.GetDeletionTimestamp() == nil {
		t.Error("it did not wait for what it owns")
	}
	planned := b.plan(b.set(settings("stays", "1")))
	if got := planned.Terminating(); len(got) != 1 || !strings.Contains(got[0], "ConfigMap/"+b.namespace+"/owner is being deleted since ") || len(planned.Pending()) > 0 {
		t.Errorf("terminating: %v, pending: %s", got, actions(planned.Pending()))
	}
	b.letGo(configMaps, "owned")
	b.eventually("both are gone", func() bool { return b.get(configMaps, b.namespace, "owner") == nil })
}
