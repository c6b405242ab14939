package pipeline

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
)

// Nobody knows that a target is in sync which could not be compared; one that had drifted has, as far as anybody knows.
func TestStandingIsNotedInARecord(t *testing.T) {
	found := []drift.Finding{{Pipeline: "p", Environment: "dev", Kind: drift.Modified, Path: "data.v"}}
	unreadable := errors.New("reading the commit last applied: it is gone")
	for name, c := range map[string]struct {
		before metav1.ConditionStatus
		standing
		want metav1.ConditionStatus
	}{
		"nobody looked":                  {before: metav1.ConditionFalse, want: metav1.ConditionFalse},
		"it differs":                     {before: metav1.ConditionFalse, standing: standing{compared: true, drift: found}, want: metav1.ConditionTrue},
		"it does not":                    {before: metav1.ConditionTrue, standing: standing{compared: true}, want: metav1.ConditionFalse},
		"it cannot be compared":          {before: metav1.ConditionFalse, standing: standing{err: unreadable}, want: metav1.ConditionUnknown},
		"and had drifted":                {before: metav1.ConditionTrue, standing: standing{err: unreadable}, want: metav1.ConditionTrue},
		"it is compared again after all": {before: metav1.ConditionUnknown, standing: standing{compared: true}, want: metav1.ConditionFalse},
	} {
		t.Run(name, func(t *testing.T) {
			status := v1alpha1.PipelineSyncStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionDrifted, Status: c.before}}}
			c.note(&status, nil, time.Unix(0, 0))
			if got := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionDrifted).Status; got != c.want {
				t.Errorf("Drifted is %s; want %s", got, c.want)
			}
		})
	}
}

func TestOnePipelineIsDiscoveredAsAllAre(t *testing.T) {
	for _, layout := range []string{"pipelines/{pipeline}/overlays/{environment}", "{environment}/job-{pipeline}-v1", "{pipeline}/{environment}"} {
		files := layoutFiles(layout, "one", "dev")
		all, err := discover(files, layout, []string{"dev"})
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %v, %v", layout, all, err)
		}
		one := discoverOne(files, layout, v1alpha1.Target{Pipeline: "one", Environment: "dev"})
		if one.Overlays["dev"] == "" || one.Overlays["dev"] != all[0].Overlays["dev"] || one.Folders["dev"] != all[0].Folders["dev"] {
			t.Errorf("%s: %+v; of all: %+v", layout, one, all[0])
		}
		if other := discoverOne(files, layout, v1alpha1.Target{Pipeline: "two", Environment: "dev"}); len(other.Overlays) > 0 {
			t.Errorf("%s: one that is not there: %+v", layout, other)
		}
	}
}

func layoutFiles(layout, pipeline, environment string) fstest.MapFS {
	overlay := strings.NewReplacer(pipelineHole, pipeline, environmentHole, environment).Replace(layout)
	return fstest.MapFS{overlay + "/kustomization.yaml": {Data: []byte("resources: []\n")}}
}
