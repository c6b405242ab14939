package apply_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
)

// A pipeline that uses its team's account has the rights of the account in its own namespace, and no others.
func TestAccountIsTheFence(t *testing.T) {
	b := bench.New(t)
	b.Create(bench.ServiceAccounts, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: deployer, namespace: $NS}\n")
	b.Create(bench.Roles, "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: deployer, namespace: $NS}\nrules:\n- {apiGroups: [\"\"], resources: [configmaps], verbs: [get, list, create, patch, delete]}\n")
	b.Create(bench.RoleBindings, "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: deployer, namespace: $NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}\nsubjects: [{kind: ServiceAccount, name: deployer, namespace: $NS}]\n")
	syncer := b.Cluster
	acting, err := syncer.As(b.Namespace + "/deployer")
	if err != nil {
		t.Fatal(err)
	}
	b.Cluster = acting
	set := b.Set(bench.Join(bench.Settings("one", "1"), bench.Settings("two", "1")))
	b.Eventually("the rights are in force", func() bool { _, err := pass.TryPlan(b, set); return err == nil })
	pass.Sync(b, set)
	pass.Sync(b, b.Set(bench.Settings("one", "2")))
	if b.Get(bench.ConfigMaps, b.Namespace, "two") != nil {
		t.Error("it may not prune")
	}
	if b.Record() == nil {
		t.Error("there is no record")
	}

	_, err = pass.TryPlan(b, b.Set(bench.Join(bench.Settings("one", "2"), "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: $NS}\nspec: {ports: [{port: 80}]}\n")))
	bench.WantError(t, err, "services", `give system:serviceaccount:`+b.Namespace+`:deployer a Role or ClusterRole that allows to list services`)

	other := b.Namespace + "-other"
	b.CreateNamespace(other)
	_, err = pass.TryPlan(b, b.Set(strings.ReplaceAll(bench.Settings("one", "2"), "$NS", other)))
	bench.WantError(t, err, "configmaps", "deployer", other)
	list, err := b.Admin.Resource(bench.ConfigMaps).Namespace(other).List(b.Ctx, metav1.ListOptions{LabelSelector: "applyset.kubernetes.io/part-of"})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("something was written there: %v, %v", list, err)
	}
}
