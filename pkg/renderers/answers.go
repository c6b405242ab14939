package renderers

import (
	"io/fs"

	"github.com/syncerdev/syncer/pkg/render"
)

// keptContent is how many bytes of files a worker keeps from build to build.
const keptContent = 16 << 20

// contents are the files that a worker keeps, by their identity. The pool and the worker each have one, add the same
// files in the same order, and so agree on it; a worker that misses a file asks.
type contents struct {
	byIdentity map[string][]byte // the pool's have no bytes
	bytes      int64
}

func (c *contents) add(identity string, size int64, content []byte) {
	if c.bytes+size > keptContent || c.byIdentity == nil {
		c.byIdentity, c.bytes = map[string][]byte{}, 0
	}
	if _, ok := c.byIdentity[identity]; !ok {
		c.bytes += size
	}
	c.byIdentity[identity] = content
}

func (c *contents) has(identity string) bool {
	_, ok := c.byIdentity[identity]
	return ok
}

// answers answers the questions of one build, and keeps what it told.
type answers struct {
	files fs.FS
	limit int64 // of the bytes of a file
	sent  *contents
	told  map[string]bool
}

func newAnswers(files fs.FS, limit int64, sent *contents) *answers {
	return &answers{files: files, limit: limit, sent: sent, told: map[string]bool{}}
}

// paths are the paths that the worker was told of.
func (a *answers) paths() []string {
	paths := make([]string, 0, len(a.told))
	for name := range a.told {
		paths = append(paths, name)
	}
	return paths
}

func (a *answers) size(name string) int64 {
	info, err := fs.Stat(a.files, name)
	if err != nil {
		return 0
	}
	return info.Size()
}

// of is the answer to a question.
func (a *answers) of(q question) look {
	a.told[q.Name] = true
	l := look{Name: q.Name, Kind: render.KindOf(a.files, q.Name)}
	if l.Kind != render.IsFile && l.Kind != render.IsFolder {
		_, err := fs.Stat(a.files, q.Name)
		l.StatError = faultOf(err)
	}
	var err error
	l.Real, err = render.RealPath(a.files, q.Name)
	l.RealError = faultOf(err)
	switch l.Kind {
	case render.IsFile:
		a.content(&l, q.Content)
	case render.IsFolder:
		if q.Entries {
			a.entries(&l)
		}
	}
	return l
}

// content adds the content of a file that the worker does not have.
func (a *answers) content(l *look, again bool) {
	l.Identity = render.IdentityOf(a.files, l.Name)
	if a.sent.has(l.Identity) && !again {
		return
	}
	if l.Size = a.size(l.Name); l.Size > a.limit {
		return
	}
	data, err := fs.ReadFile(a.files, l.Name)
	if err != nil {
		l.ReadError = faultOf(err)
		return
	}
	l.Content, l.HasContent, l.Size = data, true, int64(len(data))
	a.sent.add(l.Identity, l.Size, nil)
}

func (a *answers) entries(l *look) {
	entries, err := fs.ReadDir(a.files, l.Name)
	l.ListError = faultOf(err)
	for _, e := range entries {
		l.Entries = append(l.Entries, entry{e.Name(), e.Type()})
	}
	l.HasEntries = err == nil
}
