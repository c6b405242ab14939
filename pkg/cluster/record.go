package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// ErrNotInstalled says that the cluster does not know the record's kind.
var ErrNotInstalled = errors.New("the cluster has no PipelineSync CRD; run `syncer install` first")

// Records are the PipelineSync records of one namespace.
type Records struct {
	cluster *Cluster // acts as syncer itself
}

func (r *Records) namespace() string { return r.cluster.Namespace() }

func (r *Records) resource() (dynamic.ResourceInterface, error) {
	mapping, err := r.cluster.server.kinds.forRequest(v1alpha1.RecordKind)
	if meta.IsNoMatchError(err) {
		return nil, ErrNotInstalled
	}
	if err != nil {
		return nil, err
	}
	return r.cluster.client.Resource(mapping.Resource).Namespace(r.namespace()), nil
}

// isUninstalled distinguishes the 404 for the record's kind, which was served when this client last asked, from the 404
// for a record or for its namespace.
func (r *Records) isUninstalled(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	if details != nil && details.Name != "" && !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
		return false
	}
	r.cluster.server.kinds.forget()
	return true
}

// Get returns a target's record, or nil where there is none.
func (r *Records) Get(ctx context.Context, target v1alpha1.Target) (*v1alpha1.PipelineSync, error) {
	records, err := r.resource()
	if err != nil {
		return nil, err
	}
	obj, err := request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return records.Get(ctx, target.RecordName(), metav1.GetOptions{})
	})
	if r.isUninstalled(err) {
		return nil, ErrNotInstalled
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the record %s/%s: %w", r.namespace(), target.RecordName(), answer.AdviseRight(err))
	}
	return decodeRecord(obj)
}

// List lists all records of the namespace, those of other owners included, sorted by name.
func (r *Records) List(ctx context.Context) ([]*v1alpha1.PipelineSync, error) {
	records, err := r.resource()
	if err != nil {
		return nil, err
	}
	list, err := request(ctx, func(ctx context.Context) (*unstructured.UnstructuredList, error) {
		return records.List(ctx, metav1.ListOptions{})
	})
	if r.isUninstalled(err) {
		return nil, ErrNotInstalled
	}
	if err != nil {
		return nil, fmt.Errorf("listing the records in namespace %s: %w", r.namespace(), answer.AdviseRight(err))
	}
	out := make([]*v1alpha1.PipelineSync, len(list.Items))
	for i := range list.Items {
		if out[i], err = decodeRecord(&list.Items[i]); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b *v1alpha1.PipelineSync) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func decodeRecord(obj *unstructured.Unstructured) (*v1alpha1.PipelineSync, error) {
	record := &v1alpha1.PipelineSync{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, record); err != nil {
		return nil, fmt.Errorf("reading the record %s: %w", manifest.IDOf(obj), err)
	}
	v1alpha1.NoteUnconfirmed(record)
	return record, nil
}

// SaveSpec writes syncer's decisions, and the kinds that the objects may have, before the first object is applied: from
// then on a crash loses neither a pin nor an object.
//
// The write requires the version of the record from which the plan was made: another syncer may have written the record
// since, and its pins stay valid.
func (r *Records) SaveSpec(ctx context.Context, target v1alpha1.Target, before *v1alpha1.PipelineSync, spec v1alpha1.PipelineSyncSpec, p Promises) (Written, error) {
	record := recordObject(r.namespace(), target)
	record.SetLabels(map[string]string{v1alpha1.LabelParent: v1alpha1.ApplySetID(r.namespace(), target)})
	record.SetAnnotations(p.annotations(r.namespace()))
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&spec)
	if err != nil {
		return Written{}, fmt.Errorf("writing the record of %s: %w", target, err)
	}
	record.Object["spec"] = fields
	if before != nil {
		if before.Spec.ServiceAccount != "" && spec.ServiceAccount == "" {
			// The empty value is written explicitly: an omitted field keeps its value if an earlier create owns it.
			fields["serviceAccount"] = ""
		}
		record.SetResourceVersion(before.ResourceVersion)
	} else {
		record.SetResourceVersion(absent)
	}
	attempt := ""
	if p.Writes != nil {
		attempt = record.GetResourceVersion() // no other write of this record can require the same version and succeed
		if before == nil {
			attempt = "new-" + rand.Text() // the record may be deleted and made anew
		}
		annotations := record.GetAnnotations()
		annotations[v1alpha1.AnnotationApplying] = strings.Join(append([]string{attempt}, p.Writes...), " ")
		record.SetAnnotations(annotations)
	}
	out, err := written(r.write(ctx, target, record))
	out.Apply = attempt
	return out, err
}

// Written is the state of a record after a write.
type Written struct {
	Generation int64
	Version    string // the version that a later write of the same pass requires
	Apply      string // the ID of the apply that the write begins; the status confirms it. Empty: none
	UID        types.UID
}

func written(record *unstructured.Unstructured, err error) (Written, error) {
	if err != nil {
		return Written{}, err
	}
	return Written{Generation: record.GetGeneration(), Version: record.GetResourceVersion(), UID: record.GetUID()}, nil
}

func (r *Records) explain(target v1alpha1.Target, err error) error {
	switch {
	case err == nil:
		return nil
	case r.isUninstalled(err):
		return ErrNotInstalled
	case answer.IsMissingNamespace(err, r.namespace()):
		return fmt.Errorf("writing the record of %s: namespace %s is not there; run `syncer install` first", target, r.namespace())
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		return &answer.OvertakenError{Target: target}
	}
	return fmt.Errorf("writing the record of %s: %w", target, answer.AdviseRight(err))
}

// Create makes the record of a target that has none, before any object of the target is applied.
func (r *Records) Create(ctx context.Context, target v1alpha1.Target, spec v1alpha1.PipelineSyncSpec) (Written, error) {
	return r.SaveSpec(ctx, target, nil, spec, Promises{})
}

// SaveStatus writes the observed state of a target, if its record still is the version that was read or written before.
func (r *Records) SaveStatus(ctx context.Context, target v1alpha1.Target, status v1alpha1.PipelineSyncStatus, version string) (Written, error) {
	record := recordObject(r.namespace(), target)
	record.SetResourceVersion(version)
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&status)
	if err != nil {
		return Written{}, fmt.Errorf("writing the status of %s: %w", target, err)
	}
	record.Object["status"] = fields
	return written(r.write(ctx, target, record, "status"))
}

func (r *Records) write(ctx context.Context, target v1alpha1.Target, record *unstructured.Unstructured, subresource ...string) (*unstructured.Unstructured, error) {
	records, err := r.resource()
	if err != nil {
		return nil, err
	}
	written, err := request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return records.Apply(ctx, record.GetName(), record, metav1.ApplyOptions{FieldManager: manifest.FieldManager, Force: true}, subresource...)
	})
	if f := r.cluster.server.followed.Load(); f != nil && err == nil {
		f.wrote(written)
	}
	return written, r.explain(target, err)
}

// Delete deletes the record of a target whose objects are gone, if it still is the version that the caller has read or
// written. A revived record stays, and the error is an OvertakenError.
func (r *Records) Delete(ctx context.Context, target v1alpha1.Target, uid types.UID, version string) error {
	records, err := r.resource()
	if err != nil {
		return err
	}
	_, err = request(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, records.Delete(ctx, target.RecordName(), metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
		})
	})
	if apierrors.IsConflict(err) {
		return &answer.OvertakenError{Target: target}
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the record of %s: %w", target, answer.AdviseRight(err))
	}
	if f := r.cluster.server.followed.Load(); f != nil {
		f.deleted(target.RecordName(), uid)
	}
	return nil
}

func recordObject(namespace string, target v1alpha1.Target) *unstructured.Unstructured {
	record := &unstructured.Unstructured{}
	record.SetGroupVersionKind(v1alpha1.RecordKind)
	record.SetNamespace(namespace)
	record.SetName(target.RecordName())
	return record
}

// Owner names the target of an ApplySet, and the namespace of its record; if no record has the ID, Owner returns the ID
// itself. A syncer may have the right to read the records of its own namespace only.
func (r *Records) Owner(ctx context.Context, id string) (owner, namespace string) {
	owner = "the ApplySet " + id
	mapping, err := r.cluster.server.kinds.resource(v1alpha1.RecordKind)
	if err != nil {
		return owner, ""
	}
	for _, where := range []string{r.namespace(), metav1.NamespaceAll} {
		list, err := r.cluster.client.Resource(mapping.Resource).Namespace(where).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelParent + "=" + id})
		if err != nil || len(list.Items) != 1 {
			continue
		}
		if record, err := decodeRecord(&list.Items[0]); err == nil {
			return v1alpha1.Target{Pipeline: record.Spec.Pipeline, Environment: record.Spec.Environment}.String(), record.Namespace
		}
	}
	return owner, ""
}
