package render

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"
)

// shop is a repository where one overlay o reads a base, a component, a patch, files of generators, a plugin and a
// schema, and much stands beside that it does not read.
const shop = `-- o/kustomization.yaml --
resources: [../base, extra.yaml]
components: [../component]
patches: [{path: patch.yaml}]
configMapGenerator: [{name: settings, files: [settings.txt], envs: [settings.env]}]
transformers: [../plugins]
crds: [types.json]
-- o/extra.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: extra}
-- o/patch.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data: {patched: "yes"}
-- o/settings.txt --
one
-- o/settings.env --
A=1
-- o/types.json --
{}
-- o/notes.md --
not read
-- base/kustomization.yaml --
resources: [a.yaml]
-- base/a.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
-- base/unused.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: unused}
-- component/kustomization.yaml --
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
commonAnnotations: {team: data}
-- plugins/kustomization.yaml --
resources: [label.yaml]
-- plugins/label.yaml --
apiVersion: builtin
kind: LabelTransformer
metadata: {name: l}
labels: {tier: batch}
fieldSpecs: [{path: metadata/labels, create: true}]
-- other/kustomization.yaml --
resources: [../base]
namePrefix: other-
`

func TestReadSetChangesWithWhatWasRead(t *testing.T) {
	for name, c := range map[string]struct {
		before  func(fstest.MapFS) // makes shop what the build is of
		edit    func(fstest.MapFS)
		changed bool
	}{
		"nothing":                      {edit: func(fstest.MapFS) {}},
		"a file beside":                {edit: put("o/notes.md", "changed")},
		"a new file in its folder":     {edit: put("o/new.yaml", "a: b")},
		"a new file of a base":         {edit: put("base/new.yaml", "a: b")},
		"a file of a base, not listed": {edit: put("base/unused.yaml", "a: b")},
		"another overlay":              {edit: put("other/kustomization.yaml", "resources: [../base]")},
		"another overlay gone":         {edit: remove("other")},
		"a file nobody looks for":      {edit: put("o/kustomization.json", "{}")},
		"times and modes":              {edit: touch},

		"its kustomization":              {edit: add("o/kustomization.yaml", "namePrefix: x-\n"), changed: true},
		"its object":                     {edit: add("o/extra.yaml", "data: {a: b}\n"), changed: true},
		"a comment":                      {edit: add("o/extra.yaml", "# why\n"), changed: true},
		"its patch":                      {edit: add("o/patch.yaml", "# why\n"), changed: true},
		"a generator's file":             {edit: add("o/settings.txt", "two\n"), changed: true},
		"a generator's variables":        {edit: add("o/settings.env", "B=2\n"), changed: true},
		"its types":                      {edit: put("o/types.json", "{ }"), changed: true},
		"the base":                       {edit: add("base/a.yaml", "data: {a: b}\n"), changed: true},
		"the base's kustomization":       {edit: add("base/kustomization.yaml", "namePrefix: x-\n"), changed: true},
		"the component":                  {edit: add("component/kustomization.yaml", "namePrefix: x-\n"), changed: true},
		"the plugins' list":              {edit: add("plugins/kustomization.yaml", "# why\n"), changed: true},
		"a plugin":                       {edit: add("plugins/label.yaml", "# why\n"), changed: true},
		"a file gone":                    {edit: remove("o/extra.yaml"), changed: true},
		"the base gone":                  {edit: remove("base"), changed: true},
		"the overlay gone":               {edit: remove("o"), changed: true},
		"a file made a folder":           {edit: both(remove("o/extra.yaml"), put("o/extra.yaml/kustomization.yaml", "resources: [../settings.txt]")), changed: true},
		"a folder made a file":           {edit: both(remove("base"), put("base", configMap)), changed: true},
		"a second kustomization":         {edit: put("o/kustomization.yml", "resources: [extra.yaml]"), changed: true},
		"a third":                        {edit: put("o/Kustomization", "resources: [extra.yaml]"), changed: true},
		"a second one in the base":       {edit: put("base/kustomization.yml", "resources: [a.yaml]"), changed: true},
		"a folder called kustomization":  {edit: put("o/kustomization.yml/x", ""), changed: true},
		"a kustomization renamed":        {edit: move("o/kustomization.yaml", "o/kustomization.yml"), changed: true},
		"two files that change contents": {edit: both(move("o/extra.yaml", "x"), move("o/patch.yaml", "o/extra.yaml"), move("x", "o/patch.yaml")), changed: true},

		"a file that is missing still":           {before: remove("o/extra.yaml"), edit: put("o/notes.md", "changed")},
		"a file that was missing":                {before: remove("o/extra.yaml"), edit: put("o/extra.yaml", configMap), changed: true},
		"a base that is missing still":           {before: remove("base"), edit: put("bases/kustomization.yaml", "resources: [a.yaml]")},
		"a base that was missing":                {before: remove("base/kustomization.yaml"), edit: put("base/kustomization.yaml", "resources: [a.yaml]"), changed: true},
		"an overlay that is missing still":       {before: remove("o/kustomization.yaml"), edit: put("o/notes.md", "changed")},
		"an overlay that was missing":            {before: remove("o/kustomization.yaml"), edit: put("o/Kustomization", "resources: [extra.yaml]"), changed: true},
		"a folder that was missing":              {before: remove("o"), edit: put("o/kustomization.yaml", "resources: [../base]"), changed: true},
		"a fault that stands":                    {before: put("base/a.yaml", "a: ["), edit: put("o/notes.md", "changed")},
		"a fault that is mended":                 {before: put("base/a.yaml", "a: ["), edit: put("base/a.yaml", configMap), changed: true},
		"a fault instead of another":             {before: put("base/a.yaml", "a: ["), edit: put("base/a.yaml", "a: {"), changed: true},
		"a remote base that stands":              {before: put("o/kustomization.yaml", "resources: [https://example.com/x.yaml]"), edit: put("base/a.yaml", "a: b")},
		"a remote base that is taken out":        {before: put("o/kustomization.yaml", "resources: [https://example.com/x.yaml]"), edit: put("o/kustomization.yaml", "resources: [extra.yaml]"), changed: true},
		"a schema of its own, untouched":         {before: withSchema, edit: put("o/notes.md", "changed")},
		"a schema of its own":                    {before: withSchema, edit: put("o/schema.json", `{"definitions": {"x": {}}}`), changed: true},
		"a link, untouched":                      {before: link("o/extra.yaml", "../base/a.yaml"), edit: put("o/notes.md", "changed")},
		"a link whose file changes":              {before: both(link("o/extra.yaml", "../base/unused.yaml")), edit: add("base/unused.yaml", "data: {a: b}\n"), changed: true},
		"a link that leads elsewhere":            {before: link("o/extra.yaml", "../base/unused.yaml"), edit: link("o/extra.yaml", "notes.md"), changed: true},
		"a link that leads to the same":          {before: link("o/extra.yaml", "../base/unused.yaml"), edit: both(link("o/extra.yaml", "copy.yaml"), copyFile("base/unused.yaml", "o/copy.yaml"))},
		"a linked base that changes":             {before: both(move("base/a.yaml", "real/a.yaml"), move("base/kustomization.yaml", "real/kustomization.yaml"), remove("base"), link("base", "real")), edit: add("real/a.yaml", "data: {a: b}\n"), changed: true},
		"a file beside the files of linked base": {before: both(move("base/a.yaml", "real/a.yaml"), move("base/kustomization.yaml", "real/kustomization.yaml"), remove("base"), link("base", "real")), edit: put("real/b.yaml", "b")},
	} {
		for form, open := range forms {
			t.Run(name+", "+form, func(t *testing.T) {
				before := load(t, shop)
				if c.before != nil {
					c.before(before)
				}
				set, reads, err := BuildReading(open(before), "o")
				if c.before == nil && err != nil {
					t.Fatal(err)
				}
				text := outcome(t, set, err)
				after := maps.Clone(before)
				c.edit(after)
				if got := reads.Unchanged(open(after)); got == c.changed {
					t.Errorf("unchanged: %v", got)
				}
				if again, err := Build(open(after), "o"); !c.changed && outcome(t, again, err) != text {
					t.Errorf("nothing changed, and the build gives %s instead of %s", outcome(t, again, err), text)
				}
				if !reads.Unchanged(open(before)) {
					t.Error("the files that were built differ from themselves")
				}
			})
		}
	}
}

func TestReadSetOfNoBuild(t *testing.T) {
	if (ReadSet{}).Unchanged(load(t, shop)) {
		t.Error("nothing was read, and it is said to be unchanged")
	}
	_, reads, err := BuildReading(load(t, shop), "../o")
	if err == nil || !reads.Unchanged(fstest.MapFS{}) {
		t.Errorf("what no repository can have: %v", err)
	}
}

// Whichever file of the examples changes, the overlays that read it are rendered again, and no other.
func TestReadSetsOfTheExamples(t *testing.T) {
	files := load(t, "")
	if err := fs.WalkDir(os.DirFS(examples), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(os.DirFS(examples), name)
		files[name] = &fstest.MapFile{Data: data}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	sets, used := map[string]ReadSet{}, map[string]map[string]bool{}
	for _, overlay := range exampleOverlays(t) {
		watched := &watchedFS{files: files, read: map[string]bool{}}
		if _, err := Build(watched, overlay); err != nil {
			t.Fatal(err)
		}
		used[overlay] = watched.read
		if _, sets[overlay], _ = BuildReading(files, overlay); !sets[overlay].Unchanged(files) {
			t.Errorf("%s differs from itself", overlay)
		}
	}
	hits := 0
	for name := range files {
		longer, gone := maps.Clone(files), maps.Clone(files)
		longer[name] = &fstest.MapFile{Data: append(slices.Clone(files[name].Data), '\n')}
		delete(gone, name)
		for overlay, reads := range sets {
			if used[overlay][name] {
				hits++
			}
			if reads.Unchanged(longer) == used[overlay][name] || reads.Unchanged(gone) == used[overlay][name] {
				t.Errorf("%s: read: %v, and a change of %s says otherwise", overlay, used[overlay][name], name)
			}
		}
	}
	if hits <= len(sets) {
		t.Errorf("%d files were read for %d overlays", hits, len(sets))
	}
}

// watchedFS notes the files whose content is read.
type watchedFS struct {
	files fs.FS
	read  map[string]bool
}

func (w *watchedFS) Open(name string) (fs.File, error) {
	file, err := w.files.Open(name)
	if err != nil {
		return nil, err
	}
	if _, ok := file.(fs.ReadDirFile); ok {
		return file, nil
	}
	return watchedFile{file, func() { w.read[name] = true }}, nil
}

type watchedFile struct {
	fs.File
	note func()
}

func (f watchedFile) Read(b []byte) (int, error) {
	f.note()
	return f.File.Read(b)
}

func TestListingsAreRead(t *testing.T) {
	for what, ask := range map[string]func(files fs.FS) error{
		"a folder": func(files fs.FS) error { _, err := fs.ReadDir(files, "base"); return err },
		"a glob":   func(files fs.FS) error { _, err := fs.Glob(files, "base/*.yaml"); return err },
		"a walk": func(files fs.FS) error {
			return fs.WalkDir(files, "base", func(string, fs.DirEntry, error) error { return nil })
		},
		"no folder yet": func(files fs.FS) error { _, err := fs.Glob(files, "later/*.yaml"); return err },
	} {
		for form, open := range forms {
			files := load(t, shop)
			r := newRecorder(open(files))
			if err := ask(r); err != nil {
				t.Fatal(err)
			}
			for change, c := range map[string]struct {
				edit    func(fstest.MapFS)
				changed bool
			}{
				"content":   {put("base/a.yaml", "a: b"), false},
				"far away":  {put("o/new.yaml", "a: b"), false},
				"one more":  {both(put("base/new.yaml", "a: b"), put("later/new.yaml", "a: b")), true},
				"one other": {both(move("base/a.yaml", "base/b.yaml"), put("later/new.yaml", "a: b")), true},
				"a folder":  {both(remove("base/a.yaml"), put("base/a.yaml/x", ""), put("later/new.yaml", "a: b")), true},
			} {
				after := maps.Clone(files)
				c.edit(after)
				if got := r.reads.Unchanged(open(after)); got == c.changed {
					t.Errorf("%s, %s, %s: unchanged: %v", what, form, change, got)
				}
			}
		}
	}
}

// What fails for another reason than the files is built again.
func TestFaultsOfTheDiskAreNotKept(t *testing.T) {
	files := load(t, shop)
	for what, broken := range map[string]fs.FS{
		"a file that cannot be read": unreadableFS{files, "base/a.yaml"},
		"a panic":                    brokenFS{files, "base/a.yaml", nil},
	} {
		_, reads, err := BuildReading(broken, "o")
		if err == nil {
			t.Fatalf("%s: no error", what)
		}
		if reads.Unchanged(broken) || reads.Unchanged(files) {
			t.Errorf("%s is taken for what git says", what)
		}
	}
	stands := brokenFS{files, "base/a.yaml", errors.New("a link that leaves the repository")}
	if _, reads, err := BuildReading(stands, "o"); err == nil || !reads.Unchanged(stands) || reads.Unchanged(files) {
		t.Errorf("what git says is not kept, or too long: %v", err)
	}
}

// unreadableFS lacks the content of one file that it has.
type unreadableFS struct {
	fs.FS
	path string
}

func (u unreadableFS) Stat(name string) (fs.FileInfo, error) { return fs.Stat(u.FS, name) }

func (u unreadableFS) ReadFile(name string) ([]byte, error) {
	if name == u.path {
		return nil, errors.New("the disk is at fault")
	}
	return fs.ReadFile(u.FS, name)
}

// Whatever happens to a repository: where a read set says that nothing changed, a build gives the same.
func TestUnchangedRendersTheSame(t *testing.T) {
	asked, unchanged := 0, 0
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 0))
		files := load(t, shop)
		for range 12 {
			before := maps.Clone(files)
			edit := disturb(random, files)
			for _, overlay := range []string{"o", "base", "other"} {
				for form, open := range forms {
					set, reads, err := BuildReading(open(before), overlay)
					if asked++; !reads.Unchanged(open(files)) {
						continue
					}
					unchanged++
					was := outcome(t, set, err)
					set, err = Build(open(files), overlay)
					if is := outcome(t, set, err); is != was {
						t.Fatalf("seed %d, %s, %s, after %s: said to be unchanged, and gives\n%s\ninstead of\n%s", seed, overlay, form, edit, is, was)
					}
				}
			}
		}
	}
	if unchanged < asked/10 || unchanged > asked*9/10 {
		t.Errorf("%d of %d edits left a read set unchanged: too few of one sort to prove anything", unchanged, asked)
	}
}

// disturb changes a repository at random, most often into one that still renders.
func disturb(random *rand.Rand, files fstest.MapFS) string {
	names := slices.Sorted(maps.Keys(files))
	places := append(slices.Clone(names), "o/kustomization.yml", "base/Kustomization", "other/extra.yaml", "o", "base/a.yaml/x", "later/kustomization.yaml")
	name, other := places[random.IntN(len(places))], names[random.IntN(len(names))]
	from := files[other]
	if from.Mode&fs.ModeSymlink != 0 {
		return "nothing" // one more link to a link may close a loop, which fstest follows for ever
	}
	switch random.IntN(6) {
	case 0:
		remove(name)(files)
		return "removing " + name
	case 1:
		remove(name)(files)
		files[name] = from
		return "copying " + other + " to " + name
	case 2:
		if remove(name)(files); files[other] == nil {
			return "removing " + name
		}
		target := strings.Repeat("../", strings.Count(name, "/")) + other
		link(name, target)(files)
		return "linking " + name + " to " + target
	case 3:
		put(name, "resources: [../base/a.yaml, ../o/extra.yaml]\n")(files)
		return "listing in " + name
	default:
		add(other, "# more\n")(files)
		return "lengthening " + other
	}
}

// forms are files that have to be read to be compared, and files that know their content by name.
var forms = map[string]func(fstest.MapFS) fs.FS{
	"by content":  func(files fstest.MapFS) fs.FS { return files },
	"by identity": func(files fstest.MapFS) fs.FS { return namedFS{files} },
}

// namedFS knows its files by name, as git does.
type namedFS struct{ fstest.MapFS }

func (n namedFS) Identity(name string) (id string, folder bool, err error) {
	info, err := fs.Stat(n.MapFS, name)
	if err != nil {
		return "", false, err
	}
	if info.IsDir() {
		return "", true, nil
	}
	data, err := fs.ReadFile(n.MapFS, name)
	return fmt.Sprintf("%x", sha256.Sum256(data)), false, err
}

// outcome is what a build gave, as text.
func outcome(t *testing.T, set interface{ YAML() ([]byte, error) }, err error) string {
	t.Helper()
	if err != nil {
		return "error: " + err.Error()
	}
	text, err := set.YAML()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func load(t testing.TB, text string) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for _, file := range txtar.Parse([]byte(text)).Files {
		files[file.Name] = &fstest.MapFile{Data: file.Data, Mode: 0o644}
	}
	return files
}

func put(name, content string) func(fstest.MapFS) {
	return func(files fstest.MapFS) { files[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644} }
}

func add(name, content string) func(fstest.MapFS) {
	return func(files fstest.MapFS) {
		if at := files[name]; at != nil && at.Mode.IsRegular() {
			put(name, string(at.Data)+content)(files)
		}
	}
}

func link(name, target string) func(fstest.MapFS) {
	return func(files fstest.MapFS) {
		files[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
	}
}

func remove(name string) func(fstest.MapFS) {
	return func(files fstest.MapFS) {
		maps.DeleteFunc(files, func(file string, _ *fstest.MapFile) bool { return file == name || strings.HasPrefix(file, name+"/") })
	}
}

func copyFile(from, to string) func(fstest.MapFS) {
	return func(files fstest.MapFS) { files[to] = files[from] }
}

func move(from, to string) func(fstest.MapFS) {
	return func(files fstest.MapFS) {
		files[to] = files[from]
		delete(files, from)
	}
}

func both(edits ...func(fstest.MapFS)) func(fstest.MapFS) {
	return func(files fstest.MapFS) {
		for _, edit := range edits {
			edit(files)
		}
	}
}

func touch(files fstest.MapFS) {
	for name, file := range files {
		files[name] = &fstest.MapFile{Data: file.Data, Mode: 0o755, ModTime: file.ModTime.AddDate(1, 0, 0)}
	}
}

func withSchema(files fstest.MapFS) {
	put("o/kustomization.yaml", "resources: [extra.yaml]\nopenapi: {path: schema.json}\n")(files)
	put("o/schema.json", `{"definitions": {}}`)(files)
}
