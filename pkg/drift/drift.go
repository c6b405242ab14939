// Package drift turns the changes of a plan into findings that a person can act on, and prints them. It is pure: it
// reads no cluster, clock or repository.
package drift

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Compare turns the changes that a plan of the commit last applied would make into findings, in a stable order. self
// is syncer's own field manager, which is never named as an author.
func Compare(pipeline, environment string, changes []manifest.Change, self string) []Finding {
	var findings []Finding
	for _, change := range changes {
		base := Finding{Pipeline: pipeline, Environment: environment, Object: change.ID}
		switch {
		case change.Action == manifest.Hold && !change.Drifted:
			base.Kind, base.Severity = Held, Info
			base.Message = fmt.Sprintf("%s waits for its change: %s", change.ID, change.Held.Message)
			findings = append(findings, base)
		case change.Action == manifest.Prune:
			base.Kind, base.Severity = Orphaned, Warning
			base.Message = fmt.Sprintf("%s is no longer in git; the next sync deletes it", change.ID)
			findings = append(findings, base)
		case change.Action == manifest.Create:
			base.Kind, base.Severity = Missing, Critical
			base.Message = fmt.Sprintf("%s is in git and not in the cluster; `syncer sync --correct` creates it again", change.ID)
			findings = append(findings, base)
		case change.Action != manifest.None:
			for _, field := range change.Fields {
				findings = append(findings, modified(base, change, field, self))
			}
		}
	}
	Sort(findings)
	return findings
}

// NotRerunOf is the finding for an object that was changed after it had run to its end, and not run again.
func NotRerunOf(pipeline, environment string, id manifest.ID) Finding {
	return Finding{
		Pipeline: pipeline, Environment: environment, Kind: NotRerun, Severity: Warning, Object: id,
		Message: fmt.Sprintf("%s was changed after its run had ended, and its operator has not run it again; set `rerun: OnChange` in pipeline.yaml, or delete it so that syncer creates it again", id),
	}
}

func modified(f Finding, change manifest.Change, field manifest.FieldChange, self string) Finding {
	f.Kind, f.Severity = Modified, Warning
	if isImage(field.Path) {
		f.Severity = Critical
	}
	f.Path, f.Live, f.Desired = field.Path, field.From, field.To
	who := "somebody"
	if path, err := manifest.ParsePath(field.Path); err == nil && field.From != nil {
		if manager, ok := manifest.ManagerOf(change.Live, path, self); ok {
			f.Manager, f.Operation, f.Subresource = manager.Name, manager.Operation, manager.Subresource
			if !manager.Time.IsZero() {
				f.Time = &manager.Time
			}
			who = manager.Name
		}
	}
	switch {
	case field.From == nil:
		f.Message = fmt.Sprintf("%s removed %s from %s; git sets it", who, field.Path, change.ID)
	case field.To == nil:
		f.Message = fmt.Sprintf("%s set %s of %s; git does not have it", who, field.Path, change.ID)
	default:
		f.Message = fmt.Sprintf("%s changed %s of %s; commit the change or run `syncer sync --correct`", who, field.Path, change.ID)
	}
	return f
}

// isImage reports whether a path ends in an image, whose drift means that other bytes run than git says.
func isImage(path string) bool {
	parsed, err := manifest.ParsePath(path)
	return err == nil && parsed[len(parsed)-1].Name == "image"
}

// Sort orders findings by pipeline, environment, object and path.
func Sort(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(a.Pipeline, b.Pipeline),
			cmp.Compare(a.Environment, b.Environment),
			a.Object.Compare(b.Object),
			cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Kind, b.Kind),
		)
	})
}

// Summary is what a record keeps of findings.
func Summary(findings []Finding) *v1alpha1.DriftSummary {
	const kept = 50
	summary := &v1alpha1.DriftSummary{Total: len(findings)}
	for _, f := range findings[:min(len(findings), kept)] {
		var at *metav1.Time
		if f.Time != nil {
			t := metav1.NewTime(*f.Time)
			at = &t
		}
		summary.Findings = append(summary.Findings, v1alpha1.Finding{
			Time: at,
			Kind: string(f.Kind), Severity: string(f.Severity), Path: f.Path, Message: f.Message,
			Object: v1alpha1.ObjectReference{APIVersion: f.Object.APIVersion, Kind: f.Object.Kind, Namespace: f.Object.Namespace, Name: f.Object.Name},
		})
	}
	return summary
}
