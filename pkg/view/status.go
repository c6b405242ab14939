package view

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Status lists what runs in each target.
type Status struct {
	Targets []TargetStatus `json:"targets"`
}

// TargetStatus is the state of one target.
type TargetStatus struct {
	Pipeline    string                   `json:"pipeline"`
	Environment string                   `json:"environment"`
	Commit      string                   `json:"commit"`
	Ready       bool                     `json:"ready"`
	Drifted     bool                     `json:"drifted"`
	Held        bool                     `json:"held"`
	Message     string                   `json:"message"`
	Images      []v1alpha1.DeployedImage `json:"images"`
	Age         string                   `json:"age"`
	DeployedAt  *time.Time               `json:"deployedAt"`
}

// summary is the message of a status: empty for a target that is ready and in sync.
func (t *Target) summary() string {
	var parts, touched []string
	if t.State != drift.Ready && t.Message != "" {
		parts = append(parts, t.Message)
	}
	for _, f := range t.Findings {
		switch f.Kind {
		case drift.Held: // the message of the state has it
		case drift.Modified:
			if object := f.Object.String(); !slices.Contains(touched, object) {
				touched = append(touched, object)
			}
		default:
			parts = append(parts, f.Message)
		}
	}
	if len(touched) > 0 {
		parts = append(parts, "changed by hand: "+manifest.Shorten(touched))
	}
	return strings.Join(parts, "; ")
}

// Status lists what runs in each selected target, by the records.
func (v *View) Status(selection v1alpha1.Selection) Status {
	out := Status{Targets: []TargetStatus{}}
	for _, t := range v.Targets {
		if !selection.Has(v1alpha1.Target{Pipeline: t.Pipeline, Environment: t.Environment}) {
			continue
		}
		s := TargetStatus{
			Pipeline: t.Pipeline, Environment: t.Environment, Commit: t.Commit, Ready: t.State == drift.Ready, Held: t.State == drift.Waiting,
			Message: t.summary(), Images: []v1alpha1.DeployedImage{}, DeployedAt: t.DeployedAt,
			Drifted: t.Drift(drift.Critical)+t.Drift(drift.Warning)+t.Drift(drift.Info) > 0,
		}
		if t.DeployedAt != nil {
			s.Age = duration.HumanDuration(max(0, v.At.Sub(*t.DeployedAt)))
		}
		for _, image := range t.Images {
			s.Images = append(s.Images, v1alpha1.DeployedImage(image))
		}
		out.Targets = append(out.Targets, s)
	}
	slices.SortFunc(out.Targets, func(a, b TargetStatus) int { // as the command does
		return v1alpha1.Target{Pipeline: a.Pipeline, Environment: a.Environment}.Compare(v1alpha1.Target{Pipeline: b.Pipeline, Environment: b.Environment})
	})
	return out
}
