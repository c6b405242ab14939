package gitfiles_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/syncerdev/syncer/pkg/gitfiles"
)

// file is what a folder holds under one name. The content of a link is where it points, that of a submodule its commit.
type file struct {
	mode    filemode.FileMode
	content string
}

func regular(content string) file { return file{filemode.Regular, content} }
func link(target string) file     { return file{filemode.Symlink, target} }

// repo is a repository in memory.
type repo struct {
	t       testing.TB
	storage *filesystem.Storage
}

func newRepo(t testing.TB) *repo {
	return &repo{t: t, storage: filesystem.NewStorage(memfs.New(), cache.NewObjectLRUDefault())}
}

// put stores an object.
func (r *repo) put(kind plumbing.ObjectType, content string) plumbing.Hash {
	r.t.Helper()
	object := &plumbing.MemoryObject{}
	object.SetType(kind)
	if _, err := object.Write([]byte(content)); err != nil {
		r.t.Fatal(err)
	}
	hash, err := r.storage.SetEncodedObject(object)
	if err != nil {
		r.t.Fatal(err)
	}
	return hash
}

// tree stores files by their paths, with the folders above them.
func (r *repo) tree(files map[string]file) plumbing.Hash {
	r.t.Helper()
	below := map[string]map[string]file{}
	entries := map[string]string{} // by the name that git sorts by
	for path, each := range files {
		name, rest, deeper := strings.Cut(path, "/")
		switch {
		case deeper:
			if below[name] == nil {
				below[name] = map[string]file{}
			}
			below[name][rest] = each
		case each.mode == filemode.Submodule:
			entries[name] = entry(each.mode, name, plumbing.NewHash(each.content))
		default:
			entries[name] = entry(each.mode, name, r.put(plumbing.BlobObject, each.content))
		}
	}
	for name, inside := range below {
		entries[name+"/"] = entry(filemode.Dir, name, r.tree(inside))
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		text.WriteString(entries[name])
	}
	return r.put(plumbing.TreeObject, text.String())
}

// entry is one line of a folder, as git writes it.
func entry(mode filemode.FileMode, name string, hash plumbing.Hash) string {
	return fmt.Sprintf("%o %s\x00%s", uint32(mode), name, hash[:])
}

func (r *repo) commit(message string) plumbing.Hash {
	r.t.Helper()
	return r.put(plumbing.CommitObject, "tree "+r.tree(nil).String()+
		"\nauthor Ada <ada@example.com> 1700000000 +0000\ncommitter Bot <bot@example.com> 1700000000 +0000\n\n"+message+"\n")
}

func (r *repo) tag(kind plumbing.ObjectType, hash plumbing.Hash) plumbing.Hash {
	r.t.Helper()
	return r.put(plumbing.TagObject, fmt.Sprintf("object %s\ntype %s\ntag v1\ntagger Ada <ada@example.com> 1700000000 +0000\n\nv1\n", hash, kind))
}

// remove takes an object away.
func (r *repo) remove(hash plumbing.Hash) {
	r.t.Helper()
	if err := r.storage.DeleteLooseObject(hash); err != nil {
		r.t.Fatal(err)
	}
	r.storage = filesystem.NewStorage(r.storage.Filesystem(), cache.NewObjectLRUDefault())
}

// store reads the repository as it is now.
func (r *repo) store() *gitfiles.Store {
	return gitfiles.NewStore(r.storage, gitfiles.Limits{ObjectBytes: 100_000, Files: 1000})
}

var modified = time.Unix(1700000000, 0).UTC()

// files reads the files below a folder.
func (r *repo) files(root plumbing.Hash) *gitfiles.FS {
	r.t.Helper()
	files, err := r.store().Files(root, modified, true)
	if err != nil {
		r.t.Fatal(err)
	}
	return files
}
