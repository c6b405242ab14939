package cluster

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// inventoryKeyName is the Secret beside the records that keys the hashes of Secrets.
const inventoryKeyName = "syncer-inventory-key"

// hashKey is read from the cluster once, when it is first needed.
type hashKey struct {
	mu  sync.Mutex
	key []byte
}

// Key returns the key of the hashes of Secrets, which a Secret in syncer's namespace holds. create makes that Secret where there
// is none; without it a missing key is nil.
func (c *Cluster) Key(ctx context.Context, create bool) ([]byte, error) {
	cached := &c.server.key
	cached.mu.Lock()
	defer cached.mu.Unlock()
	if cached.key != nil {
		return cached.key, nil
	}
	key, err := readKey(ctx, c.Server())
	if apierrors.IsNotFound(err) && create {
		key, err = createKey(ctx, c.Server())
	}
	if apierrors.IsNotFound(err) && !create {
		return nil, nil
	}
	if answer.IsMissingNamespace(err, c.Namespace()) {
		return nil, fmt.Errorf("making Secret %s/%s, which keys the hashes of Secrets: the namespace is not there; run `syncer install` first", c.Namespace(), inventoryKeyName)
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s/%s, which keys the hashes of Secrets: %w", c.Namespace(), inventoryKeyName, answer.AdviseRight(err))
	}
	cached.key = key
	return key, nil
}

func readKey(ctx context.Context, c *Cluster) ([]byte, error) {
	resource, _, err := c.scoped(manifest.ID{APIVersion: "v1", Kind: "Secret", Namespace: c.Namespace()})
	if err != nil {
		return nil, err
	}
	obj, err := request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return resource.Get(ctx, inventoryKeyName, metav1.GetOptions{})
	})
	if err != nil {
		return nil, err
	}
	text, _, err := unstructured.NestedString(obj.Object, "data", "key")
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err == nil && len(key) < 32 {
		err = fmt.Errorf("its data.key is shorter than 32 bytes; delete the Secret, and syncer makes a new one")
	}
	return key, err
}

func createKey(ctx context.Context, c *Cluster) ([]byte, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	resource, _, err := c.scoped(manifest.ID{APIVersion: "v1", Kind: "Secret", Namespace: c.Namespace()})
	if err != nil {
		return nil, err
	}
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "immutable": true,
		"metadata": map[string]any{"name": inventoryKeyName, "namespace": c.Namespace()},
		"data":     map[string]any{"key": base64.StdEncoding.EncodeToString(key)},
	}}
	_, err = request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return resource.Create(ctx, secret, metav1.CreateOptions{FieldManager: manifest.FieldManager})
	})
	if apierrors.IsAlreadyExists(err) { // another process was first
		return readKey(ctx, c.Server())
	}
	return key, err
}
