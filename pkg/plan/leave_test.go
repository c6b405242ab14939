package plan

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// ownedBy sets the managed fields of an object: for each manager, names of its data. syncer applies, others update.
func ownedBy(live *unstructured.Unstructured, owners map[string][]string) {
	var entries []metav1.ManagedFieldsEntry
	for manager, names := range owners {
		operation := metav1.ManagedFieldsOperationUpdate
		if manager == manifest.FieldManager {
			operation = metav1.ManagedFieldsOperationApply
		}
		raw := `{"f:data":{"f:` + strings.Join(names, `":{},"f:`) + `":{}}}`
		entries = append(entries, metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: fieldsV1(raw)})
	}
	live.SetManagedFields(entries)
}

func TestDriftIsLeftWhereItIsSelected(t *testing.T) {
	const git, live = settingsInGit + "data: {a: git, b: git}\n", settingsInGit + "data: {a: hand, b: hand}\n"
	theirs := map[string][]string{"kubectl-edit": {"a", "b"}}
	for name, c := range map[string]struct {
		owners  map[string][]string
		change  func(*Step)
		which   string // the selected paths; "*": the whole object
		left    string // the paths of the drift that stays; "whole": the whole change
		action  manifest.Action
		applied string // the paths that the apply changes
		sent    string // the data that the apply sends
	}{
		"nothing is selected":          {owners: theirs, action: manifest.Update, applied: "data.a data.b", sent: "a b"},
		"the object is selected":       {owners: theirs, which: "*", left: "whole", action: manifest.None, applied: "data.a data.b", sent: "a b"},
		"a field is selected":          {owners: theirs, which: "data.a", left: "data.a", action: manifest.Update, applied: "data.b", sent: "b"},
		"each field is selected":       {owners: theirs, which: "data.a data.b", left: "data.a data.b", action: manifest.None, applied: "", sent: "a b"},
		"git changed it":               {owners: theirs, change: func(s *Step) { s.Change.Drifted = false }, which: "*", action: manifest.Update, applied: "data.a data.b", sent: "a b"},
		"it matches git":               {owners: theirs, change: func(s *Step) { s.Change.Action = manifest.None }, which: "*", action: manifest.None, applied: "data.a data.b", sent: "a b"},
		"a part of a replacement":      {owners: theirs, change: func(s *Step) { s.Change.Action = manifest.Replace }, which: "data.a", action: manifest.Replace, applied: "data.a data.b", sent: "a b"},
		"another syncer wrote it":      {owners: theirs, change: func(s *Step) { s.Owners.OwnHand = true }, which: "*", action: manifest.Update, applied: "data.a data.b", sent: "a b"},
		"only syncer owns a value":     {owners: map[string][]string{"syncer": {"a"}, "kubectl-edit": {"b"}}, which: "*", action: manifest.Update, applied: "data.a data.b", sent: "a b"},
		"syncer shares each value":     {owners: map[string][]string{"syncer": {"a", "b"}, "kubectl-edit": {"a", "b"}}, which: "data.a", action: manifest.Update, applied: "data.a data.b", sent: "a b"},
		"syncer shares it; the object": {owners: map[string][]string{"syncer": {"a", "b"}, "kubectl-edit": {"a", "b"}}, which: "*", left: "whole", action: manifest.None, applied: "data.a data.b", sent: "a b"},
	} {
		t.Run(name, func(t *testing.T) {
			s := stepOf(t, git, live)
			ownedBy(s.Change.Live, c.owners)
			s.Change.Drifted = true
			for _, path := range []string{"data.a", "data.b"} {
				s.Change.Fields = append(s.Change.Fields, manifest.FieldChange{Path: path, From: "hand", To: "git"})
				s.Change.Taken = append(s.Change.Taken, manifest.Taken{Path: path, Manager: "kubectl-edit"})
			}
			if c.change != nil {
				c.change(s)
			}
			p := &Plan{comparer: silent(t, v1alpha1.InventoryEntry{}, s.Key()), steps: []*Step{s}}
			left := p.Leave(func(_ manifest.Change, field *manifest.FieldChange) bool {
				return field == nil && c.which == "*" || field != nil && strings.Contains(c.which, field.Path)
			})
			if got := leftPaths(left, s); got != c.left {
				t.Errorf("left: %q, want %q", got, c.left)
			}
			data, _, _ := unstructured.NestedStringMap(s.Sent.Object, "data")
			if s.Change.Action != c.action || pathsOf(s.Change.Fields) != c.applied || sortedNames(data) != c.sent || len(s.Change.Taken) != len(s.Change.Fields) {
				t.Errorf("%s of %q sends %q; want %s of %q, %q", s.Change.Action, pathsOf(s.Change.Fields), sortedNames(data), c.action, c.applied, c.sent)
			}
		})
	}
}

func pathsOf(fields []manifest.FieldChange) string {
	var out []string
	for _, f := range fields {
		out = append(out, f.Path)
	}
	return strings.Join(out, " ")
}

// leftPaths describes the drift that stays: nothing, some fields, or the whole change.
func leftPaths(left []manifest.Change, s *Step) string {
	switch {
	case len(left) == 0:
		return ""
	case len(left[0].Fields) == 2 && len(s.Owners.Spared) == 0:
		return "whole"
	}
	return pathsOf(left[0].Fields)
}

func sortedNames(data map[string]string) string {
	var out []string
	for _, name := range []string{"a", "b"} {
		if _, ok := data[name]; ok {
			out = append(out, name)
		}
	}
	return strings.Join(out, " ")
}
