package cluster_test

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// An object is erased with the objects that it owns. Another object of its name is not.
func TestEraseDeletesTheObjectThatWasSeen(t *testing.T) {
	b := bench.New(t)
	owner := b.Create(bench.ConfigMaps, bench.Settings("owner", "1"))
	b.Create(bench.ConfigMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: owned, namespace: $NS, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: "+string(owner.GetUID())+", blockOwnerDeletion: true}]}\n")
	if err := cluster.Erase(b.Ctx, b.Cluster, owner, true); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"owner", "owned"} {
		if b.Get(bench.ConfigMaps, b.Namespace, name) != nil {
			t.Errorf("%s is still there", name)
		}
	}
	b.Create(bench.ConfigMaps, bench.Settings("owner", "2"))
	bench.WantError(t, cluster.Erase(b.Ctx, b.Cluster, owner, false), "deleting ConfigMap/"+b.Namespace+"/owner")
	if b.Get(bench.ConfigMaps, b.Namespace, "owner") == nil {
		t.Error("another object of the name is gone")
	}
	b.Delete(bench.ConfigMaps, b.Namespace, "owner")
	if err := cluster.Erase(b.Ctx, b.Cluster, owner, false); err != nil {
		t.Errorf("an object that is gone: %v", err)
	}
}

// What names a record as its owner outlives the record.
func TestErasedRecordTakesNothingWithIt(t *testing.T) {
	b := bench.New(t)
	save(b, b.Spec(), promises)
	record := b.Get(bench.RecordResource, b.Records, b.Target.RecordName())
	if err := cluster.Erase(b.Ctx, b.Cluster, record, false); err != nil {
		t.Fatal(err)
	}
	erased := b.Get(bench.RecordResource, b.Records, b.Target.RecordName())
	if erased != nil && (erased.GetDeletionTimestamp() == nil || !slices.Contains(erased.GetFinalizers(), "orphan")) {
		t.Errorf("the record is deleted with what it owns: %v", erased.GetFinalizers())
	}
}

func TestRoleUsersAreTheBindings(t *testing.T) {
	b := bench.New(t)
	role := "role-of-" + b.Namespace
	b.Create(bench.RoleBindings, "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: in, namespace: $NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "+role+"}\n")
	b.Create(bench.RoleBindings, "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: other, namespace: $NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: "+role+"}\n")
	b.Create(bench.ClusterBindings, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: $NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "+role+"}\n")
	users, err := cluster.RoleUsers(b.Ctx, b.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ClusterRoleBinding/" + b.Namespace, "RoleBinding/" + b.Namespace + "/in"}
	if got := idsOf(users[role]); !slices.Equal(got, want) {
		t.Errorf("the users are %v", got)
	}
}

func idsOf(ids []manifest.ID) (out []string) {
	for _, id := range ids {
		out = append(out, id.String())
	}
	slices.Sort(out)
	return out
}

// The contents of a namespace do not include the objects that Kubernetes and syncer create there themselves.
func TestInhabitantsAreTheObjectsOfPeople(t *testing.T) {
	b := bench.New(t)
	keeper := b.Create(bench.ConfigMaps, bench.Settings("kept", "1"))
	b.Create(bench.Secrets, "apiVersion: v1\nkind: Secret\nmetadata: {name: kept, namespace: $NS}\n")
	b.Create(bench.Leases, "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: syncer, namespace: $NS}\n")
	b.Create(bench.ConfigMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: owned, namespace: $NS, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: kept, uid: "+string(keeper.GetUID())+"}]}\n")
	b.Create(bench.ConfigMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: going, namespace: $NS, finalizers: [example.com/slow]}\n")
	b.Delete(bench.ConfigMaps, b.Namespace, "going")
	b.Eventually("the default account is there", func() bool { return b.Get(bench.ServiceAccounts, b.Namespace, "default") != nil })
	found, err := cluster.Inhabitants(b.Ctx, b.Cluster, b.Namespace)
	b.Edit(bench.ConfigMaps, "going", `{"metadata":{"finalizers":null}}`)
	if want := []string{"ConfigMap/" + b.Namespace + "/kept", "Secret/" + b.Namespace + "/kept"}; err != nil || !slices.Equal(idsOf(found), want) {
		t.Errorf("found %v, %v", idsOf(found), err)
	}
	kubeconfig, err := b.Plane.AddUser("blind-" + b.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	_, blind := b.Connect(kubeconfig)
	_, err = cluster.Inhabitants(b.Ctx, blind, b.Namespace)
	bench.WantError(t, err, "looking for ", " objects in namespace "+b.Namespace)
	_, err = cluster.RoleUsers(b.Ctx, blind)
	bench.WantError(t, err, "looking who uses the roles of syncer: ", "clusterrolebindings")
	_, err = cluster.AllRecords(b.Ctx, blind)
	bench.WantError(t, err, "listing the records of all namespaces: ", "pipelinesyncs")
	_, err = cluster.Find(b.Ctx, blind, manifest.IDOf(keeper))
	bench.WantError(t, err, "reading ConfigMap/"+b.Namespace+"/kept", "to get configmaps")
}

func TestRecordsOfAllNamespacesAreListed(t *testing.T) {
	b := bench.New(t)
	save(b, b.Spec(), promises)
	records, err := cluster.AllRecords(b.Ctx, b.Cluster)
	if err != nil || !slices.ContainsFunc(records, func(obj *unstructured.Unstructured) bool { return obj.GetNamespace() == b.Records }) {
		t.Errorf("%d records, %v", len(records), err)
	}
	if got := cluster.RecordID(b.Cluster, b.Record()); got != (manifest.ID{APIVersion: v1alpha1.APIVersion, Kind: "PipelineSync", Namespace: b.Records, Name: "orders.prod"}) {
		t.Errorf("the record is %v", got)
	}
	if got := idsOf(cluster.OwnObjects(b.Cluster)); !slices.Equal(got, []string{"Secret/" + b.Records + "/syncer-inventory-key"}) {
		t.Errorf("syncer's own objects are %v", got)
	}
}
