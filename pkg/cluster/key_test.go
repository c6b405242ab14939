package cluster_test

import (
	"bytes"
	"encoding/base64"
	"sync"
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/cluster"
)

// A reader that may not make the key gets none where there is none. Syncers that start together agree on one.
func TestKeyIsMadeOnce(t *testing.T) {
	b := bench.New(t)
	if key, err := b.Cluster.Key(b.Ctx, false); key != nil || err != nil {
		t.Errorf("a read made a key: %v", err)
	}
	if there, err := cluster.CheckKey(b.Ctx, b.Cluster); there || err != nil {
		t.Errorf("a key is there: %v", err)
	}
	keys := make([][]byte, 4)
	var starting sync.WaitGroup
	for i := range keys {
		_, server := b.Connect(b.Plane.Kubeconfig)
		starting.Go(func() {
			var err error
			if keys[i], err = server.Key(b.Ctx, true); err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	secret := b.Get(bench.Secrets, b.Records, "syncer-inventory-key")
	text, _ := bench.Value(secret, "data", "key").(string)
	stored, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(stored) != 32 || bench.Value(secret, "immutable") != true {
		t.Fatalf("the key has %d bytes: %v", len(stored), err)
	}
	for _, key := range keys {
		if !bytes.Equal(key, stored) {
			t.Error("a syncer has another key")
		}
	}
	if there, err := cluster.CheckKey(b.Ctx, b.Cluster); !there || err != nil {
		t.Errorf("no key is there: %v", err)
	}
	n := len(b.Requests(func() {
		if key, err := b.Cluster.Key(b.Ctx, true); err != nil || !bytes.Equal(key, stored) {
			t.Error("another key")
		}
	}))
	if n != 0 {
		t.Errorf("%d requests for a known key", n)
	}
}

func TestKeyOfAnUnusableSecretIsAnError(t *testing.T) {
	b := bench.New(t)
	b.Create(bench.Secrets, "apiVersion: v1\nkind: Secret\nmetadata: {name: syncer-inventory-key, namespace: "+b.Records+"}\ndata: {key: c2hvcnQ=}\n")
	_, err := b.Cluster.Key(b.Ctx, true)
	bench.WantError(t, err, b.Records+"/syncer-inventory-key", "shorter than 32 bytes; delete the Secret")
}
