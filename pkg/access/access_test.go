package access_test

import (
	"context"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/access"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// reader makes a service account that may read the ConfigMaps of the target's namespace and the path /metrics, and returns
// a token of it.
func reader(b *bench.Bench) string {
	b.T.Helper()
	b.Create(bench.ServiceAccounts, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: reader, namespace: $NS}\n")
	b.Create(bench.Roles, "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader, namespace: $NS}\nrules: [{apiGroups: [\"\"], resources: [configmaps], verbs: [get, list]}]\n")
	b.Create(bench.RoleBindings, "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: reader, namespace: $NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}\nsubjects: [{kind: ServiceAccount, name: reader, namespace: $NS}]\n")
	b.Create(bench.ClusterRoles, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: $NS}\nrules: [{nonResourceURLs: [/metrics], verbs: [get]}]\n")
	b.Create(bench.ClusterBindings, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: $NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: $NS}\nsubjects: [{kind: ServiceAccount, name: reader, namespace: $NS}]\n")
	client, err := kubernetes.NewForConfig(b.Plane.Config())
	if err != nil {
		b.T.Fatal(err)
	}
	answer, err := client.CoreV1().ServiceAccounts(b.Namespace).CreateToken(b.Ctx, "reader", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		b.T.Fatal(err)
	}
	return answer.Status.Token
}

// The API server says whose a token is, and what that user may do.
func TestTokenIsReviewed(t *testing.T) {
	b := bench.New(t)
	token, user := reader(b), "system:serviceaccount:"+b.Namespace+":reader"
	allowed := func(what access.Attributes) (string, bool) {
		name, may, err := access.Allowed(b.Ctx, b.Cluster, token, what)
		if err != nil {
			t.Error(err)
		}
		return name, may
	}
	b.Eventually("the rights are in force", func() bool {
		_, read := allowed(access.Attributes{Verb: "get", Resource: "configmaps", Namespace: b.Namespace})
		_, metrics := allowed(access.Attributes{Verb: "get", Path: "/metrics"})
		return read && metrics
	})
	for name, what := range map[string]access.Attributes{
		"another namespace": {Verb: "get", Resource: "configmaps", Namespace: b.Records},
		"another verb":      {Verb: "delete", Resource: "configmaps", Namespace: b.Namespace},
		"another group":     {Verb: "get", Group: "batch", Resource: "configmaps", Namespace: b.Namespace},
		"another path":      {Verb: "get", Path: "/logs"},
	} {
		if who, may := allowed(what); may || who != user {
			t.Errorf("%s: %s may: %t", name, who, may)
		}
	}
	if who, may, err := access.Allowed(b.Ctx, b.Cluster, "canary-no-token", access.Attributes{Verb: "get", Path: "/metrics"}); who != "" || may || err != nil {
		t.Errorf("a token that the API server does not know is that of %q, may: %t, %v", who, may, err)
	}
}

// Where syncer may not ask, the error says so, without the token.
func TestReviewNeedsARight(t *testing.T) {
	b := bench.New(t)
	kubeconfig, err := b.Plane.AddUser("blind-" + b.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	_, blind := b.Connect(kubeconfig)
	_, _, err = access.Allowed(b.Ctx, blind, "canary", access.Attributes{Verb: "get", Path: "/metrics"})
	bench.WantError(t, err, "asking the API server whose a token is: ", "tokenreviews")
	ended, cancel := context.WithCancel(b.Ctx)
	cancel()
	if _, err := access.RightsOfAccount(b.Cluster).Missing(ended, []access.Right{{Verb: "get", Resource: "pods"}}); err == nil {
		t.Error("a question that was not asked has an answer")
	}
}

// A right in the whole cluster counts in each namespace, and one in a namespace only there.
func TestMissingRightsAreFound(t *testing.T) {
	b := bench.New(t)
	reader(b)
	acting, err := b.Cluster.As(b.Namespace + "/reader")
	if err != nil {
		t.Fatal(err)
	}
	account := access.RightsOfAccount(acting)
	has := access.Right{Verb: "get", Resource: "configmaps", Namespace: b.Namespace}
	b.Eventually("the rights are in force", func() bool {
		missing, err := account.Missing(b.Ctx, []access.Right{has})
		return err == nil && len(missing) == 0
	})
	lacks := []access.Right{
		{Verb: "get", Resource: "configmaps"},
		{Verb: "get", Resource: "configmaps", Namespace: b.Records},
		{Verb: "patch", Resource: "configmaps", Namespace: b.Namespace},
		{Verb: "get", Resource: "secrets", Namespace: b.Namespace, Name: "pull"},
		{Verb: "patch", Group: "syncer.dev", Resource: "pipelinesyncs/status", Namespace: b.Records},
	}
	missing, err := account.Missing(b.Ctx, append([]access.Right{has}, lacks...))
	if diff := cmp.Diff(lacks, missing); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if missing, err := access.RightsOfAccount(b.Cluster).Missing(b.Ctx, lacks); err != nil || len(missing) > 0 {
		t.Errorf("an administrator lacks %v, %v", missing, err)
	}
}

// A deployment needs the rights for its objects, for what they name, and for kinds that its own CRDs define.
func TestNeedsOfASet(t *testing.T) {
	b := bench.New(t)
	definition := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\nspec: {group: example.com, scope: Cluster, names: {kind: Widget, plural: widgets}}\n"
	set := b.Set(
		"apiVersion: v1\nkind: Pod\nmetadata: {name: etl, namespace: $NS}\nspec: {imagePullSecrets: [{name: pull}], containers: [{name: main, image: x}]}\n",
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: $NS}\nrules: []\n",
		"apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\n",
		"apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: b, namespace: $NS}\n",
	)
	needs, unknown, err := access.RightsOfAccount(b.Cluster).Needs(set, b.Set(definition))
	if err != nil {
		t.Fatal(err)
	}
	if len(unknown) != 1 || unknown[0].Kind != "Gadget" {
		t.Errorf("no kind is served for %v", unknown)
	}
	got := map[string][]string{}
	for _, need := range needs {
		got[need.Where()+": "+need.Why] = append(got[need.Where()+": "+need.Why], need.Verb)
	}
	deploy := []string{"get", "list", "watch", "create", "patch", "delete"}
	in := " in namespace " + b.Namespace
	want := map[string][]string{
		"pods" + in + ": ": deploy, "clusterroles.rbac.authorization.k8s.io: ": deploy, "widgets.example.com: ": deploy,
		"pods in all namespaces: ": {"list"},
		"clusterroles.rbac.authorization.k8s.io: it lets a pipeline give more rights than syncer has": {"escalate"},
		"events" + in + ": it tells why pods do not run, and that a Job that is gone has run":         {"list"},
		"serviceaccounts" + in + ": it leads to the credentials of private images":                    {"get"},
		"secrets" + in + ": it gives the credentials of private images":                               {"get"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	other := manifest.Set{b.Object(bench.Settings("a", "1"))}
	acting, err := b.Cluster.As(b.Namespace + "/deployer")
	if err != nil {
		t.Fatal(err)
	}
	needs, unknown, err = access.RightsOfAccount(acting).Needs(other)
	if err != nil || len(unknown) > 0 || len(needs) != len(deploy) {
		t.Errorf("an account needs %v for a ConfigMap, %v, %v", needs, unknown, err)
	}
}
