package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
)

// ReadSet holds all reads of one build with their answers: the kind of a path (or that it does not exist), the content
// of a file, the entries of a folder, and the targets of links. Files that give the same answers render to the same set,
// or fail with the same error. It does not change. The zero value is of no build.
type ReadSet struct {
	sure   bool              // the answers decide the result of the build
	probed map[string]string // by path: file, folder or nothing
	read   map[string]string // by file: its content
	listed map[string]string // by folder: its entries
	real   map[string]string // by path: where its symbolic links lead
}

// identified may be implemented by files that name their content, as git does: they are compared without a read. Links
// are followed. Two files of one identity hold the same bytes.
type identified interface {
	Identity(name string) (id string, folder bool, err error)
}

// BuildReading is Build, and also returns the reads of the build. The read set is valid for a failed build as well.
func BuildReading(files fs.FS, overlay string) (manifest.Set, ReadSet, error) {
	return Limits{}.BuildReading(files, overlay)
}

// BuildReading is BuildReading within other limits than the defaults.
func (l Limits) BuildReading(files fs.FS, overlay string) (manifest.Set, ReadSet, error) {
	r := newRecorder(files)
	set, err := l.Build(r, overlay)
	if panics.In(err) != nil {
		r.reads.sure = false // the cause need not be in the files
	}
	return set, r.reads, err
}

// Unchanged reports whether a build over other files would read the very same, so that it need not be done again.
func (s ReadSet) Unchanged(files fs.FS) bool {
	return s.sure && answers(files, KindOf, s.probed) && answers(files, IdentityOf, s.read) && answers(files, listingOf, s.listed) && answers(files, realOf, s.real)
}

// Decides reports whether the reads alone decide the result of the build.
func (s ReadSet) Decides() bool { return s.sure }

// Files lists the files that the build read, in order.
func (s ReadSet) Files() []string { return slices.Sorted(maps.Keys(s.read)) }

// sentReads is a read set on its way to another process.
type sentReads struct {
	Sure                       bool
	Probed, Read, Listed, Real map[string]string
}

// MarshalJSON implements json.Marshaler.
func (s ReadSet) MarshalJSON() ([]byte, error) {
	return json.Marshal(sentReads{s.sure, s.probed, s.read, s.listed, s.real})
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *ReadSet) UnmarshalJSON(data []byte) error {
	var sent sentReads
	err := json.Unmarshal(data, &sent)
	*s = ReadSet{sent.Sure, sent.Probed, sent.Read, sent.Listed, sent.Real}
	return err
}

// ReadsOf is the read set of a build that was told everything about some paths of files. It stands for that of a build
// that did not come to its end.
func ReadsOf(files fs.FS, paths []string) ReadSet {
	s := ReadSet{sure: true, probed: map[string]string{}, read: map[string]string{}, listed: map[string]string{}, real: map[string]string{}}
	for _, name := range paths {
		s.probed[name], s.real[name] = KindOf(files, name), realOf(files, name)
		switch s.probed[name] {
		case IsFile:
			s.read[name] = IdentityOf(files, name)
		case IsFolder:
			s.listed[name] = listingOf(files, name)
		}
	}
	return s
}

// answers reports whether files give the same answers to a question.
func answers(files fs.FS, question func(fs.FS, string) string, want map[string]string) bool {
	for name, answer := range want {
		if question(files, name) != answer {
			return false
		}
	}
	return true
}

// The kinds of a path in the answer of KindOf. Any other answer is the text of an error.
const (
	IsNothing = "nothing"
	IsFile    = "file"
	IsFolder  = "folder"
)

// KindOf returns the kind of a path.
func KindOf(files fs.FS, name string) string {
	if known, ok := files.(identified); ok {
		_, folder, err := known.Identity(name)
		return kind(folder, err)
	}
	info, err := fs.Stat(files, name)
	return kind(err == nil && info.IsDir(), err)
}

func kind(folder bool, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return IsNothing
	case err != nil:
		return err.Error()
	case folder:
		return IsFolder
	default:
		return IsFile
	}
}

// IdentityOf names the content of a file, if possible without a read. Files of one identity hold the same bytes.
func IdentityOf(files fs.FS, name string) string {
	if known, ok := files.(identified); ok {
		id, folder, err := known.Identity(name)
		if err != nil || folder {
			return kind(folder, err)
		}
		return id
	}
	data, err := fs.ReadFile(files, name)
	if err != nil {
		return KindOf(files, name)
	}
	return digest(data)
}

// listingOf names the entries of a folder and their types, without their content.
func listingOf(files fs.FS, name string) string {
	entries, err := fs.ReadDir(files, name)
	if err != nil {
		return kind(false, err)
	}
	var list []byte
	for _, entry := range entries {
		list = append(list, entry.Name()+"/"+entry.Type().String()+"\n"...)
	}
	return digest(list)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// recorder passes the reads of one build on to its files and keeps the answers. It is not safe for concurrent use.
//
// Every read through package fs passes here, since fs.Glob and fs.WalkDir only stat and list. A build uses only one
// property of Stat's result: whether the path is a folder.
type recorder struct {
	files fs.FS
	reads ReadSet
}

var (
	_ fs.StatFS     = (*recorder)(nil)
	_ fs.ReadFileFS = (*recorder)(nil)
	_ fs.ReadDirFS  = (*recorder)(nil)
	_ linked        = (*recorder)(nil)
)

func newRecorder(files fs.FS) *recorder {
	return &recorder{files: files, reads: ReadSet{
		sure: true, probed: map[string]string{}, read: map[string]string{}, listed: map[string]string{}, real: map[string]string{},
	}}
}

// Open implements fs.FS. The reads of an open file are not recorded.
func (r *recorder) Open(name string) (fs.File, error) {
	r.reads.sure = false
	return r.files.Open(name)
}

// Stat implements fs.StatFS.
func (r *recorder) Stat(name string) (fs.FileInfo, error) {
	info, err := fs.Stat(r.files, name)
	r.probe(name, err)
	return info, err
}

// ReadFile implements fs.ReadFileFS.
func (r *recorder) ReadFile(name string) ([]byte, error) {
	data, err := fs.ReadFile(r.files, name)
	switch _, ok := r.files.(identified); {
	case err != nil:
		r.probe(name, err)
	case ok:
		r.note(r.reads.read, name, IdentityOf(r.files, name))
	default:
		r.note(r.reads.read, name, digest(data))
	}
	return data, err
}

// ReadDir implements fs.ReadDirFS.
func (r *recorder) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(r.files, name)
	r.note(r.reads.listed, name, listingOf(r.files, name))
	return entries, err
}

// RealPath implements linked.
func (r *recorder) RealPath(name string) (string, error) {
	real, err := RealPath(r.files, name)
	r.note(r.reads.real, name, realOf(r.files, name))
	return real, err
}

// probe keeps the kind of a path after a read that may have failed. A file that exists and cannot be read is a fault of
// the disk or the cache: the fault may be gone at the next read although no file has changed.
func (r *recorder) probe(name string, err error) {
	found := KindOf(r.files, name)
	if err != nil && found == IsFile {
		r.reads.sure = false
	}
	r.note(r.reads.probed, name, found)
}

// note keeps an answer. Files that answer one question in two ways change while they are read.
func (r *recorder) note(asked map[string]string, name, answer string) {
	if before, ok := asked[name]; ok && before != answer {
		r.reads.sure = false
	}
	asked[name] = answer
}
