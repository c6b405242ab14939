package v1alpha1

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const pipelineTop = "apiVersion: syncer.dev/v1alpha1\nkind: Pipeline\n"

func TestPipeline(t *testing.T) {
	pipeline, err := DecodePipeline("pipeline.yaml", []byte(pipelineTop+`
owner: data@example.com
images:
  fields:
  - {group: example.com, kind: Training, path: "spec.workers[*].image"}
environments:
  prod:
    owner: oncall@example.com
  dev:
    images: {fields: [{kind: Pod, path: 'metadata.annotations["example.com/image"]'}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	training := PipelineImages{Fields: []ImageField{{Group: "example.com", Kind: "Training", Path: "spec.workers[*].image"}}}
	for environment, want := range map[string]PipelineSettings{
		"prod":    {Owner: "oncall@example.com", Images: training},
		"staging": {Owner: "data@example.com", Images: training},
		"dev":     {Owner: "data@example.com", Images: PipelineImages{Fields: []ImageField{{Kind: "Pod", Path: `metadata.annotations["example.com/image"]`}}}},
	} {
		if diff := cmp.Diff(want, pipeline.For(environment), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", environment, diff)
		}
	}
}

func TestAnEmptyPipelineIsFine(t *testing.T) {
	pipeline, err := DecodePipeline("pipeline.yaml", []byte(pipelineTop))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(PipelineSettings{}, pipeline.For("prod"), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestPipelineErrors(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"empty":                  {"", []string{"p/pipeline.yaml: the file is empty", "`kind: Pipeline`"}},
		"unknown key":            {pipelineTop + "ovner: x\n", []string{"p/pipeline.yaml:3: ovner: unknown key; did you mean owner?"}},
		"unknown key of a field": {pipelineTop + "images:\n  fields:\n  - {knd: X}\n", []string{"p/pipeline.yaml:5: images.fields[0].knd: unknown key; did you mean kind?"}},
		"unknown override":       {pipelineTop + "environments:\n  prod:\n    ouner: x\n", []string{"p/pipeline.yaml:5: environments.prod.ouner: unknown key; did you mean owner?"}},
		"a Config":               {"apiVersion: syncer.dev/v1alpha1\nkind: Config\n", []string{`p/pipeline.yaml:2: kind: "Config" stands where Pipeline is expected`}},
		"field without a kind":   {pipelineTop + "images:\n  fields:\n  - {path: a}\n", []string{"p/pipeline.yaml:5: images.fields[0].kind: it is required"}},
		"field without a path":   {pipelineTop + "images:\n  fields:\n  - {kind: A}\n", []string{"p/pipeline.yaml:5: images.fields[0].path: it is required"}},
		"field of an override":   {pipelineTop + "environments:\n  b: {images: {fields: [{kind: A}]}}\n  a: {images: {fields: [{kind: A}]}}\n", []string{"p/pipeline.yaml:5: environments.a.images.fields[0].path", "\np/pipeline.yaml:4: environments.b.images.fields[0].path"}},
		"unknown policy":         {pipelineTop + "images: {policy: pin}\n", []string{`p/pipeline.yaml:3: images.policy: "pin" is not a policy; use Pin or Track`}},
		"select without a name":  {pipelineTop + "images:\n  select:\n  - {semver: 1.x}\n", []string{"p/pipeline.yaml:5: images.select[0].repository: it is required"}},
		"select without a range": {pipelineTop + "images:\n  select:\n  - {repository: a}\n", []string{`p/pipeline.yaml:5: images.select[0].semver: "" is not a range`}},
		"select by a word":       {pipelineTop + "environments:\n  prod:\n    images: {select: [{repository: a, semver: newest}]}\n", []string{`p/pipeline.yaml:5: environments.prod.images.select[0].semver: "newest" is not a range; write v1.4.x or >=1.4 <2`}},
		"refresh as a list":      {pipelineTop + "images:\n  refresh: [a]\n", []string{"p/pipeline.yaml:4: cannot unmarshal"}},
		"wrong type":             {pipelineTop + "images: []\n", []string{"p/pipeline.yaml:3: cannot unmarshal"}},
		"key twice":              {pipelineTop + "owner: a\nowner: b\n", []string{`p/pipeline.yaml:4: mapping key "owner" already defined at line 3`}},
		"environment twice":      {pipelineTop + "environments:\n  a: {}\n  a: {}\n", []string{`p/pipeline.yaml:5: mapping key "a" already defined at line 4`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodePipeline("p/pipeline.yaml", []byte(c.text))
			if err == nil {
				t.Fatal("taken")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in:\n%v", want, err)
				}
			}
			for range 5 {
				if _, again := DecodePipeline("p/pipeline.yaml", []byte(c.text)); again.Error() != err.Error() {
					t.Fatalf("a second reading says otherwise:\n%v\n%v", err, again)
				}
			}
		})
	}
}

func TestWhatDecidesDigests(t *testing.T) {
	pipeline, err := DecodePipeline("pipeline.yaml", []byte(pipelineTop+`
images:
  policy: Track
  select: [{repository: registry.example.com/job, semver: v1.4.x}]
  refresh: {registry.example.com/web:1: "one", registry.example.com/api:1: 2026-01-01}
environments:
  prod:
    images:
      policy: Pin
      select: []
      refresh: {registry.example.com/web:1: "two", registry.example.com/db:1: "1"}
`))
	if err != nil {
		t.Fatal(err)
	}
	// An override replaces the policy and the ranges, and adds to the refreshes: it is a commit about one reference.
	for environment, want := range map[string]PipelineImages{
		"dev": {
			Policy: Track, Select: []ImageSelect{{Repository: "registry.example.com/job", Semver: "v1.4.x"}},
			Refresh: map[string]string{"registry.example.com/web:1": "one", "registry.example.com/api:1": "2026-01-01"},
		},
		"prod": {
			Policy:  Pin,
			Refresh: map[string]string{"registry.example.com/web:1": "two", "registry.example.com/api:1": "2026-01-01", "registry.example.com/db:1": "1"},
		},
	} {
		for range 2 { // what one environment says does not stay for the next
			if diff := cmp.Diff(want, pipeline.For(environment).Images, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: %s", environment, diff)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(minimal)
	f.Add(pipelineTop + "environments: {a: {owner: x}}\n")
	f.Add("a: &a {b: *a}\n")
	f.Add("? [a]\n: {<<: *b}\n")
	f.Fuzz(func(t *testing.T, text string) {
		// Whatever a user writes is read or refused, and never a panic.
		if config, err := DecodeConfig("f", []byte(text)); err == nil && (config.Name == "" || len(config.Environments) == 0) {
			t.Errorf("taken: %q", text)
		}
		if _, err := DecodePipeline("f", []byte(text)); err != nil && err.Error() == "" {
			t.Error("an error that says nothing")
		}
	})
}
