package pipeline

import (
	"slices"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/manifest"
)

func TestInstallManifestsMoveToAnotherNamespace(t *testing.T) {
	for namespace, binding := range map[string]string{"syncer-system": "syncer-deploy", "teams": "syncer-deploy-teams"} {
		set, err := InstallManifests(namespace)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, obj := range set {
			names = append(names, manifest.IDOf(obj).String())
		}
		for _, want := range []string{
			"Namespace/" + namespace, "CustomResourceDefinition/pipelinesyncs.syncer.dev", "ServiceAccount/" + namespace + "/syncer",
			"Role/" + namespace + "/syncer-records", "ClusterRole/syncer-deploy", "ClusterRole/syncer-deploy-secrets", "ClusterRoleBinding/" + binding,
		} {
			if !slices.Contains(names, want) {
				t.Errorf("%s: there is no %s among %s", namespace, want, names)
			}
		}
		if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "Deployment/") }) {
			t.Errorf("%s: the daemon is among %s", namespace, names)
		}
		doc, err := set.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if namespace != "syncer-system" && strings.Contains(string(doc), "syncer-system") {
			t.Errorf("%s: an object still names syncer-system:\n%s", namespace, doc)
		}
	}
}
