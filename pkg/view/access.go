package view

import "errors"

// Access is a kind of thing that a server shows to a user or a program with the permission for it.
type Access string

const (
	AccessRecords  Access = "records"  // what the records say; needs the permission to list them
	AccessMetrics  Access = "metrics"  // needs the permission to get the path /metrics
	AccessProfiles Access = "profiles" // of the process itself; needs the permission to get the path /debug/pprof
)

// ErrNoAudit says that the daemon keeps no audit log of this kind.
var ErrNoAudit = errors.New("no such audit log")
