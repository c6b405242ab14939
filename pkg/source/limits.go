package source

import (
	"cmp"
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/go-git/go-billy/v5/util"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/syncerdev/syncer/pkg/gitfiles"
	"github.com/syncerdev/syncer/pkg/gitserver"
)

// Limits bound what a repository and its server may have syncer receive, keep and read. 0 is the default.
type Limits struct {
	Refs          int   // that a server lists
	RefBytes      int64 // of that list
	Redirects     int   // of an HTTP server
	PackBytes     int64 // of the objects of one fetch, as they are sent
	Objects       int   // of one fetch
	ObjectBytes   int64 // of one object, inflated: larger files are not received where the server can leave them out, and not read
	InflatedBytes int64 // of the objects of one fetch, inflated
	Files         int   // of one commit
	CacheBytes    int64 // of a cache folder, from which it is fetched anew
	MemoryBytes   int64 // of objects that are kept in memory
}

// DefaultLimits are those of Open.
func DefaultLimits() Limits {
	server := gitserver.DefaultLimits()
	return Limits{
		Refs: server.Refs, RefBytes: server.RefBytes, Redirects: server.Redirects,
		PackBytes: server.PackBytes, Objects: 1_000_000, ObjectBytes: 32 << 20, InflatedBytes: 8 << 30,
		Files: 1_000_000, CacheBytes: 2 << 30, MemoryBytes: 256 << 20,
	}
}

// orDefaults takes the default for each limit that is 0.
func (l Limits) orDefaults() Limits {
	d := DefaultLimits()
	return Limits{
		Refs: cmp.Or(l.Refs, d.Refs), RefBytes: cmp.Or(l.RefBytes, d.RefBytes), Redirects: cmp.Or(l.Redirects, d.Redirects),
		PackBytes: cmp.Or(l.PackBytes, d.PackBytes), Objects: cmp.Or(l.Objects, d.Objects),
		ObjectBytes: cmp.Or(l.ObjectBytes, d.ObjectBytes), InflatedBytes: cmp.Or(l.InflatedBytes, d.InflatedBytes),
		Files: cmp.Or(l.Files, d.Files), CacheBytes: cmp.Or(l.CacheBytes, d.CacheBytes), MemoryBytes: cmp.Or(l.MemoryBytes, d.MemoryBytes),
	}
}

// inMemory are the limits of a cache in memory.
func (l Limits) inMemory() Limits {
	l.PackBytes = min(l.PackBytes, l.MemoryBytes)
	return l
}

func (l Limits) ofServer() gitserver.Limits {
	s := gitserver.DefaultLimits()
	s.Refs, s.RefBytes, s.Redirects, s.PackBytes = l.Refs, l.RefBytes, l.Redirects, l.PackBytes
	return s
}

func (l Limits) ofFiles() gitfiles.Limits {
	return gitfiles.Limits{ObjectBytes: l.ObjectBytes, Files: l.Files}
}

// filter has a server leave out the files that are larger than an object may be, where it can.
func (c *cache) filter(request *packp.UploadPackRequest, adv *packp.AdvRefs) error {
	if c.plain || !adv.Capabilities.Supports(capability.Filter) {
		return nil
	}
	if err := request.Capabilities.Set(capability.Filter); err != nil {
		return err
	}
	request.Filter = packp.FilterBlobLimit(uint64(c.limits.ObjectBytes)+1, packp.BlobLimitPrefixNone)
	return nil
}

// gapsFile says in a cache folder that files may be missing, and above which size.
const gapsFile = "syncer-gaps"

// allowGaps notes that files may be missing in the cache, before they are.
func (c *cache) allowGaps() error {
	if c.store.MayHaveGaps() {
		return nil
	}
	if err := util.WriteFile(c.disk, gapsFile, []byte(strconv.FormatInt(c.limits.ObjectBytes, 10)), 0o600); err != nil {
		return gitserver.LocalError{Err: err}
	}
	c.store.AllowGaps()
	return nil
}

// recallGaps reads what an earlier process noted. A cache without the files that the limit now allows is not used.
func (c *cache) recallGaps() error {
	text, err := util.ReadFile(c.disk, gapsFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(text)) != strconv.FormatInt(c.limits.ObjectBytes, 10) {
		return errors.New("the limit of an object was another one")
	}
	c.store.AllowGaps()
	return nil
}
