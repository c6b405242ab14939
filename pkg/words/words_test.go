package words

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// repository returns files with texts.
func repository(texts map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range texts {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

func TestAnOverlayMayNameAnObjectThatItsFilesSpell(t *testing.T) {
	const overlay = "pipelines/b/overlays/dev"
	settings := manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "daily-settings"}
	const whole = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: daily-settings}\n"
	for name, c := range map[string]struct {
		files map[string]string
		id    manifest.ID
		want  string
	}{
		"a kustomization that is no YAML": {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nresources: [x.yaml", overlay + "/x.yaml": whole}, settings, overlay + "/x.yaml"},
		"an object that is no YAML":       {map[string]string{overlay + "/kustomization.yaml": "namespace: shop", overlay + "/x.yaml": "kind: ConfigMap\nmetadata: {name: daily-settings"}, settings, overlay + "/x.yaml"},
		"no kustomization":                {map[string]string{"pipelines/b/base/x.yaml": whole, overlay + "/patch.yaml": "namespace: shop"}, settings, "pipelines/b/base/x.yaml"},
		"no overlay":                      {map[string]string{"pipelines/b/base/x.yaml": "kind: ConfigMap\nmetadata: {name: daily-settings, namespace: shop}"}, settings, "pipelines/b/base/x.yaml"},
		"a prefix":                        {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nnamePrefix: daily-\nresources: [", overlay + "/x.yaml": "kind: ConfigMap\nmetadata: {name: settings}"}, settings, overlay + "/x.yaml"},
		"a suffix":                        {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nnameSuffix: -settings\nresources: [", overlay + "/x.yaml": "kind: ConfigMap\nmetadata: {name: daily}"}, settings, overlay + "/kustomization.yaml"},
		"JSON":                            {map[string]string{overlay + "/kustomization.json": `{"namespace":"shop"`, overlay + "/x.json": `{"kind":"ConfigMap","metadata":{"name":"daily-settings"}`}, settings, overlay + "/x.json"},
		"a generator": {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nconfigMapGenerator: [{name: daily-settings"},
			manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "daily-settings-5b2kft9bmc"}, overlay + "/kustomization.yaml"},
		"a list":            {map[string]string{overlay + "/x.yaml": "kind: ConfigMapList\nitems: [{metadata: {name: daily-settings, namespace: shop}}"}, settings, overlay + "/x.yaml"},
		"a role with marks": {map[string]string{overlay + "/x.yaml": "kind: ClusterRole\nmetadata: {name: 'shop:daily:reader'"}, manifest.ID{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: "shop:daily:reader"}, overlay + "/x.yaml"},
		"the default namespace": {map[string]string{overlay + "/x.yaml": whole},
			manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "default", Name: "daily-settings"}, overlay + "/x.yaml"},
		"a shared base":                   {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nresources: [../../../../shared/base, x", "shared/base/x.yaml": whole}, settings, "shared/base/x.yaml"},
		"a shared base with a wrong name": {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nresources: [../../../../shared/bsae]", "shared/base/x.yaml": whole}, settings, "shared/base/x.yaml"},
		"a folder with a wrong name":      {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nresources: [../../../../shraed/base]", "shared/base/x.yaml": whole}, settings, "shared/base/x.yaml"},
		"a path above the repository":     {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nresources: [../../../../../shared/base]", "shared/base/x.yaml": whole}, settings, "shared/base/x.yaml"},
		"a kustomization with a wrong name": {map[string]string{overlay + "/kustomisation.yml": "namespace: shop\nresources: [../../../../shared/x.yaml]", "shared/x.yaml": whole}, settings,
			"shared/x.yaml"},
		"a base of a base":                     {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nresources: [../../../../one", "one/kustomization.yaml": "resources: [../two]", "two/x.yaml": whole}, settings, "two/x.yaml"},
		"a remote base":                        {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nresources: ['https://git.example.com/x//base']"}, settings, overlay + "/kustomization.yaml"},
		"a pointer to LFS":                     {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nresources: [x.yaml]", overlay + "/x.yaml": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"}, settings, overlay + "/x.yaml"},
		"a remote base, and another namespace": {map[string]string{overlay + "/kustomization.yaml": "namespace: other\nresources: ['https://git.example.com/x//base']"}, settings, ""},
		"a remote address in a comment":        {map[string]string{overlay + "/kustomization.yaml": "  # yaml-language-server: $schema=https://json.schemastore.org/kustomization.json\nnamespace: shop\nresources: ["}, settings, ""},
		"data in LFS":                          {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nresources: [", overlay + "/data.parquet": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"}, settings, ""},
		"another name":                         {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nresources: [x.yaml", overlay + "/x.yaml": "kind: ConfigMap\nmetadata: {name: weekly-settings}"}, settings, ""},
		"another kind":                         {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nresources: [x.yaml", overlay + "/x.yaml": "kind: Secret\nmetadata: {name: daily-settings}"}, settings, ""},
		"another namespace":                    {map[string]string{overlay + "/kustomization.yaml": "namespace: other\nresources: [x.yaml", overlay + "/x.yaml": whole}, settings, ""},
		"another pipeline":                     {map[string]string{overlay + "/kustomization.yaml": "namespace: shop\nresources: [", "pipelines/a/x.yaml": whole}, settings, ""},
	} {
		if got := Of(repository(c.files), "pipelines/b", overlay).MayName(c.id); got != c.want {
			t.Errorf("%s: %q instead of %q", name, got, c.want)
		}
	}
}

func TestWordsAreReadThroughLinksOnce(t *testing.T) {
	files := repository(map[string]string{
		"pipelines/b/kustomization.yaml": "namespace: shop\nresources: [", "shared/x.yaml": "kind: ConfigMap\nmetadata: {name: settings}", "data/big.csv": "kind: ConfigMap",
	})
	files["pipelines/b/link"] = &fstest.MapFile{Data: []byte("../../shared"), Mode: fs.ModeSymlink}
	files["pipelines/b/loop"] = &fstest.MapFile{Data: []byte("."), Mode: fs.ModeSymlink}
	files["pipelines/b/lost"] = &fstest.MapFile{Data: []byte("nowhere"), Mode: fs.ModeSymlink}
	found := Of(files, "pipelines/b")
	if got := found.MayName(manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "settings"}); got != "shared/x.yaml" {
		t.Errorf("%q", got)
	}
	if found.outside != "" {
		t.Errorf("not read: %s", found.outside)
	}
}

// unreadableFiles have one file, or folder, that cannot be read.
type unreadableFiles struct {
	fstest.MapFS
	name string
}

func (u unreadableFiles) ReadFile(name string) ([]byte, error) {
	if name == u.name {
		return nil, errors.New("the object is lost")
	}
	return u.MapFS.ReadFile(name)
}

func (u unreadableFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == u.name {
		return nil, errors.New("this is a submodule")
	}
	return u.MapFS.ReadDir(name)
}

func TestAFileThatCannotBeReadMayNameEveryObjectOfTheNamespace(t *testing.T) {
	for _, name := range []string{"pipelines/b/x.yaml", "pipelines/b/sub"} {
		files := unreadableFiles{repository(map[string]string{
			"pipelines/b/kustomization.yaml": "namespace: shop", "pipelines/b/x.yaml": "", "pipelines/b/sub/y.yaml": "",
		}), name}
		found := Of(files, "pipelines/b")
		if got := found.MayName(manifest.ID{APIVersion: "v1", Kind: "Secret", Namespace: "shop", Name: "any"}); got != name {
			t.Errorf("%s: %q", name, got)
		}
		if got := found.MayName(manifest.ID{APIVersion: "v1", Kind: "Secret", Namespace: "other", Name: "any"}); got != "" {
			t.Errorf("%s: in another namespace: %q", name, got)
		}
	}
}

func TestWhatIsTooMuchToReadMayNameEveryObjectOfTheNamespace(t *testing.T) {
	const overlay = "pipelines/b/overlays/dev"
	texts := map[string]string{overlay + "/kustomization.yaml": "namespace: shop\n"}
	large := strings.Repeat("a ", mostText/2+1)
	for i := range 2 {
		texts[fmt.Sprintf("%s/x%d.yaml", overlay, i)] = large
	}
	id := manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "settings"}
	if at := Of(repository(texts), "pipelines/b", overlay).MayName(id); at != overlay+"/x1.yaml" {
		t.Errorf("%q may name it", at)
	}
}
