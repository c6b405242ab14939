package origin

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/syncerdev/syncer/pkg/render"
)

const timedTree = `
-- base/kustomization.yaml --
resources: [a.yaml]
commonLabels: {from: base}
-- base/a.yaml --
apiVersion: example.com/v1
kind: Training
metadata: {name: t}
spec:
  stamp: 2024-01-02 03:04:05
  day: 2024-01-02
  quoted: "2024-01-02"
  full: 2024-01-02T03:04:05Z
  quotedFull: "2024-01-02T00:00:00Z"
  zone: 2024-01-02T03:04:05+02:00
  fraction: 2024-01-02T03:04:05.000Z
  tagged: !!str 2024-01-02
  clock: 12:30:45
  month: 2024-01
  list: [2023-12-31, "2023-12-31"]
  replaced: 2022-01-01
  anchored: &day
    2020-02-02
  aliased: *day
---
apiVersion: v1
kind: ConfigMap
metadata: {name: json}
data: {day: 2024-01-02, gone: 2024-01-02}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: fine}
data: {day: "2024-01-02T00:00:00Z"}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {expires: 2031-05-06}
-- o/kustomization.yaml --
resources: [../base]
patches:
- patch: |
    apiVersion: example.com/v1
    kind: Training
    metadata: {name: t}
    spec:
      patched: 2024-06-07
      replaced: "2022-01-01"
- path: patch.yaml
- target: {kind: ConfigMap, name: json}
  patch: |
    - {op: remove, path: /data/gone}
    - {op: add, path: /data/added, value: 2024-08-08}
configMapGenerator:
- name: generated
  literals: [day=2024-01-02]
  files: [day.txt]
generatorOptions: {disableNameSuffixHash: true}
-- o/day.txt --
2024-01-02T00:00:00Z
-- o/patch.yaml --
apiVersion: v1
kind: ConfigMap
metadata:
  name: fine
data:
  other: 2025-01-01
`

func TestTimesWithoutQuotesAreWarnedOf(t *testing.T) {
	t.Parallel()
	files := load(t, timedTree)
	set, reads, err := render.BuildReading(files, "o")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Training/t: spec.aliased: 2020-02-02 without quotes is a time in YAML and arrives as 2020-02-02T00:00:00Z; quote it (base/a.yaml:19, spec.anchored at base/a.yaml:17, spec.day at base/a.yaml:6, and 4 more)",
		"ConfigMap/json: data.day: 2024-01-02 without quotes is a time in YAML and arrives as 2024-01-02T00:00:00Z; quote it (base/a.yaml:24)",
		"ConfigMap/fine: data.other: 2025-01-01 without quotes is a time in YAML and arrives as 2025-01-01T00:00:00Z; quote it (o/patch.yaml:6)",
		"Secret/login: stringData.expires: a value without quotes is a time in YAML and arrives in another form; quote it (base/a.yaml:34)",
	}
	if diff := cmp.Diff(want, Warnings(files, "o", set, reads)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// One by one, since a warning names no more than three places.
func TestEachTimeIsPlaced(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"stamp: 2024-01-02 03:04:05":              "2024-01-02 03:04:05 without quotes is a time in YAML and arrives as 2024-01-02T03:04:05Z; quote it (o/a.yaml:5)",
		"fraction: 2024-01-02T03:04:05.000Z":      "2024-01-02T03:04:05.000Z without quotes is a time in YAML and arrives as 2024-01-02T03:04:05Z; quote it (o/a.yaml:5)",
		"short: 2024-1-2":                         "2024-1-2 without quotes is a time in YAML and arrives as 2024-01-02T00:00:00Z; quote it (o/a.yaml:5)",
		"lower: 2001-12-14t21:59:43.10-05:00":     "2001-12-14t21:59:43.10-05:00 without quotes is a time in YAML and arrives as 2001-12-14T21:59:43.1-05:00; quote it (o/a.yaml:5)",
		"list: [a, 2024-01-02]":                   "spec.list[1]: 2024-01-02 without quotes is a time in YAML and arrives as 2024-01-02T00:00:00Z; quote it (o/a.yaml:5)",
		"list:\n  - 2024-01-02":                   "; quote it (o/a.yaml:6)",
		"list:\n  - name: x\n    day: 2024-01-02": "spec.list[name=x].day: 2024-01-02 without quotes",
		`list: [{a: 2024-01-02}]`:                 "spec.list[0].a: 2024-01-02 without quotes",
		"folded:\n    2024-01-02":                 "; quote it (o/a.yaml:6)",
		`quoted: "2024-01-02"`:                    "",
		"full: 2024-01-02T03:04:05Z":              "",
		"zone: 2024-01-02T03:04:05+02:00":         "",
		"clock: 12:30:45":                         "",
		"month: 2024-01":                          "",
		"text: 2024-01-02 is a day":               "",
		"block: |\n    2024-01-02T00:00:00Z":      "",
		"spaced: 2024-01-02 03:04:05 +2":          "",
	} {
		files := load(t, "-- o/kustomization.yaml --\nresources: [a.yaml]\n")
		files["o/a.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: example.com/v1\nkind: T\nmetadata: {name: t}\nspec:\n  " + line + "\n")}
		set, reads, err := render.BuildReading(files, "o")
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(Warnings(files, "o", set, reads), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: warned %q, want %q", line, got, want)
		}
	}
}

func load(t testing.TB, text string) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for _, file := range txtar.Parse([]byte(text)).Files {
		files[file.Name] = &fstest.MapFile{Data: file.Data, Mode: 0o644}
	}
	return files
}
