package render

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"

// guarded runs build with a listening server and with a git and a helm that betray themselves, and fails when any of
// them was used.
func guarded(t *testing.T, build func(url string)) {
	t.Helper()
	var hits atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		fmt.Fprint(w, configMap)
	}))
	defer server.Close()
	bin := t.TempDir()
	for _, name := range []string{"git", "helm", "docker", "bash"} {
		script := "#!/bin/sh\n: > " + filepath.Join(bin, "called-"+name) + "\nexit 1\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	build(server.URL)
	if n := hits.Load(); n > 0 {
		t.Errorf("the server was asked %d times", n)
	}
	called, err := filepath.Glob(filepath.Join(bin, "called-*"))
	if err != nil || len(called) > 0 {
		t.Errorf("programs were started: %v %v", called, err)
	}
}

// Every place from which kustomize could fetch, with URL standing for a server that listens. The remote reference is
// on the line of the kustomization that has the mark.
func TestRemoteReferencesAreRefused(t *testing.T) {
	places := map[string]string{
		"resource":              "resources:\n- a.yaml\n- URL/x.yaml #!\n",
		"base":                  "resources:\n- a.yaml\nbases:\n- URL/org/repo #!\n",
		"component":             "components:\n- URL/org/repo #!\n",
		"crd":                   "resources: [a.yaml]\ncrds:\n- URL/crd.json #!\n",
		"configuration":         "resources: [a.yaml]\nconfigurations:\n- URL/config.yaml #!\n",
		"patch path":            "resources: [a.yaml]\npatches:\n- target: {kind: ConfigMap}\n  path: URL/p.yaml #!\n",
		"strategic patch":       "resources: [a.yaml]\npatchesStrategicMerge:\n- URL/p.yaml #!\n",
		"patch with a brace":    "resources: [a.yaml]\npatchesStrategicMerge:\n- 'URL/{p}' #!\n",
		"JSON patch":            "resources: [a.yaml]\npatchesJson6902:\n- target: {version: v1, kind: ConfigMap, name: a}\n  path: URL/p.yaml #!\n",
		"replacement":           "resources: [a.yaml]\nreplacements:\n- path: URL/r.yaml #!\n",
		"file of a ConfigMap":   "configMapGenerator:\n- name: x\n  files:\n  - URL/f #!\n",
		"keyed file":            "configMapGenerator:\n- name: x\n  files:\n  - key=URL/f #!\n",
		"envs of a ConfigMap":   "configMapGenerator:\n- name: x\n  envs:\n  - URL/f #!\n",
		"env of a ConfigMap":    "configMapGenerator:\n- name: x\n  env: URL/f #!\n",
		"file of a Secret":      "secretGenerator:\n- name: x\n  files:\n  - key=URL/f #!\n",
		"envs of a Secret":      "secretGenerator:\n- name: x\n  envs: [URL/f] #!\n",
		"openapi":               "resources: [a.yaml]\nopenapi:\n  path: URL/schema.json #!\n",
		"generator":             "generators:\n- URL/g.yaml #!\n",
		"transformer":           "resources: [a.yaml]\ntransformers:\n- URL/g.yaml #!\n",
		"validator":             "resources: [a.yaml]\nvalidators:\n- URL/g.yaml #!\n",
		"key in another case":   "Resources:\n- a.yaml\n- URL/x.yaml #!\n",
		"key twice":             "resources: [a.yaml]\nResources: [a.yaml]\nresourceſ:\n- URL/x.yaml #!\n",
		"apiVersion twice":      "apiVersion: v1\napiVersion: kustomize.config.k8s.io/v1beta1\nresources:\n- URL/x.yaml #!\n",
		"behind an anchor":      "x-y: &a [URL/x.yaml]\nresources: *a\n",
		"alias":                 "commonAnnotations: {a: &a URL/x.yaml} #!\nresources: [*a]\n",
		"merge":                 "metadata: &m {name: x}\nopenapi:\n  <<: {path: URL/s.json} #!\n",
		"binary":                "resources:\n- !!binary BASE64URL/x.yaml #!\n",
		"JSON":                  `{"resources": ["a.yaml", "URL/x.yaml"]}` + " #!\n",
		"leading space":         "resources:\n- '  URL/org/repo' #!\n",
		"trailing newline":      "resources:\n- \"URL/org/repo\\n\" #!\n",
		"plugin with a newline": "generators:\n- \"git@example.com:a/b: {\\n\" #!\n",
		"upper case":            "resources:\n- UPPERURL/org/repo #!\n",
		"query":                 "resources:\n- URL/org/repo?ref=v1 #!\n",
		"https":                 "resources:\n- https://127.0.0.1:1/org/repo #!\n",
		"ssh":                   "resources:\n- ssh://git@127.0.0.1:1/org/repo #!\n",
		"file scheme":           "resources:\n- file:///org/repo #!\n",
		"git::":                 "resources:\n- git::https://127.0.0.1:1/org/repo #!\n",
		"git@":                  "resources:\n- git@127.0.0.1:org/repo #!\n",
		"user@ with .git":       "resources:\n- someone@127.0.0.1:repo.git #!\n",
		"github.com":            "resources:\n- github.com/org/repo?ref=v1 #!\n",
		"GitHub.com, by colon":  "components:\n- GitHub.com:org/repo #!\n",
		"inline PatchTransformer": "resources: [a.yaml]\ntransformers:\n- |- #!\n  apiVersion: builtin\n  kind: PatchTransformer\n" +
			"  metadata: {name: p}\n  target: {kind: ConfigMap}\n  Path: URL/p.yaml\n",
		"inline ConfigMapGenerator": "generators:\n- |- #!\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: p}\n  files: [k=URL/f]\n",
		"inline with a merge":       "generators:\n- |- #!\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: p}\n  <<: {envs: [URL/f]}\n",
		"inline binary":             "generators:\n- |- #!\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: p}\n  envs: [!!binary BASE64URL/f]\n",
		"plugin file":               "transformers: #\n- plugin.yaml #!\n",
		"plugin folder":             "transformers:\n- ../plugins #!\n",
		"plugins that are computed": "transformers:\n- ../computed #!\n",
	}
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			guarded(t, func(url string) {
				fill := func(text string) string {
					i := strings.Index(text, "BASE64")
					if i >= 0 {
						rest := text[i+len("BASE64"):]
						tail := strings.FieldsFunc(strings.TrimPrefix(rest, "URL"), func(r rune) bool { return strings.ContainsRune(" ]#\n", r) })[0]
						text = strings.Replace(text, "BASE64URL"+tail, base64.StdEncoding.EncodeToString([]byte(url+tail)), 1)
					}
					text = strings.ReplaceAll(text, "UPPERURL", strings.Replace(url, "http", "HTTP", 1))
					return strings.ReplaceAll(text, "URL", url)
				}
				plugin := "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: p}\ntarget: {kind: ConfigMap}\npath: "
				_, err := Build(tree(t, fill("-- p/o/kustomization.yaml --\n"+place+
					"-- p/o/a.yaml --\n"+configMap+
					"-- p/o/plugin.yaml --\n"+plugin+"URL/p.yaml\n"+
					"-- p/plugins/kustomization.yaml --\nresources: [p.yaml]\n"+
					"-- p/plugins/p.yaml --\n"+strings.Replace(plugin, "builtin", `"b\u0075iltin"`, 1)+"URL/p.yaml\n"+
					"-- p/computed/kustomization.yaml --\nresources: [p.yaml]\npatches: [{target: {kind: PatchTransformer}, patch: '[{\"op\": \"replace\", \"path\": \"/path\", \"value\": \"URL/p.yaml\"}]'}]\n"+
					"-- p/computed/p.yaml --\n"+plugin+"local.yaml\n")), "p/o")
				if err == nil {
					t.Fatal("the reference was followed")
				}
				if name == "behind an anchor" {
					return // kustomize allows no unknown key that could hold the anchor
				}
				if !strings.Contains(err.Error(), " is remote") && name != "plugins that are computed" {
					t.Errorf("got %v", err)
				}
				line := 1 + strings.Count(place[:strings.Index(place, "#!")], "\n")
				if want := fmt.Sprintf("p/o/kustomization.yaml:%d: ", line); !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not name %s: %v", want, err)
				}
			})
		})
	}
}

func TestRemoteReferenceOfABaseNamesTheBase(t *testing.T) {
	guarded(t, func(url string) {
		_, err := Build(tree(t, "-- o/kustomization.yaml --\nresources: [../b]\n-- b/kustomization.yaml --\nresources:\n- "+url+"/x.yaml\n"), "o")
		if err == nil || !strings.Contains(err.Error(), "b/kustomization.yaml:2: resources: "+url+"/x.yaml is remote") {
			t.Errorf("got %v", err)
		}
	})
}

func TestProgramsAreRefused(t *testing.T) {
	for name, place := range map[string]string{
		"helmCharts":                  "resources: [a.yaml]\nhelmCharts: #!\n- name: x\n  repo: https://charts.example.com\n",
		"helmCharts in another case":  "HelmCharts: [{name: x}] #!\n",
		"helmChartInflationGenerator": "helmChartInflationGenerator: [{chartName: x}] #!\n",
		"HelmChartInflationGenerator": "generators:\n- |- #!\n  apiVersion: builtin\n  kind: HelmChartInflationGenerator\n  metadata: {name: x}\n  name: x\n",
		"plugin of another group":     "generators:\n- plugin.yaml #!\n",
		"inline plugin":               "transformers:\n- |- #!\n  apiVersion: someteam.example.com/v1\n  kind: Chart\n  metadata: {name: x}\n",
		"exec function":               "transformers:\n- exec.yaml #!\n",
		"container function":          "validators:\n- container.yaml #!\n",
		"a list of plugins":           "generators:\n- list.yaml #!\n",
		"plugin with broken YAML":     "generators:\n- |- #!\n  apiVersion: [\n",
		"plugin that is not there":    "generators:\n- nowhere.yaml #!\n",
		"folder of no plugins":        "generators:\n- ../empty #!\n",
	} {
		t.Run(name, func(t *testing.T) {
			guarded(t, func(string) {
				function := func(run string) string {
					return "apiVersion: example.com/v1\nkind: Fn\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      " + run + "\n"
				}
				_, err := Build(tree(t, "-- o/kustomization.yaml --\n"+place+
					"-- o/a.yaml --\n"+configMap+
					"-- o/plugin.yaml --\napiVersion: someteam.example.com/v1\nkind: Chart\nmetadata: {name: x}\n"+
					"-- o/exec.yaml --\n"+function("exec: {path: ./run.sh}")+
					"-- o/container.yaml --\n"+function("container: {image: example.com/fn}")+
					"-- o/list.yaml --\napiVersion: v1\nkind: List\nitems: [{apiVersion: example.com/v1, kind: Fn, metadata: {name: x}}]\n"+
					"-- empty/x --\n"), "o")
				line := 1 + strings.Count(place[:strings.Index(place, "#!")], "\n")
				if want := fmt.Sprintf("o/kustomization.yaml:%d: ", line); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want one that names %s", err, want)
				}
			})
		})
	}
}

// Names that look remote and are not.
func TestLocalNamesAreNotRemote(t *testing.T) {
	_, err := Build(tree(t, `
-- o/kustomization.yaml --
resources: [config@v1.yaml, ../github.com.d]
configMapGenerator:
- name: x
  files: [logo@2x.png, "key=a@b/c/d.txt"]
  literals: ["url=https://example.com/x", "git=git@example.com:a/b.git"]
commonAnnotations: {source: "https://example.com/a.git"}
-- o/config@v1.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: a, annotations: {config.kubernetes.io/function: "only a note here"}}
data: {path: "https://example.com", files: "http://example.com/builtin"}
-- o/logo@2x.png --
-- o/a@b/c/d.txt --
-- github.com.d/kustomization.yaml --
resources: [b.yaml]
-- github.com.d/b.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: b}
`), "o")
	if err != nil {
		t.Error(err)
	}
}
