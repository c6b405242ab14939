package commands

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

const config = "apiVersion: syncer.dev/v1alpha1\nkind: Config\nsource: {url: ./repo, branch: main}\nenvironments: [{name: dev}]\n"

func TestConfigurationThatCannotBeOpened(t *testing.T) {
	for want, text := range map[string]string{
		"unknown":                                config + "colour: red\n",
		"severity[0].path":                       config + "severity: [{path: 'a[', severity: warning}]\n",
		"environments[0].correctExcept[0].paths": "apiVersion: syncer.dev/v1alpha1\nkind: Config\nsource: {url: ./repo, branch: main}\nenvironments: [{name: dev, drift: Correct, correctExcept: [{kind: ConfigMap, paths: ['a[']}]}]\n",
		"compare.ignore[0].paths":                config + "compare: {ignore: [{kind: ConfigMap, paths: ['a[']}]}\n",
		"running":                                config + "kinds: [{group: example.com, kind: Training, running: 'a +'}]\n",
	} {
		file := filepath.Join(t.TempDir(), "syncer.yaml")
		write(t, file, text)
		if _, err := Open(file, Options{}); err == nil {
			t.Errorf("opened, although it should name %s", want)
		} else {
			bench.WantError(t, err, want)
		}
	}
	_, err := Open(filepath.Join(t.TempDir(), "syncer.yaml"), Options{})
	bench.WantError(t, err, "there is no configuration", "--config")
	_, err = Open(t.TempDir(), Options{})
	bench.WantError(t, err, "reading the configuration")
}

func TestPathsOfAConfigurationAreRelativeToIt(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "syncer.yaml")
	write(t, file, `apiVersion: syncer.dev/v1alpha1
kind: Config
source: {url: ./repo, branch: main, auth: {passwordFile: /etc/password, username: u}}
registries: [{host: r.example.com, credentialsFile: "~/docker.json"}]
environments: [{name: dev, cluster: {kubeconfig: kube, auditLog: audit.log}, images: {signatures: [{match: "r.example.com/*", publicKeyFile: key.pub}]}}]
server: {webhookSecretFile: secret}
`)
	got, err := readConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	environment := got.Environments[0]
	for path, want := range map[string]string{
		got.Source.URL: dir + "/repo", got.Source.Auth.PasswordFile: "/etc/password", got.Registries[0].CredentialsFile: home + "/docker.json",
		environment.Cluster.Kubeconfig: dir + "/kube", environment.Cluster.AuditLog: dir + "/audit.log",
		environment.Images.Signatures[0].PublicKeyFile: dir + "/key.pub", got.Server.WebhookSecretFile: dir + "/secret",
	} {
		if path != want {
			t.Errorf("%s, want %s", path, want)
		}
	}
}

// Environments of one cluster share its audit log, so that it is read once.
func TestAuditLogsAreShared(t *testing.T) {
	logs := &auditLogs{}
	of := func(file string) *v1alpha1.Environment {
		return &v1alpha1.Environment{Cluster: v1alpha1.Cluster{AuditLog: file}}
	}
	if logs.of(of("")) != nil {
		t.Error("there is a log without a file")
	}
	if a := logs.of(of("a.log")); a == nil || logs.of(of("a.log")) != a || logs.of(of("b.log")) == a {
		t.Error("not one log for each file")
	}
}

func TestRulesOfAConfiguration(t *testing.T) {
	text := config + "severity: [{kind: Deployment, path: spec.replicas, severity: info}]\ncompare: {ignore: [{kind: ConfigMap, name: size, paths: [data.key]}]}\n"
	decoded, err := v1alpha1.DecodeConfig("syncer.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	decoded.Environments[0].CorrectExcept = []v1alpha1.FieldRule{{Kind: "Deployment", Paths: []string{"spec.replicas"}}}
	rules, err := readRules(decoded)
	if err != nil || len(rules.severities) != 1 || len(rules.exempt["dev"]) != 1 || len(rules.expected) != 1 || rules.expected[0].Name != "size" {
		t.Errorf("%+v, %v", rules, err)
	}
}
