package render

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

const lfsFile = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

func TestPointersAreRefused(t *testing.T) {
	t.Parallel()
	block := "|\n" + indented(lfsFile)
	for name, test := range map[string]struct {
		kustomization string
		file          string // x.yaml; a pointer without one
		want          string
	}{
		"file of a ConfigMap":      {kustomization: "configMapGenerator: [{name: g, files: [x.yaml]}]\n", want: "o/x.yaml: "},
		"keyed file of a Secret":   {kustomization: "secretGenerator: [{name: g, files: [key=x.yaml]}]\n", want: "o/x.yaml: "},
		"envs of a ConfigMap":      {kustomization: "configMapGenerator: [{name: g, envs: [x.yaml]}]\n", want: "o/x.yaml: "},
		"old specification":        {kustomization: "configMapGenerator: [{name: g, files: [x.yaml]}]\n", file: strings.Replace(lfsFile, "git-lfs.github", "hawser.github", 1), want: "o/x.yaml: "},
		"extended":                 {kustomization: "configMapGenerator: [{name: g, files: [x.yaml]}]\n", file: strings.Replace(lfsFile, "oid", "ext-0-crypt sha256:"+strings.Repeat("a", 64)+"\noid", 1), want: "o/x.yaml: "},
		"line ends of Windows":     {kustomization: "configMapGenerator: [{name: g, files: [x.yaml]}]\n", file: strings.ReplaceAll(lfsFile, "\n", "\r\n"), want: "o/x.yaml: "},
		"resource":                 {kustomization: "resources: [x.yaml]\n", want: "o/x.yaml: "},
		"patch":                    {kustomization: "resources: [cm.yaml]\npatches: [{path: x.yaml}]\n", want: "o/x.yaml: "},
		"strategic merge patch":    {kustomization: "resources: [cm.yaml]\npatchesStrategicMerge: [x.yaml]\n", want: "o/x.yaml: "},
		"JSON patch":               {kustomization: "resources: [cm.yaml]\npatches: [{path: x.yaml, target: {kind: ConfigMap}}]\n", want: "o/x.yaml: "},
		"replacement":              {kustomization: "resources: [cm.yaml]\nreplacements: [{path: x.yaml}]\n", want: "o/x.yaml: "},
		"transformer":              {kustomization: "resources: [cm.yaml]\ntransformers: [x.yaml]\n", want: "o/x.yaml: "},
		"schema":                   {kustomization: "resources: [cm.yaml]\nopenapi: {path: x.yaml}\n", want: "o/x.yaml: "},
		"definitions":              {kustomization: "resources: [cm.yaml]\ncrds: [x.yaml]\n", want: "o/x.yaml: "},
		"kustomization":            {kustomization: lfsFile, want: "o/kustomization.yaml: "},
		"kustomization of a base":  {kustomization: "resources: [../base]\n", want: "base/kustomization.yaml: "},
		"literal":                  {kustomization: "configMapGenerator:\n- name: g\n  literals:\n  - |-\n    k=" + strings.ReplaceAll(lfsFile, "\n", "\n    ") + "\n", want: `data["k"]`},
		"data of a ConfigMap":      {kustomization: "resources: [x.yaml]\n", file: configMap + "data:\n  k: " + block, want: `ConfigMap/a: data["k"]: `},
		"binary data":              {kustomization: "resources: [x.yaml]\n", file: configMap + "binaryData: {k: " + encoded(lfsFile) + "}\n", want: `ConfigMap/a: binaryData["k"]: `},
		"data of a Secret":         {kustomization: "resources: [x.yaml]\n", file: secret + "data: {k: " + encoded(lfsFile) + "}\n", want: `Secret/a: data["k"]: `},
		"text of a Secret":         {kustomization: "resources: [x.yaml]\n", file: secret + "stringData:\n  k: " + block, want: `Secret/a: stringData["k"]: `},
		"inline patch to its data": {kustomization: "resources: [cm.yaml]\npatches:\n- patch: |\n" + indented(configMap+"data:\n  k: "+block), want: `ConfigMap/a: data["k"]: `},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := load(t, "-- o/cm.yaml --\n"+configMap+"-- base/kustomization.yaml --\n"+lfsFile)
			put("o/kustomization.yaml", test.kustomization)(files)
			if test.file == "" {
				test.file = lfsFile
			}
			put("o/x.yaml", test.file)(files)
			_, err := Build(files, "o")
			if !errors.Is(err, ErrPointer) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "4d7a214614ab") {
				t.Errorf("%v, want %q and %v", err, test.want, ErrPointer)
			}
		})
	}
}

func TestNoPointers(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty":                 "",
		"text about pointers":   "A pointer is:\n" + lfsFile,
		"pointer and more":      lfsFile + "more: data\n",
		"version alone":         "version https://git-lfs.github.com/spec/v1\n",
		"attributes":            "*.bin filter=lfs diff=lfs merge=lfs -text\n",
		"long":                  lfsFile + strings.Repeat(" ", longestPointer),
		"another specification": strings.Replace(lfsFile, "git-lfs.github.com", "example.com", 1),
	} {
		if IsPointer(content) {
			t.Errorf("%s is taken for a pointer", name)
		}
	}
	files := load(t, "-- o/kustomization.yaml --\nconfigMapGenerator: [{name: g, files: [x]}]\n")
	put("o/x", "A pointer is:\n"+lfsFile)(files)
	put("o/not-read", lfsFile)(files)
	if _, err := Build(files, "o"); err != nil {
		t.Error(err)
	}
}

const secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n"

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ") + "\n"
}
