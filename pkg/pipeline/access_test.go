package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/view"
)

func runnerOf(t *testing.T, text string) *Runner {
	t.Helper()
	file := filepath.Join(t.TempDir(), "syncer.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: syncer.dev/v1alpha1\nkind: Config\nsource: {url: repo}\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// Objects of two clusters have the same names: what one API server says is not taken for the other's.
func TestPostedAuditLogs(t *testing.T) {
	const batch = `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[]}`
	one := runnerOf(t, "environments: [{name: dev}, {name: prod}]\n")
	if log := one.auditLog(&one.Config.Environments[0]); log != nil {
		t.Error("there is a log before anything was posted")
	}
	for _, name := range []string{"", "dev", "prod"} {
		if err := one.TakeAudit(name, []byte(batch)); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if a, b := one.auditLog(&one.Config.Environments[0]), one.auditLog(&one.Config.Environments[1]); a == nil || a != b {
		t.Error("two environments of one cluster have two logs")
	} else if err := a.Refresh(); err != nil {
		t.Errorf("it looks for a file: %v", err)
	}
	if err := one.TakeAudit("", []byte("{}")); err == nil || errors.Is(err, view.ErrNoAudit) {
		t.Errorf("what is no batch: %v", err)
	}

	two := runnerOf(t, "environments: [{name: dev}, {name: prod, cluster: {context: p}}, {name: file, cluster: {context: f, auditLog: audit.log}}]\n")
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
	if two.auditLog(&two.Config.Environments[0]) != nil || two.auditLog(&two.Config.Environments[1]) == nil {
		t.Error("what prod posted is taken for dev's")
	}
}

func TestRights(t *testing.T) {
	r := runnerOf(t, "namespace: gitops\nenvironments: [{name: dev}]\n")
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

// Paths are those of the configuration's folder, whatever folder a command is called in.
func TestPathsOfTheServer(t *testing.T) {
	r := runnerOf(t, "server: {webhookSecretFile: hook, tlsCertFile: /etc/tls.crt, tlsKeyFile: tls/tls.key, auditTokenFile: ~/audit}\nenvironments: [{name: dev}]\n")
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(r.Config.Source.URL)
	want := v1alpha1.Server{
		Listen: v1alpha1.DefaultListen, WebhookSecretFile: filepath.Join(folder, "hook"), TLSCertFile: "/etc/tls.crt",
		TLSKeyFile: filepath.Join(folder, "tls/tls.key"), AuditTokenFile: filepath.Join(home, "audit"),
	}
	if *r.Config.Server != want {
		t.Errorf("%+v", *r.Config.Server)
	}
}
