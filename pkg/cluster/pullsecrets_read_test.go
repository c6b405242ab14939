package cluster_test

import (
	"encoding/base64"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/cluster"
)

// The kubelet pulls with the secrets of a pod and of its account. One that does not exist is left out.
func TestPullSecretsAreThoseOfTheKubelet(t *testing.T) {
	b := bench.New(t)
	secret := func(name string) {
		auths := base64.StdEncoding.EncodeToString([]byte(`{"auths":{"` + name + `":{}}}`))
		b.Create(bench.Secrets, "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/dockerconfigjson\nmetadata: {name: "+name+", namespace: $NS}\ndata: {.dockerconfigjson: "+auths+"}\n")
	}
	secret("of-the-pod")
	secret("of-the-account")
	secret("of-the-set")
	b.Create(bench.ServiceAccounts, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner, namespace: $NS}\nimagePullSecrets: [{name: of-the-account}]\n")
	pod := func(name, more string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: $NS}\nspec: {containers: [{name: a, image: x}]" + more + "}\n"
	}
	set := b.Set(
		pod("one", ", serviceAccountName: runner, imagePullSecrets: [{name: of-the-pod}, {name: missing}]"),
		pod("two", ", serviceAccountName: new"),
		"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: new, namespace: $NS}\nimagePullSecrets: [{name: of-the-set}]\n",
	)
	configs, err := cluster.PullSecrets(b.Ctx, b.Cluster, set)
	if diff := cmp.Diff([]string{`{"auths":{"of-the-account":{}}}`, `{"auths":{"of-the-pod":{}}}`, `{"auths":{"of-the-set":{}}}`}, configs); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	kubeconfig, err := b.Plane.AddUser("blind-" + b.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	_, blind := b.Connect(kubeconfig)
	_, err = cluster.PullSecrets(b.Ctx, blind, set)
	bench.WantError(t, err, "reading Secret/"+b.Namespace+"/of-the-pod", "reading ServiceAccount/"+b.Namespace+"/runner")
}
