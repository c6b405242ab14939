package view

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/record"
)

// A row is marked where environments run different bytes under one tag, however the tag is written and whatever else
// they run of the repository.
func TestRowsThatDifferAreMarked(t *testing.T) {
	long := strings.NewReplacer("sha256:x", "sha256:"+strings.Repeat("a", 64), "sha256:y", "sha256:"+strings.Repeat("b", 64))
	for name, c := range map[string]struct {
		deployed []string // ENVIRONMENT REFERENCE DIGEST, in the order of environments
		want     []string // REPOSITORY, with ! where it is marked
	}{
		"the same bytes":                      {[]string{"dev r.io/a:1 x", "prod r.io/a:1 x"}, []string{"r.io/a"}},
		"other bytes":                         {[]string{"dev r.io/a:1 x", "prod r.io/a:1 y"}, []string{"r.io/a!"}},
		"another tag":                         {[]string{"dev r.io/a:2 y", "prod r.io/a:1 x"}, []string{"r.io/a"}},
		"no tag is latest":                    {[]string{"dev r.io/a x", "prod r.io/a:latest y"}, []string{"r.io/a!"}},
		"another spelling":                    {[]string{"dev docker.io/team/a:1 x", "prod team/a:1 y"}, []string{"index.docker.io/team/a!"}},
		"digests without a tag":               {[]string{"dev r.io/a@sha256:x sha256:x", "prod r.io/a@sha256:y sha256:y"}, []string{"r.io/a"}},
		"a tag beside a digest":               {[]string{"dev r.io/a:1 sha256:x", "prod r.io/a:1@sha256:y sha256:y"}, []string{"r.io/a!"}},
		"two tags in one, the second differs": {[]string{"dev r.io/a:1 x", "dev r.io/a:2 y", "prod r.io/a:2 z"}, []string{"r.io/a!", "r.io/a!"}},
		"two tags in the last":                {[]string{"dev r.io/a:1 x", "prod r.io/a:1 x", "prod r.io/a:2 y"}, []string{"r.io/a", "r.io/a"}},
		"another repository":                  {[]string{"dev r.io/a:1 x", "prod r.io/b:1 y"}, []string{"r.io/a", "r.io/b"}},
	} {
		var rows []ImageRow
		for _, deployed := range c.deployed {
			f := strings.Fields(long.Replace(deployed))
			rows = add(rows, f[0], nil, drift.Image{Reference: f[1], Digest: f[2]})
		}
		mark(rows)
		var got []string
		for _, row := range rows {
			got = append(got, row.Repository+strings.Repeat("!", map[bool]int{true: 1}[row.Differs]))
		}
		slices.Sort(got)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A daemon compares images as the command does, from what it publishes of the records.
func TestImagesOfAView(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC))
	a, b := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	recorded := func(name, environment string, history []v1alpha1.Deployment, pins ...v1alpha1.PinnedImage) *v1alpha1.PipelineSync {
		r := &v1alpha1.PipelineSync{}
		r.Spec.Pipeline, r.Spec.Environment, r.Spec.Images, r.Status.History = name, environment, pins, history
		return r
	}
	ran := func(outcome string, images ...v1alpha1.DeployedImage) v1alpha1.Deployment {
		return v1alpha1.Deployment{Outcome: outcome, Images: images}
	}
	one, two := v1alpha1.DeployedImage{Reference: "r.io/a:1", Digest: a}, v1alpha1.DeployedImage{Reference: "r.io/a:2", Digest: b}
	ranged := v1alpha1.DeployedImage{Reference: "r.io/ranged", Tag: "v1.4.7", Digest: a}
	records := []*v1alpha1.PipelineSync{ // sorted as the command has them
		recorded("etl", "dev", []v1alpha1.Deployment{ran(record.HeldInPart, two), ran(record.Failed, two), ran(record.Applied, one, ranged), ran(record.Applied, two)},
			v1alpha1.PinnedImage{Reference: "r.io/a:1", Digest: a, ResolvedAt: at, Commit: "c1"},
			v1alpha1.PinnedImage{Reference: "r.io/ranged", Tag: "v1.4.7", Digest: a, ResolvedAt: at, Commit: "c2"}),
		recorded("etl", "prod", []v1alpha1.Deployment{ran(record.Applied, two, v1alpha1.DeployedImage{Reference: "r.io/a:1", Digest: b}, v1alpha1.DeployedImage{Reference: "{{ image }}"})}),
		recorded("report", "dev", nil),
	}
	v := &View{}
	for _, r := range records {
		r.Status.Unpinned = []v1alpha1.UnpinnedValue{{Path: "spec.task", Reference: "r.io/" + r.Spec.Pipeline + ":1"}}
		v.Targets = append([]Target{OfRecord(r, -1)}, v.Targets...) // the configuration has another order
	}
	want := v.Images(v1alpha1.Selection{})
	if row := want.Pipelines[0].Images[0]; len(want.Pipelines) != 2 || row.Repository != "r.io/a" || !row.Differs || row.Environments["dev"].Commit != "c1" {
		t.Errorf("it compared nothing: %+v", want)
	}
	some := v.Images(v1alpha1.Selection{Pipelines: []string{"etl"}, Environments: []string{"prod"}})
	if len(some.Pipelines) != 1 || len(some.Pipelines[0].Images[0].Environments) != 1 {
		t.Errorf("the selection gives %+v", some)
	}
	if none := (&View{}).Images(v1alpha1.Selection{}); none.Pipelines == nil {
		t.Error("the list is null")
	}
}
