package render

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// linkedTree holds each name twice: where a path leads on a disk, and where it would lead if links were only names.
const linkedTree = `
-- envs/prod/v1/kustomization.yaml --
resources: [../base, own.yaml]
configMapGenerator:
- {name: generated, files: [../data.txt]}
generatorOptions: {disableNameSuffixHash: true}
-- envs/prod/v1/own.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: own}, data: {from: envs/prod/v1}}
-- envs/prod/base/kustomization.yaml --
resources: [cm.yaml]
-- envs/prod/base/cm.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: base}, data: {from: envs/prod/base}}
-- envs/prod/data.txt --
envs/prod
-- envs/prod/extra.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: extra}, data: {from: envs/prod}}
-- envs/prod/component/kustomization.yaml --
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
- path: ../label.yaml
  target: {kind: ConfigMap}
-- envs/prod/label.yaml --
- {op: add, path: /metadata/labels, value: {from: envs-prod}}
-- envs/prod/plugins/kustomization.yaml --
resources: [../prefix.yaml]
-- envs/prod/prefix.yaml --
{apiVersion: builtin, kind: PrefixTransformer, metadata: {name: p}, prefix: prod-, fieldSpecs: [{path: metadata/name}]}
-- overlays/base/kustomization.yaml --
resources: [cm.yaml]
-- overlays/base/cm.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: base}, data: {from: overlays/base}}
-- overlays/data.txt --
overlays
-- overlays/extra.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: extra}, data: {from: overlays}}
-- overlays/label.yaml --
- {op: add, path: /metadata/labels, value: {from: overlays}}
-- overlays/prefix.yaml --
{apiVersion: builtin, kind: PrefixTransformer, metadata: {name: p}, prefix: overlays-, fieldSpecs: [{path: metadata/name}]}
-- .base/kustomization.yaml --
resources: [.hidden/cm.yaml]
-- .base/.hidden/cm.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: base}, data: {from: .base}}
-- base/kustomization.yaml --
resources: [cm.yaml]
-- base/cm.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: base}, data: {from: base}}
`

// The kustomize command on a checked-out tree is the judge of what links and hidden folders mean.
func TestLinksAreWhatKustomizeTakesThemFor(t *testing.T) {
	t.Parallel()
	kubectl := kubectlBinary(t)
	for name, edits := range map[string]func(fstest.MapFS){
		"the overlay is a link": link("overlays/dev", "../envs/prod/v1"),
		"the overlay is a link to a link": both(
			link("overlays/dev", "newest"), link("overlays/newest", "../envs/prod/current"), link("envs/prod/current", "v1")),
		"the overlay lies in a folder that is a link": both(
			link("overlays", "envs/prod"), remove("overlays/base"), remove("overlays/data.txt"), remove("overlays/extra.yaml"),
			remove("overlays/label.yaml"), remove("overlays/prefix.yaml"), link("envs/prod/dev", "v1")),
		"a base is a link": both(
			put("overlays/dev/kustomization.yaml", "resources: [prod]\n"), link("overlays/dev/prod", "../../envs/prod/v1")),
		"a base lies in a folder that is a link": both(
			put("overlays/dev/kustomization.yaml", "resources: [prod/v1]\n"), link("overlays/dev/prod", "../../envs/prod")),
		"a path goes through a link and up again": both(
			put("overlays/dev/kustomization.yaml", "resources: [prod/../../base]\n"), link("overlays/dev/prod", "../../envs/prod/v1")),
		"files are links": both(
			put("overlays/dev/kustomization.yaml", "resources: [cm.yaml]\nconfigMapGenerator: [{name: g, files: [data.txt], envs: [env]}]\n"),
			put("envs/env", "A=1\n"), link("overlays/dev/env", "../../envs/env"),
			link("overlays/dev/cm.yaml", "again.yaml"), link("overlays/dev/again.yaml", "../../envs/prod/extra.yaml"), link("overlays/dev/data.txt", "../../envs/prod/data.txt")),
		"the kustomization is a link": both(
			link("overlays/dev/kustomization.yaml", "../../envs/prod/v1/kustomization.yaml"), link("overlays/dev/own.yaml", "../extra.yaml")),
		"a component is a link": both(
			put("overlays/dev/kustomization.yaml", "resources: [../base]\ncomponents: [component]\n"), link("overlays/dev/component", "../../envs/prod/component")),
		"a folder of plugins is a link": both(
			put("overlays/dev/kustomization.yaml", "resources: [../base]\ntransformers: [plugins]\n"), link("overlays/dev/plugins", "../../envs/prod/plugins")),
		"a hidden folder is the base":           put("overlays/dev/kustomization.yaml", "resources: [../../.base]\n"),
		"a link leads to a hidden folder":       both(put("overlays/dev/kustomization.yaml", "resources: [base]\n"), link("overlays/dev/base", "../../.base")),
		"the overlay is hidden":                 link("overlays/dev", "../.base"),
		"a link leads to the whole repository":  both(put("kustomization.yaml", "resources: [.base]\n"), link("overlays/dev", "..")),
		"one folder is a base by two paths":     both(put("overlays/dev/kustomization.yaml", "resources: [a]\nnamePrefix: x-\n"), put("a/kustomization.yaml", "resources: [../.base]\n"), link("overlays/dev/a", "../../a")),
		"a base is a link to a link in a base":  both(put("overlays/dev/kustomization.yaml", "resources: [../../a]\n"), put("a/kustomization.yaml", "resources: [b]\n"), link("a/b", "../c"), link("c", "envs/prod/v1")),
		"the text of a link is not in its form": link("overlays/dev", ".././envs//prod/v1/"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := load(t, linkedTree)
			edits(files)
			dir := t.TempDir()
			if err := os.CopyFS(dir, files); err != nil {
				t.Fatal(err)
			}
			sameAsCommand(t, kubectl, dir, "overlays/dev")
			onDisk, inMemory := renderYAML(t, os.DirFS(dir), "overlays/dev"), renderYAML(t, boundedFS{files}, "overlays/dev")
			if string(onDisk) != string(inMemory) {
				t.Errorf("in memory\n%s\non disk\n%s", inMemory, onDisk)
			}
		})
	}
}

func TestLinksThatCannotBeFollowed(t *testing.T) {
	t.Parallel()
	kubectl := kubectlBinary(t)
	for name, test := range map[string]struct {
		edits func(fstest.MapFS)
		want  string
	}{
		"out of the repository":            {link("overlays/dev", "../../elsewhere"), "leaves the repository"},
		"out of the repository and back":   {both(put("overlays/dev/kustomization.yaml", "resources: [base]\n"), link("overlays/dev/base", "../../../none/base")), "leaves the repository"},
		"an absolute path":                 {both(put("overlays/dev/kustomization.yaml", "resources: [base]\n"), link("overlays/dev/base", "/none/base")), "leaves the repository"},
		"a loop of two":                    {both(link("overlays/dev", "stage"), link("overlays/stage", "dev")), "is it a loop?"},
		"a link to itself":                 {both(put("overlays/dev/kustomization.yaml", "resources: [base]\n"), link("overlays/dev/base", "base")), "is it a loop?"},
		"to nothing":                       {both(put("overlays/dev/kustomization.yaml", "resources: [base]\n"), link("overlays/dev/base", "../../none")), "there is no file or folder overlays/dev/base"},
		"a base that contains the overlay": {both(put("overlays/dev/kustomization.yaml", "resources: [base]\n"), put("overlays/kustomization.yaml", "resources: [base]\n"), link("overlays/dev/base", "..")), "cycle detected"},
		"a base that is the overlay":       {both(put("overlays/dev/kustomization.yaml", "resources: [../again]\n"), link("overlays/again", "dev")), "cycle detected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := load(t, linkedTree)
			test.edits(files)
			dir := filepath.Join(t.TempDir(), "repo")
			if err := os.CopyFS(dir, files); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), kubectl, "kustomize", filepath.Join(dir, "overlays/dev")).CombinedOutput(); err == nil {
				t.Fatalf("the kustomize command renders it:\n%s", out)
			}
			if _, err := Build(boundedFS{files}, "overlays/dev"); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want something about %q", err, test.want)
			}
		})
	}
}

// boundedFS refuses links as git's files do: fstest follows a loop until it runs out of memory.
type boundedFS struct{ fstest.MapFS }

func (b boundedFS) RealPath(name string) (string, error) { return RealPath(b.MapFS, name) }

func (b boundedFS) Open(name string) (fs.File, error) {
	real, err := b.RealPath(name)
	if err != nil {
		return nil, err
	}
	return b.MapFS.Open(real)
}

func (b boundedFS) Stat(name string) (fs.FileInfo, error)      { return fs.Stat(opened{b}, name) }
func (b boundedFS) ReadFile(name string) ([]byte, error)       { return fs.ReadFile(opened{b}, name) }
func (b boundedFS) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(opened{b}, name) }

// opened is files that can be opened and nothing else.
type opened struct{ fs.FS }

func TestReadSetSeesWhereLinksLead(t *testing.T) {
	t.Parallel()
	files := load(t, linkedTree)
	link("overlays/dev", "../envs/prod/v1")(files)
	// The same kustomization, but another base beside it.
	for _, name := range []string{"kustomization.yaml", "own.yaml"} {
		copyFile("envs/prod/v1/"+name, "envs/stage/v1/"+name)(files)
	}
	for _, name := range []string{"base/kustomization.yaml", "base/cm.yaml", "data.txt"} {
		copyFile("overlays/"+name, "envs/stage/"+name)(files)
	}
	_, reads, err := BuildReading(files, "overlays/dev")
	if err != nil {
		t.Fatal(err)
	}
	if !reads.Unchanged(files) {
		t.Error("the very same files are said to have changed")
	}
	link("overlays/dev", "../envs/stage/v1")(files)
	if reads.Unchanged(files) {
		t.Error("the overlay links to another folder, and nothing is said to have changed")
	}
}
