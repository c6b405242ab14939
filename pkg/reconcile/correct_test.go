package reconcile

import (
	"testing"

	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
)

func TestCorrectionLeavesSparedFields(t *testing.T) {
	id := manifest.ID{Kind: "ConfigMap", Namespace: "data", Name: "a"}
	replicas, image := manifest.FieldChange{Path: "spec.replicas"}, manifest.FieldChange{Path: "spec.image"}
	spared := func(_ manifest.ID, path string) bool { return path == replicas.Path }
	enabled, asked := correction{enabled: true, spared: spared}, correction{enabled: true, asked: true, spared: spared}
	update := manifest.Change{ID: id, Action: manifest.Update, Fields: []manifest.FieldChange{replicas, image}}
	replace := manifest.Change{ID: id, Action: manifest.Replace, Fields: update.Fields}
	rerun := manifest.Change{ID: id, Action: manifest.Create, Lost: &manifest.Loss{Unproven: true}}
	for name, c := range map[string]struct {
		by     correction
		change manifest.Change
		field  *manifest.FieldChange
		leaves bool
	}{
		"drift is only reported":                   {correction{spared: spared}, update, &image, true},
		"a field is corrected":                     {enabled, update, &image, false},
		"a spared field is not":                    {enabled, update, &replicas, true},
		"an update as a whole is corrected":        {enabled, update, nil, false},
		"a replacement with a spared field is not": {enabled, replace, nil, true},
		"a replacement without one is":             {enabled, manifest.Change{ID: id, Action: manifest.Replace, Fields: []manifest.FieldChange{image}}, nil, false},
		"a run is not started again":               {enabled, rerun, nil, true},
		"a run is started again where a user asks": {asked, rerun, nil, false},
	} {
		if got := c.by.leaves(c.change, c.field); got != c.leaves {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestCorrectionsAreTheDriftedChanges(t *testing.T) {
	id := func(name string) manifest.ID { return manifest.ID{Kind: "ConfigMap", Name: name} }
	got := corrections([]manifest.Change{{ID: id("git")}, {ID: id("drift"), Drifted: true}})
	if len(got) != 1 || got[0].ID.Name != "drift" {
		t.Errorf("%v", got)
	}
	findings := among([]drift.Finding{{Object: id("drift")}, {Object: id("held")}}, got)
	if len(findings) != 1 || findings[0].Object.Name != "drift" {
		t.Errorf("%v", findings)
	}
}
