// Package drift turns the changes of a plan into findings that a person can act on, and prints them. It is pure: it
// reads no cluster, clock or repository.
package drift

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Compare turns the changes that a plan of the commit last applied would make into findings, in a stable order. self
// is syncer's own field manager, which is named as an author only where another process wrote under its name.
func Compare(pipeline, environment string, changes []manifest.Change, self string) []Finding {
	var findings []Finding
	for _, change := range changes {
		base := Finding{Pipeline: pipeline, Environment: environment, Object: change.ID}
		switch {
		case change.Action == manifest.Hold && !change.Drifted:
			findings = append(findings, HeldOf(pipeline, environment, change.ID, change.Held.Message))
			findings = append(findings, heldEdits(base, change, self)...)
		case change.Meant() == manifest.Prune:
			base.Kind, base.Severity = Orphaned, Warning
			base.Message = fmt.Sprintf("%s is no longer in git; the next sync deletes it", change.ID)
			findings = append(findings, base)
		case change.Meant() == manifest.Create:
			base.Kind, base.Severity = Missing, Critical
			base.Message = fmt.Sprintf("%s is in git and not in the cluster; `syncer sync --correct` creates it again", change.ID)
			if change.Lost != nil && change.Lost.Kind == manifest.CutOff {
				base.Message = fmt.Sprintf("%s was deleted before its run had ended; `syncer sync --correct` runs it again", change.ID)
			}
			findings = append(findings, base)
		case change.Action != manifest.None:
			for _, field := range change.Fields {
				findings = append(findings, modified(base, change, field, self))
			}
			if change.Lost != nil {
				findings = append(findings, lost(base, change))
			}
		}
	}
	Sort(findings)
	return findings
}

// lost is the finding for an object that syncer no longer owns as a whole.
func lost(f Finding, change manifest.Change) Finding {
	f.Kind, f.Severity = Modified, Warning
	who := "somebody"
	if by := change.Lost.By; by.Name != "" {
		f.by(by)
		who = by.Name
	}
	what := "cleared the managed fields of " + change.ID.String()
	if change.Lost.Kind == manifest.Recreated {
		what = fmt.Sprintf("deleted %s and created it again", change.ID)
	}
	f.Message = fmt.Sprintf("%s %s, so that no field of it is syncer's any more; `syncer sync --correct` takes it back", who, what)
	return f
}

// StrayOf is the finding for an object that git does not have and that may be the target's. unlabelled says that syncer
// applied it and that it has lost its label since, else it has the label and syncer never applied it.
func StrayOf(pipeline, environment string, id manifest.ID, unlabelled bool, by manifest.Manager) Finding {
	f := Finding{Pipeline: pipeline, Environment: environment, Kind: Orphaned, Severity: Warning, Object: id}
	if by.Name != "" {
		f.by(by)
	}
	f.Message = fmt.Sprintf("%s carries the label of this pipeline, and git does not have it; syncer did not apply it and does not delete it: delete it, take the label off, or commit it", id)
	if unlabelled {
		f.Message = fmt.Sprintf("%s is no longer in git, and has lost the label of this pipeline; syncer does not delete it: delete it, or annotate it with `syncer.dev/prune: disabled` to keep it", id)
	}
	return f
}

// HeldOf is the finding for a change that git made and that waits.
func HeldOf(pipeline, environment string, id manifest.ID, why string) Finding {
	return Finding{
		Pipeline: pipeline, Environment: environment, Kind: Held, Severity: Info, Object: id,
		Message: fmt.Sprintf("%s waits for its change: %s", id, why),
	}
}

// HeldEdits lists the fields that others took from syncer in objects whose change waits, in a stable order. The other
// differences of such a change are a rollout and no drift.
func HeldEdits(pipeline, environment string, changes []manifest.Change, self string) []Finding {
	var findings []Finding
	for _, change := range changes {
		if change.Action == manifest.Hold && !change.Drifted {
			findings = append(findings, heldEdits(Finding{Pipeline: pipeline, Environment: environment, Object: change.ID}, change, self)...)
		}
	}
	Sort(findings)
	return findings
}

func heldEdits(base Finding, change manifest.Change, self string) []Finding {
	if manifest.OwnedFields(change.Live, self) == "" {
		return nil // it is not in the cluster yet, or it is taken over from another manager, which owns these fields
	}
	var findings []Finding
	for _, field := range change.Fields {
		path, err := manifest.ParsePath(field.Path)
		if err != nil || field.From == nil || manifest.Owns(change.Live, path, self) {
			continue
		}
		if _, taken := manifest.ManagerOf(change.Live, path, self); taken {
			findings = append(findings, modified(base, change, field, self))
		}
	}
	return findings
}

// Additions are the fields of live objects that others set and git does not, in a stable order.
func Additions(pipeline, environment string, changes []manifest.Change) []Finding {
	var findings []Finding
	for _, change := range changes {
		for _, field := range change.Added {
			f := Finding{
				Pipeline: pipeline, Environment: environment, Kind: Added, Severity: Warning, Object: change.ID,
				Path: field.Path, Live: field.Value,
				Message: fmt.Sprintf("%s added %s to %s; git does not have it: commit it, remove it there, or let an ignore rule name it", field.Manager.Name, field.Path, change.ID),
			}
			f.by(field.Manager)
			if isImage(f.Path) || isContainer(f.Path) {
				f.Severity = Critical
			}
			findings = append(findings, f)
		}
	}
	Sort(findings)
	return findings
}

func (f *Finding) by(manager manifest.Manager) {
	f.Manager, f.Operation, f.Subresource = manager.Name, manager.Operation, manager.Subresource
	if !manager.Time.IsZero() {
		f.Time = &manager.Time
	}
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
	who, late := "somebody", false
	if path, err := manifest.ParsePath(field.Path); err == nil && field.From != nil {
		if manager, ok := manifest.ManagerOf(change.Live, path, self); ok {
			f.by(manager)
			who = manager.Name
		} else if late = manifest.Owns(change.Live, path, self); late {
			manager, _ := manifest.ManagerOf(change.Live, path, "")
			f.by(manager)
		}
	}
	switch {
	case late:
		f.Message = fmt.Sprintf("%s of %s was written under the name %s: by an apply that was interrupted, or by another process; the next sync puts it right", field.Path, change.ID, self)
	case field.From == nil:
		f.Message = fmt.Sprintf("%s removed %s from %s; git sets it", who, field.Path, change.ID)
	case field.To == nil:
		f.Message = fmt.Sprintf("%s set %s of %s; git does not have it", who, field.Path, change.ID)
	default:
		f.Message = fmt.Sprintf("%s changed %s of %s; commit the change or run `syncer sync --correct`", who, field.Path, change.ID)
	}
	return f
}

// isImage reports whether a path ends in an image. Its drift means that other bytes run than those in git.
func isImage(path string) bool {
	parsed, err := manifest.ParsePath(path)
	return err == nil && parsed[len(parsed)-1].Name == "image"
}

// isContainer reports whether a path is a container as a whole: it runs an image that git does not name.
func isContainer(path string) bool {
	parsed, err := manifest.ParsePath(path)
	if err != nil || len(parsed) < 2 || parsed[len(parsed)-1].Name != "" {
		return false
	}
	list := parsed[len(parsed)-2].Name
	return list == "containers" || list == "initContainers" || list == "sidecars"
}

// SeverityRule gives the findings of some kinds and fields a severity of the user's. Empty parts match everything.
type SeverityRule struct {
	Group, Kind string
	Path        manifest.Path // and every field below it
	Severity    Severity
}

// Rate gives findings the severity of the first rule that matches; a finding without such a rule keeps its own.
func Rate(findings []Finding, rules []SeverityRule) {
	for i := range findings {
		f := &findings[i]
		kind := f.Object.GroupKind()
		path, _ := manifest.ParsePath(f.Path) // an empty one is the whole object
		for _, rule := range rules {
			if (rule.Kind == "" || rule.Kind == kind.Kind) && (rule.Group == "" || rule.Group == kind.Group) && path.Under(rule.Path) {
				f.Severity = rule.Severity
				break
			}
		}
	}
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
