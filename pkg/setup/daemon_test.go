package setup

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

const podConfiguration = `apiVersion: syncer.dev/v1alpha1
kind: Config
namespace: teams
source: {url: https://git.example.com/data/pipelines.git, auth: {tokenFile: credentials/token}}
registries: [{host: registry.example.com, credentialsFile: /etc/syncer/credentials/config.json}]
environments: [{name: dev}, {name: prod, cluster: {kubeconfig: /etc/syncer/credentials/prod, context: prod}}]
`

func daemonOf(t *testing.T, configuration string) (manifest.Set, string) {
	t.Helper()
	set, note, err := DaemonManifests(DaemonOptions{File: "syncer.yaml", Data: []byte(configuration), Image: "registry.example.com/syncer:v1", Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	return set, note
}

func object(t *testing.T, set manifest.Set, name string) *unstructured.Unstructured {
	t.Helper()
	for _, obj := range set {
		if manifest.IDOf(obj).String() == name {
			return obj
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}

// field is a value of an object as text.
func field(t *testing.T, obj *unstructured.Unstructured, at string) string {
	t.Helper()
	path, err := manifest.ParsePath(at)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, f := range manifest.Find(obj.Object, path) {
		text, _ := f.Value.(string)
		values = append(values, text)
	}
	return strings.Join(values, " ")
}

func TestDaemonManifestsCarryTheConfiguration(t *testing.T) {
	set, note := daemonOf(t, podConfiguration)
	if got := field(t, object(t, set, "ConfigMap/teams/syncer-config"), `data["syncer.yaml"]`); got != podConfiguration {
		t.Errorf("the configuration is %q", got)
	}
	deployment := object(t, set, "Deployment/teams/syncer")
	if got := field(t, deployment, "spec.template.spec.containers[*].image"); got != "registry.example.com/syncer:v1" {
		t.Errorf("the image is %q", got)
	}
	if replicas, _, err := unstructured.NestedInt64(deployment.Object, "spec", "replicas"); err != nil || replicas != 3 {
		t.Errorf("%d replicas, %v", replicas, err)
	}
	const hash = `spec.template.metadata.annotations["syncer.dev/config-hash"]`
	changed, _ := daemonOf(t, podConfiguration+"# changed\n")
	before, after := field(t, deployment, hash), field(t, object(t, changed, "Deployment/teams/syncer"), hash)
	if before == "" || before == after {
		t.Errorf("another configuration has the hash %q and not another than %q", after, before)
	}
	if probes := manifest.Find(deployment.Object, mustPath(t, "spec.template.spec.containers[*].livenessProbe")); len(probes) > 0 || !strings.Contains(note, "no probes") {
		t.Errorf("without a listener there are probes, or nobody is told: %q", note)
	}
	doc, err := set.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(doc), "syncer-system") {
		t.Errorf("an object still names syncer-system:\n%s", doc)
	}
}

func mustPath(t *testing.T, at string) manifest.Path {
	t.Helper()
	path, err := manifest.ParsePath(at)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDaemonRefusesWhatAPodCannotSee(t *testing.T) {
	for name, c := range map[string]struct {
		configuration string
		want          []string
	}{
		"files of this machine": {`apiVersion: syncer.dev/v1alpha1
kind: Config
source: {url: https://git.example.com/a.git, auth: {username: u, passwordFile: git-password, caFile: ~/ca.pem}}
registries: [{host: a.example.com, caFile: /etc/syncer/credentials/../ca, credentialsFile: /etc/syncer/credentials/a}]
environments:
- {name: dev, images: {signatures: [{match: "*", publicKeyFile: /keys/cosign.pub}]}}
- {name: prod, cluster: {kubeconfig: /home/ada/.kube/config, auditLog: /var/log/audit}}
`, []string{
			"source.auth.passwordFile: git-password is a file", "source.auth.caFile: ~/ca.pem is a file", "registries[0].caFile: /etc/syncer/credentials/../ca is a file",
			"environments[0].images.signatures[0].publicKeyFile: /keys/cosign.pub is a file",
			"environments[1].cluster.kubeconfig: /home/ada/.kube/config is a file", "environments[1].cluster.auditLog: /var/log/audit is a file",
		}},
		"a context": {`apiVersion: syncer.dev/v1alpha1
kind: Config
source: {url: https://git.example.com/a.git}
environments: [{name: dev, cluster: {context: lab}}]
`, []string{"environments[0].cluster.context: lab is a context"}},
		"a path": {`apiVersion: syncer.dev/v1alpha1
kind: Config
source: {url: ../pipelines}
environments: [{name: dev}]
`, []string{"source.url: ../pipelines is a path"}},
		"a password": {`apiVersion: syncer.dev/v1alpha1
kind: Config
source: {url: "https://ada:lovelace@git.example.com/data/pipelines.git"}
environments: [{name: dev}]
`, []string{"source.url: it holds a password"}},
		"ssh without keys": {`apiVersion: syncer.dev/v1alpha1
kind: Config
source: {url: "git@git.example.com:data/pipelines.git"}
environments: [{name: dev}]
`, []string{"source.auth.sshKeyFile: it is required", "source.auth.knownHostsFile: it is required"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := DaemonManifests(DaemonOptions{File: "syncer.yaml", Data: []byte(c.configuration), Image: "i", Replicas: 1})
			if err == nil {
				t.Fatal("it is accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
			if lines := strings.Count(err.Error(), "\n"); lines != len(c.want) {
				t.Errorf("it names %d keys, want %d:\n%v", lines, len(c.want), err)
			}
		})
	}
}

func TestListenerHasToBeReachable(t *testing.T) {
	for listen, reachable := range map[string]bool{
		"0.0.0.0:8080": true, ":8080": true, "[::]:8080": true,
		"127.0.0.1:8080": false, "0.0.0.0:9090": false, "syncer.example.com:8080": false,
	} {
		if problems := listenerProblems(&v1alpha1.Server{Listen: listen}); (len(problems) == 0) != reachable {
			t.Errorf("%s: %q", listen, problems)
		}
	}
}

func TestProbesAskAsTheServerAnswers(t *testing.T) {
	const probes = "spec.template.spec.containers[*].livenessProbe.httpGet"
	plain, note := daemonOf(t, podConfiguration+"server: {listen: ':8080'}\n")
	deployment := object(t, plain, "Deployment/teams/syncer")
	if field(t, deployment, probes+".path") != "/healthz" || field(t, deployment, probes+".scheme") != "" || note != "" {
		t.Errorf("over plain http the probes are %v, and %q is said", manifest.Find(deployment.Object, mustPath(t, probes)), note)
	}
	tls, _ := daemonOf(t, podConfiguration+"server: {listen: ':8080', tlsCertFile: credentials/tls.crt, tlsKeyFile: credentials/tls.key}\n")
	if got := field(t, object(t, tls, "Deployment/teams/syncer"), probes+".scheme"); got != "HTTPS" {
		t.Errorf("with TLS the probes ask over %q", got)
	}
}
