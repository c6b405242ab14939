package answer

import (
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// IsOfObject reports whether an error is about one object or its kind. Other errors are about the API server as a whole,
// about syncer's access to it, and about the owner of the object.
func IsOfObject(err error) bool {
	var status apierrors.APIStatus
	_, ending := errors.AsType[*passingError](err)
	_, unknown := errors.AsType[*undiscoveredError](err)
	_, silent := errors.AsType[*silentKindError](err)
	switch {
	case ending, unknown, silent, meta.IsNoMatchError(err):
		return true
	case apierrors.IsUnauthorized(err), apierrors.IsTooManyRequests(err), apierrors.IsServiceUnavailable(err), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
		return false
	}
	return errors.As(err, &status)
}

// ListTimeout bounds a list of one kind. If the conversion webhook of a kind is down, the API server does not answer a
// list of this kind for a minute.
const ListTimeout = 15 * time.Second

// unlistedError says that the API server did not answer a list of a kind in time. The fault may be one of the kind or of
// all.
type unlistedError struct {
	kind schema.GroupVersionKind
	err  error
}

func (e *unlistedError) Error() string {
	return fmt.Sprintf("the API server did not list %s in %s within %s: %v", e.kind.Kind, e.kind.GroupVersion(), ListTimeout, e.err)
}

func (e *unlistedError) Unwrap() error { return e.err }

// silentKindError is an unlistedError of an API server that answers other requests.
type silentKindError struct{ error }

func (e *silentKindError) Unwrap() error { return e.error }

// undiscoveredError says that the API server does not say which kinds a group serves, as when the server of an
// aggregated API is down.
type undiscoveredError struct {
	group fmt.Stringer
	err   error
}

func (e *undiscoveredError) Error() string {
	return fmt.Sprintf("the API server cannot say what %s serves: %v", e.group, e.err)
}

func (e *undiscoveredError) Unwrap() error { return e.err }

// unservedError says that a kind is not served.
type unservedError struct {
	text string
	err  error
}

func (e *unservedError) Error() string { return e.text }

func (e *unservedError) Unwrap() error { return e.err }

// IsForbidden reports whether an error says that a right is missing.
func IsForbidden(err error) bool { return apierrors.IsForbidden(err) }

// Unlisted says that the API server did not answer a list of a kind in time.
func Unlisted(kind schema.GroupVersionKind, err error) error { return &unlistedError{kind, err} }

// IsUnlisted reports whether an error is one of Unlisted.
func IsUnlisted(err error) bool {
	_, is := errors.AsType[*unlistedError](err)
	return is
}

// SilentKind says that the API server answers, but does not list this kind.
func SilentKind(err error) error { return &silentKindError{err} }

// Undiscovered says that the API server does not say which kinds a group serves.
func Undiscovered(group fmt.Stringer, err error) error { return &undiscoveredError{group, err} }
