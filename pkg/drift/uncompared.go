package drift

import (
	"fmt"
	"strings"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Uncompared returns the findings for an object that the API server refuses to compare: the refusal with its cause, and
// the fields that others took, which can be seen all the same. unread means that the object cannot be read either. An
// object that can be read and is not in the cluster is missing, whatever the refusal.
func Uncompared(pipeline, environment string, change manifest.Change, why error, unread bool, self string) []Finding {
	base := Finding{Pipeline: pipeline, Environment: environment, Object: change.ID}
	if change.Live == nil && !unread {
		base.Kind, base.Severity = Missing, Critical
		base.Message = fmt.Sprintf("%s is in git and not in the cluster, and the API server would not take it: %s", change.ID, reason(change.ID, why))
		return []Finding{base}
	}
	var findings []Finding
	for _, field := range change.Fields {
		findings = append(findings, modified(base, change, field, self))
	}
	base.Kind, base.Severity = NotCompared, Warning
	base.Message = fmt.Sprintf("%s could not be compared with git: %s", change.ID, reason(change.ID, why))
	return append(findings, base)
}

// reason is an error without the object that it begins with: the finding names it.
func reason(id manifest.ID, err error) string {
	return strings.TrimPrefix(err.Error(), id.String()+": ")
}
