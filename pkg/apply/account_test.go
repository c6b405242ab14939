package apply_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	roles        = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}
	roleBindings = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}
)

// A pipeline that uses its team's account has the rights of the account in its own namespace, and no others.
func TestAccountIsTheFence(t *testing.T) {
	b := newBench(t)
	b.create(serviceAccounts, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: deployer, namespace: $NS}\n")
	b.create(roles, "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: deployer, namespace: $NS}\nrules:\n- {apiGroups: [\"\"], resources: [configmaps], verbs: [get, list, create, patch, delete]}\n")
	b.create(roleBindings, "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: deployer, namespace: $NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}\nsubjects: [{kind: ServiceAccount, name: deployer, namespace: $NS}]\n")
	syncer := b.cluster
	acting, err := syncer.As(b.namespace + "/deployer")
	if err != nil {
		t.Fatal(err)
	}
	b.cluster = acting
	set := b.set(join(settings("one", "1"), settings("two", "1")))
	b.eventually("the rights are in force", func() bool { _, err := b.tryPlan(set); return err == nil })
	b.sync(set)
	b.sync(b.set(settings("one", "2")))
	if b.get(configMaps, b.namespace, "two") != nil {
		t.Error("it may not prune")
	}
	if b.record() == nil {
		t.Error("there is no record")
	}

	_, err = b.tryPlan(b.set(join(settings("one", "2"), "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: $NS}\nspec: {ports: [{port: 80}]}\n")))
	wantError(t, err, "services", `give system:serviceaccount:`+b.namespace+`:deployer a Role or ClusterRole that allows to list services`)

	other := b.namespace + "-other"
	b.createNamespace(other)
	_, err = b.tryPlan(b.set(strings.ReplaceAll(settings("one", "2"), "$NS", other)))
	wantError(t, err, "configmaps", "deployer", other)
	list, err := b.admin.Resource(configMaps).Namespace(other).List(b.ctx, metav1.ListOptions{LabelSelector: "applyset.kubernetes.io/part-of"})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("something was written there: %v, %v", list, err)
	}
	if again, err := syncer.As(b.namespace + "/deployer"); err != nil || again != acting || again.Server() != syncer {
		t.Errorf("the account has another connection: %v", err)
	}
	if _, err := syncer.As("deployer"); err == nil || !strings.Contains(err.Error(), "write NAMESPACE/NAME") {
		t.Errorf("half a name: %v", err)
	}
}
