package cluster

import (
	"bytes"
	"context"
	"fmt"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// scoped is an object's ID with its namespace filled in, and the client for it.
func (c *Cluster) scoped(id manifest.ID) (dynamic.ResourceInterface, manifest.ID, error) {
	mapping, err := c.server.kinds.forRequest(id.GroupVersionKind())
	if err != nil {
		return nil, id, err
	}
	resource := c.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		id.Namespace = ""
		return resource, id, nil
	}
	if id.Namespace == "" {
		id.Namespace = manifest.DefaultNamespace
	}
	return resource.Namespace(id.Namespace), id, nil
}

// Scope fills in the namespace of an object's ID, by the scope of its kind. The error says that the kind is not served.
func (c *Cluster) Scope(id manifest.ID) (manifest.ID, error) {
	_, id, err := c.scoped(id)
	return id, err
}

// Get reads an object; nil where it is not there.
func (c *Cluster) Get(ctx context.Context, id manifest.ID) (*unstructured.Unstructured, error) {
	resource, id, err := c.scoped(id)
	if err != nil {
		return nil, err
	}
	live, err := request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return resource.Get(ctx, id.Name, metav1.GetOptions{})
	})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return live, err
}

// Read is Get with an error that names the object.
func Read(ctx context.Context, c *Cluster, id manifest.ID) (*unstructured.Unstructured, error) {
	id, err := c.Scope(id)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", id, err)
	}
	obj, err := c.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", id, err)
	}
	return obj, nil
}

// apply sends an object by server-side apply, or as a trial with metav1.DryRunAll.
func apply(ctx context.Context, c *Cluster, obj *unstructured.Unstructured, dryRun ...string) (*unstructured.Unstructured, error) {
	resource, id, err := c.scoped(manifest.IDOf(obj))
	if err != nil {
		return nil, err
	}
	body, err := obj.MarshalJSON()
	if err != nil {
		return nil, err
	}
	force := true
	return request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return resource.Patch(ctx, id.Name, types.ApplyPatchType, readableAsYAML(body),
			metav1.PatchOptions{FieldManager: manifest.FieldManager, Force: &force, DryRun: dryRun})
	})
}

// absent is the version in the write of a new object: the API server refuses the write as a conflict if the object
// exists by then. No object ever has this version: the API server counts versions from the state of its store at the
// start.
const absent = "1"

// Write applies an object if it is still in the judged state. judged nil: the object did not exist.
func (c *Cluster) Write(ctx context.Context, obj, judged *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	sent := obj.DeepCopy()
	sent.SetResourceVersion(absent)
	if judged != nil {
		sent.SetResourceVersion(judged.GetResourceVersion())
	}
	return apply(ctx, c, sent)
}

// DryRun returns an object as an apply would leave it.
func (c *Cluster) DryRun(ctx context.Context, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return apply(ctx, c, obj, metav1.DryRunAll)
}

// TryNew asks whether the API server accepts an object as a new one, by a dry run under a free name.
func (c *Cluster) TryNew(ctx context.Context, obj *unstructured.Unstructured) error {
	resource, _, err := c.scoped(manifest.IDOf(obj))
	if err != nil {
		return err
	}
	obj = obj.DeepCopy()
	obj.SetGenerateName(obj.GetName() + "-") // the API server shortens it
	obj.SetName("")
	_, err = request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return resource.Create(ctx, obj, metav1.CreateOptions{FieldManager: manifest.FieldManager, DryRun: []string{metav1.DryRunAll}})
	})
	return err
}

// TryPatch returns an object as a merge patch would leave it.
func (c *Cluster) TryPatch(ctx context.Context, id manifest.ID, patch []byte) (*unstructured.Unstructured, error) {
	return sendPatch(ctx, c, id, types.MergePatchType, patch, metav1.DryRunAll)
}

// Patch changes an object by a JSON patch.
func (c *Cluster) Patch(ctx context.Context, id manifest.ID, patch []byte) (*unstructured.Unstructured, error) {
	return sendPatch(ctx, c, id, types.JSONPatchType, patch)
}

func sendPatch(ctx context.Context, c *Cluster, id manifest.ID, kind types.PatchType, patch []byte, dryRun ...string) (*unstructured.Unstructured, error) {
	resource, id, err := c.scoped(id)
	if err != nil {
		return nil, err
	}
	return request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return resource.Patch(ctx, id.Name, kind, patch, metav1.PatchOptions{FieldManager: manifest.FieldManager, DryRun: dryRun})
	})
}

// Delete deletes an object if it is still in exactly the judged state.
func (c *Cluster) Delete(ctx context.Context, judged *unstructured.Unstructured, propagation metav1.DeletionPropagation) error {
	resource, id, err := c.scoped(manifest.IDOf(judged))
	if err != nil {
		return err
	}
	uid, version := judged.GetUID(), judged.GetResourceVersion()
	_, err = request(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, resource.Delete(ctx, id.Name, metav1.DeleteOptions{
			Preconditions:     &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
			PropagationPolicy: &propagation,
		})
	})
	return err
}

// List lists objects of a kind, in the given version where the server serves it. A kind that is gone has none.
func (c *Cluster) List(ctx context.Context, kind schema.GroupVersionKind, namespace string, options metav1.ListOptions) ([]unstructured.Unstructured, error) {
	for range 2 {
		mapping, err := c.server.kinds.anyVersion(kind)
		if meta.IsNoMatchError(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		limited, cancel := context.WithTimeout(ctx, answer.ListTimeout)
		list, err := request(limited, func(ctx context.Context) (*unstructured.UnstructuredList, error) {
			return c.client.Resource(mapping.Resource).Namespace(namespace).List(ctx, options)
		})
		silent := limited.Err() != nil && ctx.Err() == nil
		cancel()
		if err != nil && silent {
			return nil, answer.Unlisted(kind, err)
		}
		if err == nil {
			return list.Items, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, answer.AdviseRight(err)
		}
		c.server.kinds.forget() // it was served when this client last asked
	}
	return nil, nil
}

// readableAsYAML escapes the characters that JSON allows in a text and YAML does not, or reads as the end of a line. The
// API server reads the body of each apply as YAML: it refuses a settings file for its byte order mark, and reads a next
// line character (U+0085) as a space.
func readableAsYAML(body []byte) []byte {
	if !bytes.ContainsFunc(body, needsEscape) {
		return body
	}
	var out bytes.Buffer
	for len(body) > 0 {
		r, size := utf8.DecodeRune(body)
		if needsEscape(r) {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.Write(body[:size])
		}
		body = body[size:]
	}
	return out.Bytes()
}

// needsEscape reports whether YAML (1.2, section 5.1, and 1.1, section 5.4, for the ends of lines) requires an escape for a
// character where JSON does not.
func needsEscape(r rune) bool {
	return r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff
}
