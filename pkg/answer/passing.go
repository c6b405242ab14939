package answer

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// Retryable reports whether a request that failed with this error may succeed when it is repeated after a moment.
func Retryable(err error) bool {
	switch {
	case err == nil:
		return false
	case apierrors.IsServerTimeout(err), apierrors.IsServiceUnavailable(err), apierrors.IsTooManyRequests(err), apierrors.IsTimeout(err):
		return true
	case apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook"):
		return true // its server is down for a moment
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "status unknown for quota"):
		return true // a new ResourceQuota whose usage its controller has not counted yet
	}
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// passingError is a refusal that ends by itself.
type passingError struct{ text string }

func (e *passingError) Error() string { return e.text }

// IsPassing reports whether an error may end by itself.
func IsPassing(err error) bool {
	_, passes := errors.AsType[*passingError](err)
	_, overtaken := errors.AsType[*OvertakenError](err)
	return passes || overtaken || Retryable(err)
}

// IsPermanent reports whether an error ends only after a change of git or of the cluster. Under server-side apply the
// API server answers 500 for manifests that do not fit their schema, such as a duplicate key of a list.
func IsPermanent(err error) bool {
	if IsPassing(err) {
		return false
	}
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsInternalError(err) || meta.IsNoMatchError(err)
}

// OvertakenError says that another syncer wrote the record of a target since it was read. The decision of the other
// syncer stays valid, and this pass writes nothing more of the target.
type OvertakenError struct{ Target v1alpha1.Target }

// Error implements error.
func (e *OvertakenError) Error() string {
	return fmt.Sprintf("writing the record of %s: another syncer wrote it in the meantime; the next pass goes on from there", e.Target)
}

// WillPass is a refusal that ends by itself.
func WillPass(text string) error { return &passingError{text} }
