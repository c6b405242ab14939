package inventory_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

func namesOf(members inventory.Members) string {
	var names []string
	for key := range members {
		names = append(names, key.Kind+"/"+key.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func look(b *bench.Bench, set manifest.Set) inventory.Found {
	b.T.Helper()
	found, err := inventory.Look(b.Ctx, b.Cluster, nil, b.Target, b.Record(), set)
	if err != nil {
		b.T.Fatal(err)
	}
	return found
}

// Members are found by their label, and by name where they lost it. Objects of others, and those that outlive their place in
// git, are none.
func TestMembersAreFoundByLabelAndByName(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Settings("a", "1"), bench.Settings("unlabelled", "1"), bench.Settings("taken", "1"), bench.Settings("kept", "1"), bench.Settings("absent", "1"),
		"apiVersion: v1\nkind: Secret\nmetadata: {name: login, namespace: $NS}\n")
	b.Deploy(set)
	label := func(name, value string) {
		b.Edit(bench.ConfigMaps, name, `{"metadata":{"labels":{"`+v1alpha1.LabelMember+`":`+value+`}}}`)
	}
	label("unlabelled", "null")
	label("taken", `"applyset-xyz-v1"`)
	label("kept", "null")
	b.Edit(bench.ConfigMaps, "kept", `{"metadata":{"annotations":{"syncer.dev/prune":"disabled"}}}`)
	b.Delete(bench.ConfigMaps, b.Namespace, "absent")
	_, id := v1alpha1.MemberLabel(b.Records, b.Target)
	b.Create(bench.ConfigMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: copied, namespace: $NS, labels: {"+v1alpha1.LabelMember+": "+id+"}}\n")

	found := look(b, nil)
	if got := namesOf(found.Members); got != "ConfigMap/a ConfigMap/unlabelled Secret/login" {
		t.Errorf("the members: %s", got)
	}
	if got := namesOf(found.Strays); got != "ConfigMap/copied" {
		t.Errorf("the strays: %s", got)
	}
	if key := manifest.IDOf(set.Find(manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: b.Namespace, Name: "absent"})).Key(); len(found.Absent) != 1 || !found.Absent[key] {
		t.Errorf("absent: %v", found.Absent)
	}
	if got := namesOf(look(b, set).Members); got != "ConfigMap/a ConfigMap/kept ConfigMap/unlabelled Secret/login" {
		t.Errorf("the members of a set that has them: %s", got)
	}
	live := found.Members
	for name, want := range map[string]bool{"a": true, "unlabelled": false, "copied": false} {
		if got := inventory.IsMember(b.Cluster, b.Target, b.Get(bench.ConfigMaps, b.Namespace, name)); got != want {
			t.Errorf("%s is a member: %t", name, got)
		}
	}
	if by := inventory.WriterOf(b.Get(bench.ConfigMaps, b.Namespace, "copied")); by.Name != "somebody" {
		t.Errorf("the copy is %+v's", by)
	}
	if by := inventory.WriterOf(b.Get(bench.ConfigMaps, b.Namespace, "kept")); by.Name != "kubectl-edit" {
		t.Errorf("an object without a label was written by %+v", by)
	}
	if again, err := inventory.Live(b.Ctx, b.Cluster, b.Target, b.Record().Status.Inventory); err != nil || namesOf(again) != namesOf(live) {
		t.Errorf("by the inventory alone: %s, %v", namesOf(again), err)
	}
	members, err := inventory.MembersOf(b.Ctx, b.Cluster, b.Target, set)
	if err != nil || len(members) != 2 || members[0].GetName() != "a" || members[1].GetName() != "login" {
		t.Errorf("without a record: %v, %v", members, err)
	}
	path := "data.key"
	if at := manifest.IDOf(set[0]); !inventory.Wrote(members, at, path) || inventory.Wrote(members, at, "data.other") || inventory.Wrote(members, at, "][") {
		t.Error("only the applied field is as syncer applied it")
	}
}

// The objects of a kind that is not served are gone. One of another version is found in the version that is served.
func TestObjectOfAVersionThatIsNotServed(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1"), nightly))
	entries := b.Record().Status.Inventory
	entries[1].APIVersion = "batch/v1alpha7"
	b.Edit(bench.Jobs, "once", `{"metadata":{"labels":{"`+v1alpha1.LabelMember+`":null}}}`)
	entries = append(entries, v1alpha1.InventoryEntry{APIVersion: "example.com/v1", Kind: "Widget", Namespace: b.Namespace, Name: "gone"})
	live, err := inventory.Live(b.Ctx, b.Cluster, b.Target, entries)
	if got := namesOf(live); err != nil || got != "ConfigMap/a Job/once" {
		t.Errorf("found %s, %v", got, err)
	}
}

// What an account may not list is unread, with the reason. What can be read is found.
func TestObjectsThatCannotBeListedAreUnread(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1"), "apiVersion: v1\nkind: Secret\nmetadata: {name: login, namespace: $NS}\n"))
	b.Create(bench.ServiceAccounts, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: deployer, namespace: $NS}\n")
	b.Create(bench.Roles, "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: deployer, namespace: $NS}\nrules: [{apiGroups: [\"\"], resources: [configmaps], verbs: [get, list]}]\n")
	b.Create(bench.RoleBindings, "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: deployer, namespace: $NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}\nsubjects: [{kind: ServiceAccount, name: deployer, namespace: $NS}]\n")
	var err error
	if b.Cluster, err = b.Cluster.As(b.Namespace + "/deployer"); err != nil {
		t.Fatal(err)
	}
	var found inventory.Found
	b.Eventually("the rights are in force", func() bool { found = look(b, nil); return len(found.Members) == 1 })
	secret := manifest.Key{Kind: "Secret", Namespace: b.Namespace, Name: "login"}
	bench.WantError(t, found.Unread.Of(secret), "listing the Secret objects of orders@prod", "to list secrets")
	if err := found.Unread.Of(manifest.Key{Kind: "ConfigMap", Namespace: b.Namespace, Name: "a"}); err != nil {
		t.Errorf("what was read is unread: %v", err)
	}
	_, err = inventory.Find(b.Ctx, b.Cluster, b.Target, b.Record())
	bench.WantError(t, err, "looking for the objects of orders@prod: ", "to list secrets")
}

// An inventory equals a set when each object was applied in this form. A Secret is compared with the key of the cluster.
func TestAppliedSetIsRecognized(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Settings("a", "1"))
	b.Deploy(set)
	record := b.Record()
	unconfirmed := b.Record()
	unconfirmed.Status.Inventory[0].Unconfirmed = true
	for name, c := range map[string]struct {
		record *v1alpha1.PipelineSync
		set    manifest.Set
		want   bool
	}{
		"the same": {record, set, true}, "another value": {record, b.Set(bench.Settings("a", "2")), false},
		"one more": {record, b.Set(bench.Settings("a", "1"), bench.Settings("b", "1")), false}, "in doubt": {unconfirmed, set, false},
		"a secret": {record, b.Set("apiVersion: v1\nkind: Secret\nmetadata: {name: login, namespace: $NS}\n"), false},
	} {
		if got, err := inventory.IsApplied(b.Ctx, b.Cluster, c.record, c.set); err != nil || got != c.want {
			t.Errorf("%s: applied %t, %v", name, got, err)
		}
	}
	live, err := inventory.Find(b.Ctx, b.Cluster, b.Target, record)
	if err != nil {
		t.Fatal(err)
	}
	if got := inventory.Touched(b.Ctx, b.Cluster, record.Status.Inventory, live); len(got) > 0 {
		t.Errorf("touched: %v", got)
	}
	b.Edit(bench.ConfigMaps, "a", `{"data":{"key":"2"}}`)
	if live, err = inventory.Find(b.Ctx, b.Cluster, b.Target, record); err != nil {
		t.Fatal(err)
	}
	if got := inventory.Touched(b.Ctx, b.Cluster, record.Status.Inventory, live); !slices.Equal(got, []string{"ConfigMap/" + b.Namespace + "/a"}) {
		t.Errorf("touched: %v", got)
	}
	if sorted := inventory.Sorted(inventory.ByKey(record)); len(sorted) != 1 || sorted[0].Name != "a" || len(inventory.ByKey(nil)) != 0 {
		t.Errorf("the entries are %+v", sorted)
	}
}
