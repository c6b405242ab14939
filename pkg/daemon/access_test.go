package daemon

import (
	"errors"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/view"
)

// accessOf is the access to a daemon with a configuration.
func accessOf(t *testing.T, text string) *Access {
	t.Helper()
	config, err := v1alpha1.DecodeConfig("syncer.yaml", []byte("apiVersion: syncer.dev/v1alpha1\nkind: Config\nsource: {url: repo}\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	return NewAccess(config, target.NewClusters(cluster.Options{}))
}

// Objects of two clusters have the same names: what one API server says is not taken for the other's.
func TestPostedAuditLogs(t *testing.T) {
	const batch = `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[]}`
	one := accessOf(t, "environments: [{name: dev}, {name: prod}]\n")
	if log := one.AuditLog(&one.config.Environments[0]); log != nil {
		t.Error("there is a log before anything was posted")
	}
	for _, name := range []string{"", "dev", "prod"} {
		if err := one.TakeAudit(name, []byte(batch)); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if a, b := one.AuditLog(&one.config.Environments[0]), one.AuditLog(&one.config.Environments[1]); a == nil || a != b {
		t.Error("two environments of one cluster have two logs")
	} else if err := a.Refresh(); err != nil {
		t.Errorf("it looks for a file: %v", err)
	}
	if err := one.TakeAudit("", []byte("{}")); err == nil || errors.Is(err, view.ErrNoAudit) {
		t.Errorf("what is no batch: %v", err)
	}

	two := accessOf(t, "environments: [{name: dev}, {name: prod, cluster: {context: p}}, {name: file, cluster: {context: f, auditLog: audit.log}}]\n")
	for name, want := range map[string]string{
		"":      "the environments have several clusters; name one of its environments, as in /hooks/audit/file",
		"other": `there is no environment "other" in the configuration`,
		"file":  "that of file is read from its file",
	} {
		if err := two.TakeAudit(name, []byte(batch)); !errors.Is(err, view.ErrNoAudit) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := two.TakeAudit("prod", []byte(batch)); err != nil {
		t.Error(err)
	}
	if two.AuditLog(&two.config.Environments[0]) != nil || two.AuditLog(&two.config.Environments[1]) == nil {
		t.Error("what prod posted is taken for dev's")
	}
}

func TestRights(t *testing.T) {
	r := accessOf(t, "namespace: gitops\nenvironments: [{name: dev}]\n")
	for access, want := range map[view.Access]string{
		view.AccessRecords:  "list pipelinesyncs.syncer.dev in the namespace gitops",
		view.AccessMetrics:  "get the path /metrics",
		view.AccessProfiles: "get the path /debug/pprof",
	} {
		if got := r.Right(access); got != want {
			t.Errorf("%s: %s", access, got)
		}
	}
}
