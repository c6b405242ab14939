// Package words reads the words of the files that an overlay may be built from, to tell which objects it may have while it does
// not render.
package words

import (
	"errors"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/render"
)

// Words are the words in all files that an overlay may be built from. An overlay that does not render has no set. But each
// object of it has its kind, its namespace and its name in these files: kustomize puts a name together from whole words
// (prefix, name, suffix), and appends a hash at most.
type Words struct {
	places  map[string]string // the first file with each word
	outside string            // the first file that stands for content which the commit does not hold; "": there is none
}

const (
	// largestText is the size above which a file is data: no file with objects is so large.
	largestText = 16 << 20
	// mostText and mostWords bound what is read for one overlay: a file after them may name every object.
	mostText  = 8 << 20
	mostWords = 500_000
)

var (
	word = regexp.MustCompile(`[A-Za-z0-9.-]+`)
	// wayUp matches paths that may lead out of the folder of a kustomization.
	wayUp   = regexp.MustCompile(`[^\s"'\[\]{},#=]*\.\.[^\s"'\[\]{},#=]*`)
	remote  = regexp.MustCompile(`://|git::|github\.com|[a-z]@[a-z]`)
	comment = regexp.MustCompile(`(?m)^\s*#.*$`)
)

// Of reads the files in folders, and those outside of them to which their kustomizations lead.
func Of(files fs.FS, folders ...string) *Words {
	r := &wordReader{files: files, found: &Words{places: map[string]string{}}, seen: map[string]bool{}}
	for _, folder := range folders {
		r.add(r.nearest(folder))
	}
	return r.found
}

// wordReader collects words.
type wordReader struct {
	files fs.FS
	found *Words
	seen  map[string]bool // by path, without links
	read  int             // bytes
}

// nearest is a path, or the folder nearest to it that exists: the path may have an error.
func (r *wordReader) nearest(name string) string {
	name = render.Local(name)
	for name != "." {
		if _, err := fs.Stat(r.files, name); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		name = path.Dir(name)
	}
	return name
}

// add reads a file, or a folder with all that is in it. Links are followed.
func (r *wordReader) add(name string) {
	real, err := render.RealPath(r.files, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && r.seen[real] {
		return
	}
	var info fs.FileInfo
	if err == nil {
		r.seen[real] = true
		info, err = fs.Stat(r.files, real)
	}
	switch {
	case err != nil:
		r.lacks(name)
	case info.IsDir():
		r.folder(real)
	case info.Size() <= largestText:
		r.file(real)
	}
}

func (r *wordReader) folder(name string) {
	entries, err := fs.ReadDir(r.files, name)
	if err != nil {
		r.lacks(name)
	}
	for _, entry := range entries {
		r.add(path.Join(name, entry.Name()))
	}
}

func (r *wordReader) file(name string) {
	if r.read > mostText || len(r.found.places) > mostWords {
		r.lacks(name)
		return
	}
	data, err := fs.ReadFile(r.files, name)
	r.read += len(data)
	base := strings.ToLower(path.Base(name))
	isKustomization := strings.Contains(base, "kustom") // the name may have an error
	switch ext := path.Ext(base); {
	case err != nil:
		r.lacks(name)
	case render.IsPointer(data):
		if isKustomization || ext == ".yaml" || ext == ".yml" || ext == ".json" {
			r.lacks(name)
		}
		return
	}
	for _, found := range word.FindAll(data, -1) {
		if _, known := r.found.places[string(found)]; !known {
			r.found.places[string(found)] = name
		}
	}
	if !isKustomization {
		return
	}
	data = comment.ReplaceAll(data, nil)
	if remote.Match(data) {
		r.lacks(name)
	}
	for _, way := range wayUp.FindAll(data, -1) {
		r.add(r.nearest(path.Join("/", path.Dir(name), string(way))))
	}
}

// lacks notes a file whose content the commit does not hold.
func (r *wordReader) lacks(name string) {
	if r.found.outside == "" {
		r.found.outside = name
	}
}

// MayName returns a file by which the overlay may have an object; "" if it does not have it.
func (w *Words) MayName(id manifest.ID) string {
	if id.Namespace != "" && id.Namespace != manifest.DefaultNamespace && w.compose(id.Namespace) == "" {
		return ""
	}
	if w.outside != "" {
		return w.outside
	}
	if !w.hasKind(id.Kind) {
		return ""
	}
	if at := w.compose(id.Name); at != "" {
		return at
	}
	if generated, ok := id.WithoutSuffix(); ok {
		return w.compose(generated.Name)
	}
	return ""
}

// hasKind reports whether a word contains a kind: as it is, as that of a list, or as a generator.
func (w *Words) hasKind(kind string) bool {
	kind = strings.ToLower(kind)
	for found := range w.places {
		if strings.Contains(strings.ToLower(found), kind) {
			return true
		}
	}
	return false
}

// compose returns a file with the longest of the words that make up a name; "" if the name is not made of words.
func (w *Words) compose(name string) string {
	made, longest := make([]bool, len(name)+1), make([]string, len(name)+1) // by the length of the beginning
	made[0] = true
	for end := 1; end <= len(name); end++ {
		for start := range end {
			part := name[start:end]
			if !made[start] || w.places[part] == "" && !isMark(part) {
				continue
			}
			made[end] = true
			for _, found := range []string{longest[start], part} {
				if len(found) > len(longest[end]) && w.places[found] != "" {
					longest[end] = found
				}
			}
		}
	}
	if !made[len(name)] {
		return ""
	}
	return w.places[longest[len(name)]]
}

// isMark reports whether a part of a name is one character that stands between words, as in the names of roles.
func isMark(part string) bool { return len(part) == 1 && !word.MatchString(part) }
