package cluster_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// A connection as an account has the rights of the account for objects. The records are read and written as syncer itself.
func TestAccountReadsObjectsAndSyncerReadsRecords(t *testing.T) {
	b := bench.New(t)
	save(b, b.Spec(), promises)
	b.Create(bench.ConfigMaps, bench.Settings("a", "1"))
	b.Create(bench.ServiceAccounts, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: deployer, namespace: $NS}\n")
	acting, err := b.Cluster.As(b.Namespace + "/deployer")
	if err != nil {
		t.Fatal(err)
	}
	id := manifest.IDOf(b.Object(bench.Settings("a", "1")))
	_, err = acting.Get(b.Ctx, id)
	bench.WantError(t, err, "system:serviceaccount:"+b.Namespace+":deployer")
	if record, err := acting.Records().Get(b.Ctx, b.Target); record == nil || err != nil {
		t.Errorf("the record: %v", err)
	}
	if live, err := cluster.Find(b.Ctx, acting, id); live == nil || err != nil {
		t.Errorf("an object of syncer's own: %v", err)
	}
	again, err := b.Cluster.As(b.Namespace + "/deployer")
	if err != nil || again != acting || again.Server() != b.Cluster || again.Account() != b.Namespace+"/deployer" {
		t.Errorf("the account has another connection: %v", err)
	}
	if self, err := acting.As(""); err != nil || self != b.Cluster || self.Account() != "" {
		t.Errorf("no account is syncer itself: %v", err)
	}
	_, err = b.Cluster.As("deployer")
	bench.WantError(t, err, `service account "deployer": write NAMESPACE/NAME`)
	if nothing := new(cluster.Cluster); nothing.Server() != nothing {
		t.Error("a connection to nothing has another server")
	}
}

// A question to the API server is answered, and not stored.
func TestAskReturnsTheAnswer(t *testing.T) {
	b := bench.New(t)
	reviews := schema.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "selfsubjectreviews"}
	answer, err := b.Cluster.Ask(b.Ctx, reviews, &unstructured.Unstructured{Object: map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}})
	if err != nil || bench.Value(answer, "status", "userInfo", "username") != "admin" {
		t.Errorf("syncer is %v, %v", bench.Value(answer, "status", "userInfo", "username"), err)
	}
}
