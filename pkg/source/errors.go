package source

import (
	"errors"

	"github.com/syncerdev/syncer/pkg/gitfiles"
	"github.com/syncerdev/syncer/pkg/gitserver"
)

// The errors of this package, for callers that branch on them with errors.Is.
var (
	ErrBranchNotFound = errors.New("branch not found")
	ErrTagNotFound    = errors.New("tag not found")
	ErrNoVersion      = errors.New("no tag matches the semver range")
	ErrCommitNotFound = gitfiles.ErrCommitNotFound
	ErrRevision       = errors.New("revision not understood")
	ErrIncomplete     = errors.New("objects missing")
	ErrNotFastForward = errors.New("branch was rewound")

	// The errors of a server.
	ErrEmptyRepository    = gitserver.ErrEmptyRepository
	ErrRepositoryNotFound = gitserver.ErrRepositoryNotFound
	ErrAuth               = gitserver.ErrAuth
	ErrHostKey            = gitserver.ErrHostKey
	ErrTLS                = gitserver.ErrTLS
	ErrUnreachable        = gitserver.ErrUnreachable
	ErrObjectFormat       = gitserver.ErrObjectFormat
	ErrLimit              = gitserver.ErrLimit
	ErrRedirect           = gitserver.ErrRedirect

	// ErrSubmodule and ErrOutside come from Snapshot.Files, in a *fs.PathError.
	ErrSubmodule = gitfiles.ErrSubmodule
	ErrOutside   = gitfiles.ErrOutside
)

// isExplained reports whether an error already names the fault of the repository or the cache.
func isExplained(err error) bool {
	for _, known := range []error{ErrBranchNotFound, ErrTagNotFound, ErrNoVersion, ErrCommitNotFound, ErrIncomplete, ErrNotFastForward} {
		if errors.Is(err, known) {
			return true
		}
	}
	return gitserver.Explained(err)
}
