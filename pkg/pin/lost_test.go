package pin

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// The pins of a record that is gone come back from the objects that syncer applied.
func TestLostPinsAreTakenFromLiveObjects(t *testing.T) {
	of := v1alpha1.Target{Pipeline: "web", Environment: "dev"}
	digest := "sha256:" + strings.Repeat("a", 64)
	ranges := v1alpha1.PipelineImages{Select: []v1alpha1.ImageSelect{{Repository: "web", Semver: "1.x"}}}
	for name, c := range map[string]struct {
		live   string // the image of the live Pod; "": there is none
		byHand bool
		images v1alpha1.PipelineImages
		broken string
		want   string
	}{
		"it runs":                        {live: "web:1@" + digest, want: digest},
		"it runs another tag":            {live: "web:2@" + digest, want: "sha256:new"},
		"it runs a tag alone":            {live: "web:1", want: "sha256:new"},
		"it runs no image":               {live: "web:1:1", want: "sha256:new"},
		"the image was changed by hand":  {live: "web:1@" + digest, byHand: true, want: "sha256:new"},
		"it does not run":                {want: "sha256:new"},
		"it runs a tag of the range":     {live: "web:v1.4.0@" + digest, images: ranges, want: digest},
		"it runs a tag out of the range": {live: "web:v2.0.0@" + digest, images: ranges, want: "sha256:new"},
		"it runs another repository":     {live: "db:v1.4.0@" + digest, images: ranges, want: "sha256:new"},
		"it cannot be read":              {broken: "pods", want: "looking for the objects of web@dev"},
	} {
		t.Run(name, func(t *testing.T) {
			server := &apiServer{t: t, objects: map[string]any{}, broken: c.broken}
			deployments := 20
			d := deciding(v1alpha1.Pin, v1alpha1.KeepPins{Deployments: &deployments})
			r, desired := d.resolver, d.desired
			r.Source = func(image.Credentials) image.Source {
				return &hub{digests: map[string]string{"web:1": "sha256:new", "web:v1.9.0": "sha256:new"}, tags: map[string][]string{"index.docker.io/library/web": {"v1.9.0"}}}
			}
			cluster, err := server.clusters().Of(desired.Environment)
			if err != nil {
				t.Fatal(err)
			}
			desired.Target, desired.Cluster, desired.Settings.Images = of, cluster, c.images
			desired.Rendered.Set = manifest.Pack(manifest.Set{pod(of, "web:1", "")})
			desired.Rendered.Refs = []image.Reference{{Object: webPod, Value: "web:1", Form: image.Tag}}
			if c.live != "" {
				live := pod(of, c.live, "Running")
				if c.byHand {
					fields := live.GetManagedFields()
					fields[0].FieldsV1 = metav1.NewFieldsV1(`{"f:metadata": {"f:labels": {}}}`)
					live.SetManagedFields(fields)
				}
				server.addPod(live)
			}
			decided, err := r.Decide(t.Context(), desired, Request{Lookups: r.NewLookups()})
			if err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Error(err)
				}
				return
			}
			if got := decided.Resolved["web:1"].Digest; got != c.want {
				t.Errorf("got %s", got)
			}
		})
	}
}
