package pipeline

import (
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/audit"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// nameUsers says who made findings, where the API server's audit log tells. Managed fields name a client only.
func (c *carrier) nameUsers(w *target.Desired, findings []drift.Finding) {
	log := c.auditLog(w.Environment)
	if log == nil || len(findings) == 0 {
		return
	}
	if err := log.Refresh(); err != nil {
		c.log.Warn("users cannot be named", "environment", w.Environment.Name, "error", err)
		return
	}
	own := manifest.FieldManager
	if len(w.Environment.CorrectExcept) > 0 {
		own = "" // an apply that corrects leaves fields as they are
	}
	for i := range findings {
		f := &findings[i]
		object, err := cluster.Audited(w.Cluster, f.Object)
		if err != nil {
			continue // the kind is gone
		}
		f.User = userOf(log, object, *f, own)
	}
}

// userOf says who made a finding; own is the manager whose apply puts right what git sets.
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
		return "" // syncer itself, as whichever service account: nobody's drift
	}
	return write.Who()
}

// auditLog is that of an environment's API server: its file, else what it posted; nil where there is neither.
func (r *Runner) auditLog(environment *v1alpha1.Environment) *audit.Log {
	file := environment.Cluster.AuditLog
	if file == "" {
		r.gate.mu.Lock()
		defer r.gate.mu.Unlock()
		return r.gate.posted[target.ClusterKey(environment)]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.audits[file] == nil {
		r.audits[file] = audit.NewLog(file)
	}
	return r.audits[file]
}
