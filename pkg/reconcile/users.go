package reconcile

import (
	"time"

	"github.com/syncerdev/syncer/pkg/audit"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// nameUsers sets the user of findings, where the audit log of the API server has it. Managed fields name only a client.
func (r Rating) nameUsers(d *target.Desired, findings []drift.Finding) {
	if len(findings) == 0 {
		return
	}
	log := r.AuditLog(d.Environment)
	if log == nil {
		return
	}
	if err := log.Refresh(); err != nil {
		r.Log.Warn("users cannot be named", "environment", d.Environment.Name, "error", err)
		return
	}
	own := manifest.FieldManager
	if len(d.Environment.CorrectExcept) > 0 {
		own = "" // a correction leaves fields as they are
	}
	for i := range findings {
		f := &findings[i]
		object, err := cluster.Audited(d.Cluster, f.Object)
		if err != nil {
			continue // the kind is gone
		}
		f.User = userOf(log, object, *f, own)
	}
}

// userOf returns the user who made a finding; own is the manager whose apply corrects fields of git.
func userOf(log *audit.Log, object audit.Object, f drift.Finding, own string) string {
	var at time.Time // scale leaves none
	if f.Time != nil {
		at = *f.Time
	}
	if f.Desired == nil {
		own = "" // git does not set it
	}
	var write audit.Write
	switch {
	case f.Kind == drift.Missing:
		write, _ = log.Deleter(object)
	case f.Manager != "" && f.Time != nil, f.Subresource != "":
		write, _ = log.Author(object, audit.Client{Manager: f.Manager, Operation: f.Operation, Subresource: f.Subresource}, at, own)
	case f.Kind == drift.Modified && own != "":
		write, _ = log.Only(object, own)
	}
	if write.Manager == manifest.FieldManager {
		return "" // syncer itself, by any service account
	}
	return write.Who()
}
