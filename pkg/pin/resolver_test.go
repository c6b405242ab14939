package pin

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

var errSilent = errors.New("the registry does not answer")

// byDigest is a reference that names the very bytes.
var byDigest = "db@sha256:" + strings.Repeat("d", 64)

// The digest of a reference, and what the record keeps of it.
func TestDecide(t *testing.T) {
	deployments := 20
	at := metav1.NewTime(now.Add(-time.Hour))
	recorded := v1alpha1.PinnedImage{Reference: "web:1", Digest: "old", ResolvedAt: at, Commit: "c1", LastDeployment: 1}
	with := func(changes ...func(*v1alpha1.PinnedImage)) v1alpha1.PinnedImage {
		pin := recorded
		for _, change := range changes {
			change(&pin)
		}
		return pin
	}
	seen := func(digest string) func(*v1alpha1.PinnedImage) {
		return func(p *v1alpha1.PinnedImage) { p.Seen = digest }
	}
	unused := func(p *v1alpha1.PinnedImage) { p.UnusedSince = &at }
	for name, c := range map[string]struct {
		policy   v1alpha1.PinPolicy
		images   v1alpha1.PipelineImages
		refs     []string // web:1 when nil
		pins     []v1alpha1.PinnedImage
		failed   map[string]error
		frozen   bool
		digest   string // of the first reference
		asked    string
		moved    string
		kept     string
		pinned   string // the digests of the pins
		mismatch string // a part of the error
	}{
		"new":                            {digest: "sha256:web", asked: "web:1", pinned: "sha256:web"},
		"new, and not in the registry":   {refs: []string{"gone:1"}, asked: "gone:1", mismatch: "spec.image: resolving gone:1: the registry has no such image"},
		"new, and not what it says":      {failed: map[string]error{"web:1@sha256:web": image.ErrMismatch}, asked: "web:1", mismatch: image.ErrMismatch.Error()},
		"recorded":                       {pins: []v1alpha1.PinnedImage{recorded}, digest: "old", pinned: "old"},
		"recorded, and shown":            {policy: v1alpha1.Track, pins: []v1alpha1.PinnedImage{with(seen("old"))}, frozen: true, digest: "old", pinned: "old"},
		"tracked, and moved":             {policy: v1alpha1.Track, pins: []v1alpha1.PinnedImage{with(seen("old"))}, digest: "sha256:web", asked: "web:1", moved: "web:1", pinned: "sha256:web"},
		"tracked, and stayed":            {policy: v1alpha1.Track, pins: []v1alpha1.PinnedImage{with(seen("sha256:web"))}, digest: "old", asked: "web:1", pinned: "old"},
		"tracked, and silent":            {policy: v1alpha1.Track, pins: []v1alpha1.PinnedImage{with(seen("old"))}, failed: map[string]error{"web:1": errSilent}, digest: "old", asked: "web:1", kept: "web:1", pinned: "old"},
		"tracked, and not what it says":  {policy: v1alpha1.Track, pins: []v1alpha1.PinnedImage{with(seen("old"))}, failed: map[string]error{"web:1@sha256:web": image.ErrMismatch}, digest: "old", asked: "web:1", kept: "web:1", pinned: "old"},
		"tracked, and new":               {policy: v1alpha1.Track, digest: "sha256:web", asked: "web:1", pinned: "sha256:web"},
		"tracked, and a rollback":        {policy: v1alpha1.Track, pins: []v1alpha1.PinnedImage{with(seen("old"), unused)}, digest: "old", pinned: "old"},
		"one moved, one is not there":    {policy: v1alpha1.Track, refs: []string{"web:1", "gone:1"}, pins: []v1alpha1.PinnedImage{with(seen("old"))}, asked: "gone:1, web:1", moved: "web:1", mismatch: "gone:1"},
		"a refresh":                      {images: v1alpha1.PipelineImages{Refresh: map[string]string{"web:1": "again"}}, pins: []v1alpha1.PinnedImage{recorded}, digest: "sha256:web", asked: "web:1", pinned: "old sha256:web"},
		"a range":                        {images: v1alpha1.PipelineImages{Select: []v1alpha1.ImageSelect{{Repository: "web", Semver: "1.x"}}}, digest: "sha256:v1.4", asked: "tags of index.docker.io/library/web, web:v1.4.0", pinned: "sha256:v1.4"},
		"a range, and no tag in it":      {images: v1alpha1.PipelineImages{Select: []v1alpha1.ImageSelect{{Repository: "web", Semver: "3.x"}}}, asked: "tags of index.docker.io/library/web", mismatch: "no tag is in the range 3.x"},
		"by digest":                      {refs: []string{byDigest}, digest: byDigest[3:], asked: byDigest, pinned: byDigest[3:]},
		"by digest, and silent":          {refs: []string{byDigest}, failed: map[string]error{byDigest: errSilent}, digest: byDigest[3:], asked: byDigest, pinned: byDigest[3:]},
		"by digest, and lost":            {refs: []string{byDigest}, failed: map[string]error{byDigest: image.ErrNotFound}, asked: byDigest, mismatch: "no such image"},
		"git gave up one that was there": {refs: []string{}, pins: []v1alpha1.PinnedImage{recorded}, pinned: "old"},
		"the policy refuses it":          {refs: []string{"web"}, mismatch: "images.denyTags has latest"},
		"the policy refuses what a range gives": {
			images: v1alpha1.PipelineImages{Select: []v1alpha1.ImageSelect{{Repository: "web", Semver: "2.x"}}},
			asked:  "tags of index.docker.io/library/web, web:v2.0.0", mismatch: "images.denyTags has v2.0.0", pinned: "sha256:v2.0", digest: "sha256:v2.0",
		},
		"shown, whatever the policy says": {refs: []string{"web"}, frozen: true, digest: "sha256:latest", asked: "web", pinned: "sha256:latest"},
	} {
		t.Run(name, func(t *testing.T) {
			from := &hub{
				digests: map[string]string{"web": "sha256:latest", "web:1": "sha256:web", "web:v1.4.0": "sha256:v1.4", "web:v2.0.0": "sha256:v2.0", byDigest: byDigest[3:]},
				tags:    map[string][]string{"index.docker.io/library/web": {"v1.2.0", "v1.4.0", "v2.0.0"}}, failed: c.failed,
			}
			r := resolverOf(func() time.Time { return now }, from)
			environment := &v1alpha1.Environment{Images: v1alpha1.ImagePolicy{Policy: v1alpha1.Pin, DenyTags: []string{"latest", "v2.0.0"}, KeepPins: v1alpha1.KeepPins{Deployments: &deployments}}}
			if c.policy != "" {
				environment.Images.Policy = c.policy
			}
			d := &target.Desired{Environment: environment, Settings: v1alpha1.PipelineSettings{Images: c.images}, Snapshot: source.Snapshot{Commit: "c2"}}
			if c.refs == nil {
				c.refs = []string{"web:1"}
			}
			for _, ref := range c.refs {
				form := image.Tag
				if strings.Contains(ref, "@") {
					form = image.Digest
				}
				d.Rendered.Refs = append(d.Rendered.Refs, image.Reference{Path: "spec.image", Value: ref, Form: form})
			}
			if c.pins != nil {
				d.Record = &v1alpha1.PipelineSync{Spec: v1alpha1.PipelineSyncSpec{Images: c.pins}}
				d.Record.Status.LastAppliedCommit, d.Record.Status.History = "c1", []v1alpha1.Deployment{{Number: 1, Outcome: record.Applied}}
			}
			got, err := r.Decide(t.Context(), d, Request{Lookups: r.NewLookups(), Frozen: c.frozen})
			if (err == nil) != (c.mismatch == "") || err != nil && !strings.Contains(err.Error(), c.mismatch) {
				t.Fatalf("the error is %v", err)
			}
			var pinned []string
			for _, pin := range got.Pins {
				pinned = append(pinned, pin.Digest)
			}
			digest := ""
			if len(d.Rendered.Refs) > 0 && got.Resolved != nil {
				digest = got.Digest(d.Rendered.Refs[0])
			}
			for what, is := range map[string][2]string{
				"digest": {digest, c.digest}, "questions": {from.questions(), c.asked}, "moved": {strings.Join(got.Moved, " "), c.moved},
				"kept": {strings.Join(got.Kept, " "), c.kept}, "pins": {strings.Join(pinned, " "), c.pinned},
			} {
				if is[0] != is[1] {
					t.Errorf("%s: %q, want %q", what, is[0], is[1])
				}
			}
		})
	}
}

// A pin of an unused reference stays within its limits, with the date since when it is unused.
func TestUnusedPins(t *testing.T) {
	deployments := 1
	d := deciding(v1alpha1.Pin, v1alpha1.KeepPins{Deployments: &deployments, For: v1alpha1.Duration{Duration: time.Hour}})
	long := metav1.NewTime(now.Add(-2 * time.Hour))
	d.desired.Record = &v1alpha1.PipelineSync{Spec: v1alpha1.PipelineSyncSpec{Images: []v1alpha1.PinnedImage{
		{Reference: "web:1", Digest: "a", LastDeployment: 8}, {Reference: "web:0", Digest: "b", LastDeployment: 7, UnusedSince: &long},
	}}}
	d.desired.Record.Status.History = []v1alpha1.Deployment{{Number: 8, Outcome: record.Applied}}
	got, err := d.resolver.Decide(t.Context(), d.desired, Request{})
	if err != nil {
		t.Fatal(err)
	}
	since := metav1.NewTime(now)
	if diff := cmp.Diff([]v1alpha1.PinnedImage{{Reference: "web:1", Digest: "a", LastDeployment: 8, UnusedSince: &since}}, got.Pins); diff != "" {
		t.Error(diff)
	}
}

// What is deployed is listed once, without the objects that are left alone.
func TestDeployed(t *testing.T) {
	web, job := manifest.ID{APIVersion: "v1", Kind: "Pod", Name: "web"}, manifest.ID{APIVersion: "batch/v1", Kind: "Job", Name: "job"}
	d := &target.Desired{Rendered: target.Rendered{Refs: []image.Reference{
		{Object: web, Value: "web:1", Form: image.Tag}, {Object: web, Value: "web:1", Form: image.Tag}, {Object: job, Value: "job:1", Form: image.Tag},
		{Object: web, Value: byDigest, Form: image.Digest}, {Object: web, Value: "a:{{tag}}", Form: image.Template},
	}}}
	decided := Decision{Resolved: map[string]image.Resolved{"web:1": {Digest: "w"}, "job:1": {Tag: "v1.2.0", Digest: "j"}}}
	all := []v1alpha1.DeployedImage{{Reference: "a:{{tag}}"}, {Reference: byDigest, Digest: byDigest[3:]}, {Reference: "job:1", Tag: "v1.2.0", Digest: "j"}, {Reference: "web:1", Digest: "w"}}
	if diff := cmp.Diff(all, decided.Deployed(d, nil)); diff != "" {
		t.Error(diff)
	}
	if got := decided.Deployed(d, map[manifest.Key]bool{web.Key(): true}); len(got) != 1 || got[0].Reference != "job:1" {
		t.Errorf("without the Pod: %+v", got)
	}
}

// A record is written for its pins where a later pass would decide otherwise by them.
func TestSame(t *testing.T) {
	pin := v1alpha1.PinnedImage{Reference: "web:1", Refresh: "r", Tag: "v1", Digest: "a", Seen: "a", Commit: "c1", LastDeployment: 1}
	for name, c := range map[string]struct {
		change func(*v1alpha1.PinnedImage)
		want   bool
	}{
		"equal":            {func(*v1alpha1.PinnedImage) {}, true},
		"later deployment": {func(p *v1alpha1.PinnedImage) { p.LastDeployment, p.Commit = 2, "c2" }, true},
		"digest":           {func(p *v1alpha1.PinnedImage) { p.Digest = "b" }, false},
		"tag":              {func(p *v1alpha1.PinnedImage) { p.Tag = "v2" }, false},
		"seen":             {func(p *v1alpha1.PinnedImage) { p.Seen = "b" }, false},
		"refresh":          {func(p *v1alpha1.PinnedImage) { p.Refresh = "s" }, false},
		"unused":           {func(p *v1alpha1.PinnedImage) { p.UnusedSince = &metav1.Time{} }, false},
	} {
		other := pin
		c.change(&other)
		if got := Same([]v1alpha1.PinnedImage{pin}, []v1alpha1.PinnedImage{other}); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if Same([]v1alpha1.PinnedImage{pin}, nil) {
		t.Error("a pin that is gone")
	}
}
