package gitfiles

import (
	"errors"
	"fmt"

	"github.com/syncerdev/syncer/pkg/gitserver"
)

// The errors of this package, for callers that branch on them with errors.Is. A limit that is exceeded is a
// gitserver.LimitError.
var (
	ErrCommitNotFound = errors.New("commit not found")

	// ErrSubmodule and ErrOutside come from the files of a commit, in a *fs.PathError.
	ErrSubmodule = errors.New("is a git submodule, which syncer does not follow")
	ErrOutside   = errors.New("symbolic link leaves the repository")
)

// TooLarge explains that a file has more bytes than an object may have.
func TooLarge(objectBytes int64) error {
	return &gitserver.LimitError{
		Exceeds: "the file, or one that git stores it as a difference from, has more than " + gitserver.Size(objectBytes), Setting: "objectBytes",
	}
}

// longestPath is how many folders may stand in each other.
const longestPath = 256

// tooDeep and tooMany explain why a commit is not read.
func tooDeep() error {
	return &gitserver.LimitError{Exceeds: fmt.Sprintf("the commit has more than %d folders in each other", longestPath)}
}

func tooMany(files int) error {
	return &gitserver.LimitError{Exceeds: fmt.Sprintf("the commit has more than %d files", files), Setting: "files"}
}
