package apply

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// OwnedError says that an object belongs to another target, or to another tool's ApplySet.
type OwnedError struct {
	ID     manifest.ID
	Target Target
	Owner  string
}

func (e *OwnedError) Error() string {
	return fmt.Sprintf("%s: it belongs to %s, so %s may not take it; keep it in one of the two", e.ID, e.Owner, e.Target)
}

// PruneRefusedError says that a commit would delete more than it may.
type PruneRefusedError struct {
	Target  Target
	Objects []manifest.ID
	Of      int    // the size of the inventory
	Limit   string // the limit that is exceeded
}

func (e *PruneRefusedError) Error() string {
	names := make([]string, len(e.Objects))
	for i, id := range e.Objects {
		names[i] = id.String()
	}
	const shown = 10
	if len(names) > shown {
		names = append(names[:shown], fmt.Sprintf("and %d more", len(names)-shown))
	}
	return fmt.Sprintf("this commit would delete %d of the %d objects of %s, which is above %s: %s; if that is meant, add the trailer `Syncer-Allow-Prune: %s` to a commit message",
		len(e.Objects), e.Of, e.Target, e.Limit, strings.Join(names, ", "), e.Target)
}

// explain says which object a request was about, what went wrong, and what to do. The API server's text is kept, less
// the values of Secrets.
func explain(obj *unstructured.Unstructured, id manifest.ID, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case meta.IsNoMatchError(err):
		return fmt.Errorf("%s: the cluster serves no kind %s in %s; install its CRD, or mend apiVersion and kind", id, id.Kind, id.APIVersion)
	case isMissingNamespace(err, id):
		return fmt.Errorf("%s: namespace %s is not there; add a Namespace object to a pipeline, or create it", id, id.Namespace)
	case apierrors.IsForbidden(err) && !isQuota(err):
		err = rights(err, "patch", "")
	case isImmutable(err):
		err = fmt.Errorf("%w (a live object cannot change this field: give the object a new name, or delete it so that syncer creates it again)", err)
	}
	if text := manifest.Redact(obj, err.Error()); text != err.Error() {
		err = errors.New(text) // the error itself would give the value away to whoever unwraps it
	}
	return fmt.Errorf("%s: %s: %w", id, doing, err)
}

// rights adds what to do about a request that RBAC forbids. Admission answers Forbidden too, with its own reasons.
func rights(err error, verb, resource string) error {
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "cannot ") {
		return err
	}
	what := verb
	if resource != "" {
		what += " " + resource
	}
	return fmt.Errorf("%w (grant syncer's account the right to %s by a Role or ClusterRole; syncer needs get, list, create, patch and delete for the kinds that it deploys)", err, what)
}

// isQuota tells a quota's refusal from one by RBAC: both are Forbidden.
func isQuota(err error) bool { return strings.Contains(err.Error(), "quota") }

// isMissingNamespace tells the 404 for a namespace from the 404 for an object in it.
func isMissingNamespace(err error, id manifest.ID) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	details := status.Status().Details
	return details.Kind == "namespaces" && details.Name == id.Namespace
}

// immutable are the API server's own words for a field that no update may change (k8s.io/apimachinery
// api/validation.FieldImmutableErrorMsg, and those of Secrets, ConfigMaps, StatefulSets and CEL rules).
var immutable = regexp.MustCompile(`field is immutable|may not change once set|updates to statefulset spec for fields other than|field can not be changed`)

func isImmutable(err error) bool { return immutable.MatchString(err.Error()) }
