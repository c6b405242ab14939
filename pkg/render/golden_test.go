package render

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/syncerdev/syncer/pkg/manifest"
)

var update = flag.Bool("update", false, "rewrite want.yaml in testdata/*.txtar")

// Each archive is a repository whose overlay is overlay/, and holds what that renders to in want.yaml.
func TestGolden(t *testing.T) {
	for _, file := range archives(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := cut(archive, "want.yaml")
			got := renderYAML(t, repo(t, archive), "overlay")
			if again := renderYAML(t, repo(t, archive), "overlay"); !bytes.Equal(got, again) {
				t.Errorf("two builds differ:\n%s", cmp.Diff(string(got), string(again)))
			}
			if *update {
				archive.Files = append(archive.Files, txtar.File{Name: "want.yaml", Data: got})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("want.yaml is not what the overlay renders to (-want +got); run with -update if it should be:\n%s", diff)
			}
		})
	}
}

// The kustomize command inside kubectl is the judge of what an overlay means. It orders objects for the API server,
// so that objects are compared by identity.
func TestSameAsKustomizeCommand(t *testing.T) {
	kubectl := kubectlBinary(t)
	for _, file := range archives(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := os.CopyFS(dir, repo(t, archive)); err != nil {
				t.Fatal(err)
			}
			sameAsCommand(t, kubectl, dir, "overlay")
		})
	}
	for _, overlay := range exampleOverlays(t) {
		t.Run(overlay, func(t *testing.T) {
			t.Parallel()
			sameAsCommand(t, kubectl, examples, overlay)
		})
	}
}

func TestExamplesRender(t *testing.T) {
	overlays := exampleOverlays(t)
	if len(overlays) == 0 {
		t.Fatalf("%s has no overlays", examples)
	}
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			t.Parallel()
			if set, err := Build(os.DirFS(examples), overlay); err != nil || len(set) == 0 {
				t.Fatalf("%d objects, %v", len(set), err)
			}
		})
	}
}

const examples = "../../examples"

func exampleOverlays(t *testing.T) []string {
	t.Helper()
	overlays, err := fs.Glob(os.DirFS(examples), "pipelines/*/overlays/*")
	if err != nil {
		t.Fatal(err)
	}
	return overlays
}

func archives(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives in testdata: %v", err)
	}
	return files
}

// cut takes a file out of an archive.
func cut(archive *txtar.Archive, name string) []byte {
	for i, file := range archive.Files {
		if file.Name == name {
			archive.Files = append(archive.Files[:i], archive.Files[i+1:]...)
			return file.Data
		}
	}
	return nil
}

func repo(t *testing.T, archive *txtar.Archive) fs.FS {
	t.Helper()
	files, err := txtar.FS(archive)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// tree is a repository written as a txtar archive.
func tree(t *testing.T, text string) fs.FS {
	t.Helper()
	return repo(t, txtar.Parse([]byte(text)))
}

func renderYAML(t *testing.T, files fs.FS, overlay string) []byte {
	t.Helper()
	set, err := Build(files, overlay)
	if err != nil {
		t.Fatal(err)
	}
	out, err := set.YAML()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// kubectlBinary is the one that `make controlplane` builds.
func kubectlBinary(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("SYNCER_BIN")
	if bin == "" {
		bin = "../../bin"
	}
	kubectl, err := filepath.Abs(filepath.Join(bin, "controlplane", "kubectl"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(kubectl); err != nil {
		t.Fatalf("no kubectl to compare with: %v; run `make controlplane`", err)
	}
	return kubectl
}

func sameAsCommand(t *testing.T, kubectl, dir, overlay string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), kubectl, "kustomize", "--load-restrictor", "LoadRestrictionsNone", filepath.Join(dir, overlay))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kubectl kustomize: %v\n%s", err, &stderr)
	}
	set, err := Build(os.DirFS(dir), overlay)
	if err != nil {
		t.Fatal(err)
	}
	want := map[manifest.Key]map[string]any{}
	decoder := k8syaml.NewYAMLOrJSONDecoder(bytes.NewReader(out), 4096)
	for {
		obj := &unstructured.Unstructured{}
		if decoder.Decode(obj) != nil {
			break
		}
		sameManager(obj)
		want[manifest.IDOf(obj).Key()] = obj.Object
	}
	if len(want) == 0 {
		t.Fatal("the command gave no objects")
	}
	got := map[manifest.Key]map[string]any{}
	for _, obj := range set {
		got[manifest.IDOf(obj).Key()] = obj.Object
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("differs from the kustomize command (-command +syncer):\n%s", diff)
	}
}

// sameManager overlooks which version of kustomize the command is.
func sameManager(obj *unstructured.Unstructured) {
	if labels := obj.GetLabels(); strings.HasPrefix(labels[konfig.ManagedbyLabelKey], "kustomize-v") {
		labels[konfig.ManagedbyLabelKey] = managedBy
		obj.SetLabels(labels)
	}
}
