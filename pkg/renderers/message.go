package renderers

import (
	"io/fs"

	"github.com/syncerdev/syncer/pkg/render"
)

// order is a message from the pool to its worker; one field is set.
type order struct {
	Begin *Limits  `json:",omitempty"` // the first one
	Build *request `json:",omitempty"`
	Look  *look    `json:",omitempty"` // the answer to a question
	Grow  bool     `json:",omitempty"` // the build may take the memory of a slow one
}

// reply is a message from a worker; one field is set.
type reply struct {
	Ready bool      `json:",omitempty"` // for a build
	Ask   *question `json:",omitempty"`
	Done  *done     `json:",omitempty"`
}

// request asks for the build of an overlay.
type request struct{ Overlay string }

// question asks for a path of the files.
type question struct {
	Name    string
	Content bool // of the file, which the worker no longer has
	Entries bool // of the folder
}

// look is everything about a path of the files.
type look struct {
	Name string
	// Kind and Identity are those of render.KindOf and render.IdentityOf.
	Kind, Identity string
	Size           int64  `json:",omitempty"`
	Real           string `json:",omitempty"`
	// Content is the content of a file, if HasContent. The worker has that of an identity that it was sent before.
	Content    []byte  `json:",omitempty"`
	HasContent bool    `json:",omitempty"`
	Entries    []entry `json:",omitempty"`
	HasEntries bool    `json:",omitempty"`
	// Errors of reads, by what was read.
	StatError, RealError, ReadError, ListError *fault `json:",omitempty"`
}

// entry is an entry of a folder.
type entry struct {
	Name string
	Type fs.FileMode `json:",omitempty"`
}

// done is the result of a build.
type done struct {
	Set      []byte `json:",omitempty"`
	Warnings []string
	Reads    render.ReadSet
	Fault    *fault `json:",omitempty"`
	Peak     int64  // memory of the process in bytes
}
