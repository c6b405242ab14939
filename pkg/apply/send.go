package apply

import (
	"bytes"
	"context"
	"fmt"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// get reads an object; nil where it is not there.
func get(ctx context.Context, resource dynamic.ResourceInterface, id manifest.ID) (*unstructured.Unstructured, error) {
	live, err := request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return resource.Get(ctx, id.Name, metav1.GetOptions{})
	})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return live, err
}

// write applies an object, or tries to with metav1.DryRunAll.
func write(ctx context.Context, resource dynamic.ResourceInterface, id manifest.ID, obj *unstructured.Unstructured, dryRun ...string) (*unstructured.Unstructured, error) {
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

// absent is asked for by the write of an object that was not there: the API server refuses it as a conflict where the
// object is there by now. No object ever has it: the API server counts versions from what its store had at the start.
const absent = "1"

// writeOver applies an object where it still is as it was judged; nil: it was not there.
func writeOver(ctx context.Context, resource dynamic.ResourceInterface, id manifest.ID, obj, judged *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	sent := obj.DeepCopy()
	sent.SetResourceVersion(absent)
	if judged != nil {
		sent.SetResourceVersion(judged.GetResourceVersion())
	}
	return write(ctx, resource, id, sent)
}

func dryRun(ctx context.Context, resource dynamic.ResourceInterface, id manifest.ID, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return write(ctx, resource, id, obj, metav1.DryRunAll)
}

// readableAsYAML escapes what JSON allows in a text and YAML does not. The API server reads an apply's body as YAML,
// whatever it is, and refuses a settings file for its byte order mark.
func readableAsYAML(body []byte) []byte {
	if !bytes.ContainsFunc(body, isUnprintable) {
		return body
	}
	var out bytes.Buffer
	for len(body) > 0 {
		r, size := utf8.DecodeRune(body)
		if isUnprintable(r) {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.Write(body[:size])
		}
		body = body[size:]
	}
	return out.Bytes()
}

// isUnprintable reports whether YAML (1.2, section 5.1) wants a character escaped that JSON does not.
func isUnprintable(r rune) bool {
	return r >= 0x7f && r <= 0x9f && r != 0x85 || r == 0xfeff || r == 0xfffe || r == 0xffff
}
