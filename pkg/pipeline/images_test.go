package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
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
			rows = add(rows, f[0], nil, v1alpha1.DeployedImage{Reference: f[1], Digest: f[2]})
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

// A rule for signatures is not escaped by a template.
func TestTemplatesAreNotSigned(t *testing.T) {
	w := &work{
		environment: &v1alpha1.Environment{Images: v1alpha1.ImagePolicy{Signatures: []v1alpha1.Signature{{Match: "registry.example.com/*", PublicKeyFile: "key.pub"}}}},
		refs: []image.Reference{
			{Path: "spec.a", Value: "registry.example.com/a:{{tag}}", Form: image.Template},
			{Path: "spec.b", Value: "other.example.com/a:{{tag}}", Form: image.Template},
			{Path: "spec.c", Value: "{{image}}", Form: image.Template},
		},
	}
	err := (&carrier{Runner: &Runner{}}).verify(t.Context(), w, nil, decision{})
	refused, ok := errors.AsType[*image.RefusedError](err)
	if !ok || refused.Path != "spec.a" || !strings.Contains(fmt.Sprint(err), "spec.c: {{image}} is refused: images.signatures") || strings.Contains(fmt.Sprint(err), "spec.b") {
		t.Errorf("got %v", err)
	}
}
