package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/syncerdev/syncer/internal/lab"
)

// Requests returns the requests of Cluster to the API server while f ran.
func (b *Bench) Requests(f func()) []lab.AuditEvent {
	b.T.Helper()
	before := len(audited(b))
	f()
	return audited(b)[before:]
}

// audited returns every request of the cluster so far. The API server logs a request after it has answered it, so a last
// request marks the end of the log.
func audited(b *Bench) []lab.AuditEvent {
	b.T.Helper()
	config := b.Plane.Config()
	mark := fmt.Sprintf("mark-%d", counter.Add(1))
	config.UserAgent = mark
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		b.T.Fatal(err)
	}
	if _, err := client.Resource(Namespaces).Get(b.Ctx, b.Namespace, metav1.GetOptions{}); err != nil {
		b.T.Fatal(err)
	}
	var own []lab.AuditEvent
	b.Eventually("the audit log has come to "+mark, func() bool {
		own = nil
		events, err := lab.ReadAudit(shared.options.AuditLog)
		if errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if err != nil {
			b.T.Fatal(err)
		}
		for _, e := range events {
			if e.UserAgent == b.Agent {
				own = append(own, e)
			}
		}
		return slices.ContainsFunc(events, func(e lab.AuditEvent) bool { return e.UserAgent == mark })
	})
	return own
}

// Shortly writes events for the message of a test.
func Shortly(events []lab.AuditEvent) string {
	var out strings.Builder
	for _, e := range events {
		fmt.Fprintf(&out, "\n  %s %s -> %d", e.Verb, e.RequestURI, e.Response.Code)
	}
	return out.String()
}

// IsWrite reports whether a request changes something: it is neither a dry run nor a read.
func IsWrite(e lab.AuditEvent) bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, e.Verb) && !IsDryRun(e)
}

// IsDryRun reports whether a request is a dry run.
func IsDryRun(e lab.AuditEvent) bool { return strings.Contains(e.RequestURI, "dryRun=All") }
