package render

import (
	"cmp"
	"io/fs"
	"path"
)

// Changes are the paths at which two trees of files differ.
type Changes struct {
	paths map[string]bool // also those of the folders whose entries are other ones
	known bool            // false: the files do not name their content, or cannot be read, or links differ
}

// ChangesBetween compares two trees of files. It goes only into folders that differ, so that it costs what differs. Files that
// do not name their content, such as those of a folder on disk, are not compared.
func ChangesBetween(before, after fs.FS) Changes {
	c := Changes{paths: map[string]bool{}}
	one, ok := before.(identified)
	other, also := after.(identified)
	if ok && also {
		d := difference{before: side{before, one}, after: side{after, other}, paths: c.paths}
		c.known = d.compare(".") == nil && !d.links
	}
	return c
}

// None reports whether there are surely no changes.
func (c Changes) None() bool { return c.known && len(c.paths) == 0 }

// MayTouch reports whether a build over the files after the changes may read something else than it read before. The reads
// are those of a build over the files before the changes. It does not know what is read through links; see ThroughLinks.
func (c Changes) MayTouch(s ReadSet) bool {
	if !c.known || !s.sure {
		return true
	}
	for _, asked := range []map[string]string{s.probed, s.read, s.listed, s.real} {
		if c.meets(asked) {
			return true
		}
	}
	return false
}

func (c Changes) meets(asked map[string]string) bool {
	if len(asked) < len(c.paths) {
		for name := range asked {
			if c.paths[name] {
				return true
			}
		}
		return false
	}
	for name := range c.paths {
		if _, ok := asked[name]; ok {
			return true
		}
	}
	return false
}

// ThroughLinks reports whether a path that a build read leads through a symbolic link. What such a build reads stands at other
// paths than those that it asked for.
func (s ReadSet) ThroughLinks(files fs.FS) bool {
	plain := map[string]bool{".": true}
	for _, asked := range []map[string]string{s.probed, s.read, s.listed, s.real} {
		for name := range asked {
			if !isPlain(files, name, plain) {
				return true
			}
		}
	}
	return false
}

// ThroughLink reports whether a path leads through a symbolic link.
func ThroughLink(files fs.FS, name string) bool {
	return !isPlain(files, name, map[string]bool{".": true})
}

// isPlain reports whether neither a path nor a folder above it is a link. It keeps the paths that are plain.
func isPlain(files fs.FS, name string, plain map[string]bool) bool {
	if plain[name] {
		return true
	}
	if !isPlain(files, path.Dir(name), plain) {
		return false
	}
	info, err := fs.Lstat(files, name)
	plain[name] = err != nil || info.Mode()&fs.ModeSymlink == 0
	return plain[name]
}

// side is one of two trees of files.
type side struct {
	files fs.FS
	known identified
}

func (s side) identity(name string) (string, error) {
	id, _, err := s.known.Identity(name)
	return id, err
}

// target is the text of a link.
func (s side) target(name string) (string, error) { return fs.ReadLink(s.files, name) }

// difference collects the paths at which two trees differ.
type difference struct {
	before, after side
	paths         map[string]bool
	links         bool // a link differs: a path through it may lead elsewhere, without a path that was asked for among those that differ
}

// compare adds a folder that differs, and what differs in it.
func (d *difference) compare(folder string) error {
	one, _, err := d.before.known.Identity(folder)
	other, _, errAfter := d.after.known.Identity(folder)
	if err = cmp.Or(err, errAfter); err != nil || one == other {
		return err
	}
	before, err := entriesOf(d.before.files, folder)
	if err != nil {
		return err
	}
	after, err := entriesOf(d.after.files, folder)
	if err != nil {
		return err
	}
	for name, was := range before {
		if err := d.entry(path.Join(folder, name), was, after[name]); err != nil {
			return err
		}
	}
	for name, is := range after {
		if before[name] == nil {
			d.paths[folder] = true
			if err := d.all(d.after, path.Join(folder, name), is); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry compares an entry of a folder; after is nil where it is gone.
func (d *difference) entry(name string, before, after fs.DirEntry) error {
	switch {
	case after == nil:
		d.paths[path.Dir(name)] = true
		return d.all(d.before, name, before)
	case before.Type() != after.Type():
		d.paths[path.Dir(name)] = true
		if err := d.all(d.before, name, before); err != nil {
			return err
		}
		return d.all(d.after, name, after)
	case before.IsDir():
		return d.compare(name)
	}
	content := side.identity
	if before.Type()&fs.ModeSymlink != 0 {
		content = side.target
	}
	one, err := content(d.before, name)
	other, errAfter := content(d.after, name)
	if one != other {
		d.paths[name] = true
		d.links = d.links || before.Type()&fs.ModeSymlink != 0
	}
	return cmp.Or(err, errAfter)
}

// all adds a path and everything below it.
func (d *difference) all(of side, name string, entry fs.DirEntry) error {
	d.paths[name] = true
	d.links = d.links || entry.Type()&fs.ModeSymlink != 0
	if !entry.IsDir() {
		return nil
	}
	entries, err := entriesOf(of.files, name)
	if err != nil {
		return err
	}
	for below, entry := range entries {
		if err := d.all(of, path.Join(name, below), entry); err != nil {
			return err
		}
	}
	return nil
}

func entriesOf(files fs.FS, folder string) (map[string]fs.DirEntry, error) {
	entries, err := fs.ReadDir(files, folder)
	out := make(map[string]fs.DirEntry, len(entries))
	for _, entry := range entries {
		out[entry.Name()] = entry
	}
	return out, err
}
