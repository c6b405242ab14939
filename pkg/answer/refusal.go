package answer

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// IsRefusal reports whether an answer is about the object, and not about rights, quota and the state of the server.
func IsRefusal(err error) bool {
	switch {
	case apierrors.IsInvalid(err):
		return true
	case apierrors.IsForbidden(err):
		return !unauthorized.MatchString(err.Error()) && !IsContested(err)
	}
	return apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "denied the request")
}

// contested is the API server's text about a resource that an object's predecessor holds: its addresses and ports, its
// place in a quota, its being the default.
var contested = regexp.MustCompile(`already allocated|exceeded quota|already marked as default`)

// IsContested reports whether an object is refused only for resources that its predecessor may hold.
func IsContested(err error) bool {
	causes := Causes(err)
	if len(causes) == 0 {
		return err != nil && contested.MatchString(err.Error())
	}
	return !slices.ContainsFunc(causes, func(cause metav1.StatusCause) bool { return !contested.MatchString(cause.Message) })
}

// Causes are the single reasons of a refusal, each with its field.
func Causes(err error) []metav1.StatusCause {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	return status.Status().Details.Causes
}

// SameRefusal reports whether two refusals share a reason.
func SameRefusal(err, other error) bool {
	if other == nil {
		return false
	}
	causes := Causes(other)
	if len(causes) == 0 {
		return withoutNames(err) == withoutNames(other)
	}
	return slices.ContainsFunc(Causes(err), func(cause metav1.StatusCause) bool { return slices.Contains(causes, cause) })
}

// withoutNames is the text of a refusal without the part before the reason: the kind and the name of the object.
func withoutNames(err error) string {
	_, reason, found := strings.Cut(err.Error(), ": ")
	if !found {
		return err.Error()
	}
	return reason
}

// IsImmutableOnly reports whether the API server refuses a change in its own words, and only for fields that no update
// may change.
func IsImmutableOnly(err error) bool {
	causes := Causes(err)
	if len(causes) == 0 || !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) {
		return false
	}
	return !slices.ContainsFunc(causes, func(cause metav1.StatusCause) bool { return !immutable.MatchString(cause.Message) })
}

// IsMissingNamespace distinguishes the 404 for a namespace from the 404 for an object in it.
func IsMissingNamespace(err error, namespace string) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	details := status.Status().Details
	return details.Kind == "namespaces" && details.Name == namespace
}

// IsEndingNamespace reports whether a namespace takes no new objects because it is being deleted.
func IsEndingNamespace(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// immutable are the API server's own words for a field that no update may change: those of declarative validation
// (k8s.io/apimachinery/pkg/api/validate), of the validation of single kinds (k8s.io/kubernetes/pkg/apis), this and older
// releases, and of a CEL rule without a message.
var immutable = regexp.MustCompile(strings.Join([]string{
	`field is immutable`, `is immutable after creation`, `may not change once set`, `field can not be changed`,
	`field cannot be (?:set once created|cleared once set|modified once set)`,
	`updates to statefulset spec for fields other than`, `updates to .+ are forbidden`,
	`pod updates may not change fields other than`, `pod updates may not add or remove containers`,
	`cannot change roleRef`, `may not be changed in an update`, `failed rule: .*\boldSelf\b`,
}, "|"))

func isImmutable(err error) bool { return immutable.MatchString(err.Error()) }
