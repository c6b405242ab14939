package pipeline

import (
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/apply/audit"
	"github.com/syncerdev/syncer/pkg/drift"
)

// nameUsers says who made findings, where the API server's audit log tells. Managed fields name a client only.
func (c *carrier) nameUsers(w *work, findings []drift.Finding) {
	log := c.auditLog(w.environment)
	if log == nil || len(findings) == 0 {
		return
	}
	if err := log.Refresh(); err != nil {
		c.log.Warn("users cannot be named", "environment", w.environment.Name, "error", err)
		return
	}
	for i := range findings {
		f := &findings[i]
		object, err := w.cluster.Audited(f.Object)
		if err != nil {
			continue // the kind is gone
		}
		var write audit.Write
		switch {
		case f.Kind == drift.Missing:
			write, _ = log.Deleter(object)
		case f.Manager != "" && f.Time != nil:
			write, _ = log.Author(object, f.Manager, f.Subresource, *f.Time)
		case f.Subresource != "":
			write, _ = log.Author(object, f.Manager, f.Subresource, time.Time{}) // scale leaves no time
		case f.Kind == drift.Modified:
			write, _ = log.Only(object, apply.FieldManager)
		}
		f.User = write.User
	}
}

// auditLog is that of an environment's API server; nil where none is given.
func (r *Runner) auditLog(environment *v1alpha1.Environment) *audit.Log {
	file := environment.Cluster.AuditLog
	if file == "" {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.audits[file] == nil {
		r.audits[file] = audit.NewLog(file)
	}
	return r.audits[file]
}
