package render

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// named are files that name their content, as git's do.
type named struct{ fstest.MapFS }

func (n named) Identity(name string) (string, bool, error) {
	info, err := fs.Stat(n.MapFS, name)
	if err != nil {
		return "", false, err
	}
	if !info.IsDir() {
		data, err := fs.ReadFile(n.MapFS, name)
		return digest(data), false, err
	}
	var all strings.Builder
	entries, err := fs.ReadDir(n.MapFS, name)
	for _, entry := range entries {
		below := strings.TrimPrefix(name+"/"+entry.Name(), "./")
		id, _, _ := n.Identity(below)
		if entry.Type()&fs.ModeSymlink != 0 {
			id = string(n.MapFS[below].Data)
		}
		all.WriteString(entry.Name() + entry.Type().String() + id)
	}
	return digest([]byte(all.String())), true, err
}

func namedFiles(contents map[string]string) named {
	files := fstest.MapFS{}
	for name, content := range contents {
		files[name] = &fstest.MapFile{Data: []byte(content)}
		if to, ok := strings.CutPrefix(content, "->"); ok {
			files[name] = &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink}
		}
	}
	return named{files}
}

func TestChangesAreThePathsThatDifferWithTheirFolders(t *testing.T) {
	before := map[string]string{"a/x": "1", "a/y": "1", "b/c/z": "1", "b/d/w": "1", "l": "->a"}
	for name, c := range map[string]struct {
		change map[string]string // "" is gone
		paths  string
	}{
		"nothing":                 {nil, ""},
		"a file":                  {map[string]string{"a/x": "2"}, "a/x"},
		"a file is new":           {map[string]string{"b/c/q": "2"}, "b/c b/c/q"},
		"a folder is gone":        {map[string]string{"b/c/z": ""}, "b b/c b/c/z"},
		"a folder is new":         {map[string]string{"n/m/o": "2"}, ". n n/m n/m/o"},
		"a file becomes a folder": {map[string]string{"a/x": "", "a/x/y": "2"}, "a a/x a/x/y"},
	} {
		after := maps.Clone(before)
		for path, content := range c.change {
			if after[path] = content; content == "" {
				delete(after, path)
			}
		}
		got := ChangesBetween(namedFiles(before), namedFiles(after))
		if paths := strings.Join(slices.Sorted(maps.Keys(got.paths)), " "); paths != c.paths || !got.known {
			t.Errorf("%s: %s", name, cmp.Diff(c.paths, paths))
		}
	}
}

func TestFilesWithoutIdentitiesMayHaveChangedAnywhere(t *testing.T) {
	files := load(t, shop)
	_, reads, err := BuildReading(files, "o")
	if err != nil {
		t.Fatal(err)
	}
	if !ChangesBetween(files, files).MayTouch(reads) {
		t.Error("nothing is known of the files, and yet they did not change")
	}
}

// Whatever changes in a repository: where the changes do not touch a build, its reads are unchanged.
func TestChangesThatDoNotTouchABuildLeaveItsReadsUnchanged(t *testing.T) {
	contents := map[string]string{}
	for name, file := range load(t, shop) {
		contents[name] = string(file.Data)
	}
	before := namedFiles(contents)
	_, reads, err := BuildReading(before, "o")
	if err != nil {
		t.Fatal(err)
	}
	touched := 0
	try := func(what string, after map[string]string) {
		files := namedFiles(after)
		if ChangesBetween(before, files).MayTouch(reads) {
			touched++
		} else if !reads.Unchanged(files) {
			t.Errorf("%s: the reads changed", what)
		}
	}
	names := slices.Sorted(maps.Keys(contents))
	for _, name := range names {
		changed, gone := maps.Clone(contents), maps.Clone(contents)
		changed[name] += "\n# changed"
		delete(gone, name)
		try("changed "+name, changed)
		try("gone "+name, gone)
	}
	for _, name := range []string{"o/kustomization.yml", "base/kustomization.yml", "new/file", "o/new", "plugins/new", "component"} {
		added := maps.Clone(contents)
		added[name] = "new"
		try("added "+name, added)
	}
	if all := 2*len(names) + 6; touched == 0 || touched > all-4 {
		t.Errorf("%d of %d changes touch the build", touched, all)
	}
}

func TestReadsThroughLinks(t *testing.T) {
	plain := map[string]string{"o/kustomization.yaml": "resources: [a.yaml]", "o/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"}
	linked := maps.Clone(plain)
	linked["o/a.yaml"], linked["shared/a.yaml"] = "->../shared/a.yaml", plain["o/a.yaml"]
	for name, c := range map[string]struct {
		contents map[string]string
		want     bool
	}{"plain": {plain, false}, "a link": {linked, true}} {
		files := namedFiles(c.contents)
		_, reads, err := BuildReading(files, "o")
		if err != nil {
			t.Fatal(err)
		}
		if got := reads.ThroughLinks(files); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A new link gives content to paths below it that a build asked for, and which are not among those that differ.
func TestALinkThatDiffersMayTouchEveryBuild(t *testing.T) {
	before := map[string]string{"o/kustomization.yaml": "resources: [../components/x]\n", "shared/x/kustomization.yaml": "namePrefix: a\n"}
	_, reads, err := BuildReading(namedFiles(before), "o")
	if err == nil || !reads.Decides() {
		t.Fatalf("%v, and decides: %v", err, reads.Decides())
	}
	for name, link := range map[string]map[string]string{"a new one": {"components": "->shared"}, "another target": {"l": "->shared"}} {
		old, after := maps.Clone(before), maps.Clone(before)
		old["l"] = "->o"
		maps.Copy(after, link)
		if !ChangesBetween(namedFiles(old), namedFiles(after)).MayTouch(reads) {
			t.Errorf("%s: the build is taken for unchanged", name)
		}
	}
}
