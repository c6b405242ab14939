package apply

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

// hashKey is read from the cluster once, at the first need.
type hashKey struct {
	mu  sync.Mutex
	key []byte
}

// keyFor returns the key for the hashes of a set, or nil where the set has no Secret. create makes the key where there
// is none; without it a missing key is nil, and no Secret compares equal to its inventory.
func (c *Cluster) keyFor(ctx context.Context, set manifest.Set, create bool) ([]byte, error) {
	for _, obj := range set {
		if manifest.IsSecret(obj) {
			return c.inventoryKey(ctx, create)
		}
	}
	return nil, nil
}

func (c *Cluster) inventoryKey(ctx context.Context, create bool) ([]byte, error) {
	c.hashKey.mu.Lock()
	defer c.hashKey.mu.Unlock()
	if c.hashKey.key != nil {
		return c.hashKey.key, nil
	}
	key, err := c.readKey(ctx)
	if apierrors.IsNotFound(err) && create {
		key, err = c.createKey(ctx)
	}
	if apierrors.IsNotFound(err) && !create {
		return nil, nil
	}
	if answer.IsMissingNamespace(err, c.namespace) {
		return nil, fmt.Errorf("making Secret %s/%s, which keys the hashes of Secrets: the namespace is not there; run `syncer install` first", c.namespace, inventoryKeyName)
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s/%s, which keys the hashes of Secrets: %w", c.namespace, inventoryKeyName, answer.AdviseRight(err))
	}
	c.hashKey.key = key
	return key, nil
}

func (c *Cluster) readKey(ctx context.Context) ([]byte, error) {
	resource, _, err := c.Server().resourceFor(manifest.ID{APIVersion: "v1", Kind: "Secret", Namespace: c.namespace})
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

func (c *Cluster) createKey(ctx context.Context) ([]byte, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	resource, _, err := c.Server().resourceFor(manifest.ID{APIVersion: "v1", Kind: "Secret", Namespace: c.namespace})
	if err != nil {
		return nil, err
	}
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "immutable": true,
		"metadata": map[string]any{"name": inventoryKeyName, "namespace": c.namespace},
		"data":     map[string]any{"key": base64.StdEncoding.EncodeToString(key)},
	}}
	_, err = request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return resource.Create(ctx, secret, metav1.CreateOptions{FieldManager: manifest.FieldManager})
	})
	if apierrors.IsAlreadyExists(err) { // another process was first
		return c.readKey(ctx)
	}
	return key, err
}
