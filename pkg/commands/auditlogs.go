package commands

import (
	"sync"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/audit"
)

// auditLogs are the audit logs that the configuration names, by file. It is safe for concurrent use.
type auditLogs struct {
	mu   sync.Mutex
	logs map[string]*audit.Log
}

// of returns the log of an environment; nil where the configuration names none.
func (a *auditLogs) of(environment *v1alpha1.Environment) *audit.Log {
	file := environment.Cluster.AuditLog
	if file == "" {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.logs == nil {
		a.logs = map[string]*audit.Log{}
	}
	if a.logs[file] == nil {
		a.logs[file] = audit.NewLog(file)
	}
	return a.logs[file]
}
