package pin

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

var webPod = manifest.ID{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "web"}

// running is a target that runs web:1, and its pins.
func running(digest string) (*target.Desired, []v1alpha1.PinnedImage) {
	environment := &v1alpha1.Environment{Name: "dev"}
	environment.Images.Interval.Duration = time.Minute
	d := &target.Desired{Target: v1alpha1.Target{Pipeline: "web", Environment: "dev"}, Environment: environment}
	d.Rendered.Refs = []image.Reference{
		{Object: webPod, Path: "spec.a", Value: "web:1", Form: image.Tag}, {Object: webPod, Path: "spec.b", Value: "new:1", Form: image.Tag},
	}
	return d, []v1alpha1.PinnedImage{{Reference: "web:1", Digest: digest}}
}

// What a registry says of a deployed image.
func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		digests map[string]string
		failed  map[string]error
		want    string // the kinds of the findings, with what the tag is now
		asked   string
	}{
		"it is as it was":           {map[string]string{"web:1": "sha256:a"}, nil, "", "web:1"},
		"the tag moved":             {map[string]string{"web:1": "sha256:b", "index.docker.io/library/web@sha256:a": "sha256:a"}, nil, "TagMoved sha256:b", "index.docker.io/library/web@sha256:a, web:1"},
		"the tag is gone":           {map[string]string{"index.docker.io/library/web@sha256:a": "sha256:a"}, nil, "TagMoved <nil>", "index.docker.io/library/web@sha256:a, web:1"},
		"the image is gone":         {map[string]string{"web:1": "sha256:b"}, nil, "ImageMissing <nil>", "index.docker.io/library/web@sha256:a, web:1"},
		"no answer about the tag":   {nil, map[string]error{"web:1": errSilent}, "", "web:1"},
		"no answer about the image": {map[string]string{"web:1": "sha256:b"}, map[string]error{"index.docker.io/library/web@sha256:a": errSilent}, "", "index.docker.io/library/web@sha256:a, web:1"},
		"it was told to stop":       {nil, map[string]error{"web:1": context.Canceled}, "", "web:1"},
	} {
		from := &hub{digests: c.digests, failed: c.failed}
		r := resolverOf(time.Now, from)
		d, pins := running("sha256:a")
		var got []string
		for _, f := range r.Check(t.Context(), r.NewLookups(), d, pins) {
			live := "<nil>"
			if f.Live != nil {
				live = f.Live.(string)
			}
			got = append(got, string(f.Kind)+" "+live)
		}
		if found, asked := strings.Join(got, ", "), from.questions(); found != c.want || asked != c.asked {
			t.Errorf("%s: %q after %q", name, found, asked)
		}
	}
}

// An image that git names by digest is asked for by that.
func TestCheckByDigest(t *testing.T) {
	d, pins := running(byDigest[3:])
	d.Rendered.Refs, pins[0].Reference = []image.Reference{{Value: byDigest, Form: image.Digest}}, byDigest
	r := resolverOf(time.Now, &hub{})
	if got := r.Check(t.Context(), r.NewLookups(), d, pins); len(got) != 1 || got[0].Kind != drift.ImageMissing {
		t.Errorf("got %+v", got)
	}
}

// The registries are asked once in an interval; in between there is the last answer, without what is not deployed any more.
func TestFindings(t *testing.T) {
	date := now
	from := &hub{digests: map[string]string{"web:1": "sha256:b", "index.docker.io/library/web@sha256:a": "sha256:a"}}
	r := resolverOf(func() time.Time { return date }, from)
	d, pins := running("sha256:a")
	findings := func(wantAsked bool) []drift.Finding {
		t.Helper()
		got := r.Findings(t.Context(), r.NewLookups(), d, pins)
		if asked := from.questions() != ""; asked != wantAsked {
			t.Errorf("asked: %t", asked)
		}
		return got
	}
	if !r.Checks.ImagesDue(d.Target, time.Minute) {
		t.Error("images that were never checked are not due")
	}
	first := findings(true)
	if len(first) != 1 || !first[0].Time.Equal(now) {
		t.Fatalf("got %+v", first)
	}
	if r.Checks.ImagesDue(d.Target, time.Minute) {
		t.Error("images that were just checked are due")
	}
	date = date.Add(30 * time.Second)
	if got := findings(false); len(got) != 1 {
		t.Errorf("within the interval: %+v", got)
	}
	pins[0].Digest = "sha256:b"
	if got := findings(false); len(got) != 0 {
		t.Errorf("of a digest that was replaced: %+v", got)
	}
	pins[0].Digest = "sha256:a"
	date = date.Add(30 * time.Second)
	if got := findings(true); len(got) != 1 || !got[0].Time.Equal(now) {
		t.Errorf("found again: %+v", got)
	}
	date = date.Add(time.Minute)
	if !r.Checks.ImagesDue(d.Target, time.Minute) || r.Checks.ImagesDue(d.Target, time.Minute) {
		t.Error("images are due once in an interval")
	}
}

// A finding keeps the time that the record has of it, also in a new process.
func TestSince(t *testing.T) {
	earlier := now.Add(-time.Hour)
	f := drift.Finding{Kind: drift.TagMoved, Object: webPod, Path: "spec.a", Message: "m"}
	record := &v1alpha1.PipelineSync{}
	if at := since(nil, record, f, now); !at.Equal(now) {
		t.Errorf("new: %s", at)
	}
	old := f
	old.Time = &earlier
	if at := since([]drift.Finding{{Kind: drift.ImageMissing}, old}, nil, f, now); !at.Equal(earlier) {
		t.Errorf("found before: %s", at)
	}
	entry := v1alpha1.Finding{Kind: string(drift.TagMoved), Path: "spec.a", Message: "m", Time: &metav1.Time{Time: earlier}}
	entry.Object.Kind, entry.Object.Namespace, entry.Object.Name = "Pod", "shop", "web"
	record.Status.Drift = &v1alpha1.DriftSummary{Findings: []v1alpha1.Finding{{Kind: "Modified"}, entry}}
	if at := since(nil, record, f, now); !at.Equal(earlier) {
		t.Errorf("recorded: %s", at)
	}
}

// A look at the images of a target in sync has it reconciled where registries say something new.
func TestRecheck(t *testing.T) {
	date := now
	from := &hub{digests: map[string]string{"web:1": "sha256:a", "index.docker.io/library/web@sha256:a": "sha256:a"}}
	r := resolverOf(func() time.Time { return date }, from)
	d, pins := running("sha256:a")
	recheck := func() (time.Duration, bool) {
		t.Helper()
		return r.Recheck(t.Context(), d, pins, &image.Credentials{})
	}
	if wait, isNew := recheck(); isNew || wait != 0 {
		t.Errorf("nothing moved: %s, %t", wait, isNew)
	}
	r.Checks.Due(d.Target, "web:1", time.Minute)
	r.Checks.Moved(d.Target, []string{"web:1"}, true)
	r.Checks.noteImages(d.Target, time.Minute, nil)
	date = date.Add(20 * time.Second)
	from.digests["web:1"] = "sha256:b"
	if wait, isNew := recheck(); !isNew || wait != 40*time.Second || !r.Checks.ImagesDue(d.Target, time.Minute) {
		t.Errorf("it moved, and was followed 20 s before: %s, %t", wait, isNew)
	}
	r.Checks.noteImages(d.Target, time.Minute, r.Check(t.Context(), r.NewLookups(), d, pins))
	if _, isNew := recheck(); isNew {
		t.Error("what is known is not new")
	}
	d.Settings.Images.Policy, d.Settings.Images.Select = v1alpha1.Track, []v1alpha1.ImageSelect{{Repository: "other", Semver: "1.x"}}
	if _, isNew := recheck(); !isNew {
		t.Error("a range may choose another tag")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, isNew := r.Recheck(ctx, d, pins, &image.Credentials{}); isNew {
		t.Error("a look that was broken off says nothing")
	}
}
