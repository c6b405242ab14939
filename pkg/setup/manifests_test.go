package setup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/render"
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

// What operators apply with kubectl is not among the files that syncer carries.
func TestKustomizationsBuild(t *testing.T) {
	folder := os.DirFS(filepath.Join("..", "..", "config"))
	for overlay, want := range map[string][]string{
		".":          {"Namespace/syncer-system", "ServiceAccount/syncer-system/syncer", "Deployment/syncer-system/syncer", "PodDisruptionBudget/syncer-system/syncer"},
		"cluster":    {"Namespace/syncer-system", "Role/syncer-system/syncer-records"},
		"daemon":     {"Deployment/syncer-system/syncer", "NetworkPolicy/syncer-system/syncer", "ClusterRole/syncer-viewer"},
		"monitoring": {"ServiceMonitor/syncer-system/syncer", "PrometheusRule/syncer-system/syncer", "ConfigMap/syncer-system/syncer-dashboard", "Secret/syncer-system/syncer-metrics"},
	} {
		set, err := render.Build(folder, overlay)
		if err != nil {
			t.Errorf("%s: %v", overlay, err)
			continue
		}
		var names []string
		for _, obj := range set {
			names = append(names, manifest.IDOf(obj).String())
			if obj.GetLabels()[labelPartOf] != "syncer" {
				t.Errorf("%s: %s is not labelled, so that uninstall would leave it", overlay, manifest.IDOf(obj))
			}
		}
		for _, name := range want {
			if !slices.Contains(names, name) {
				t.Errorf("%s: there is no %s among %s", overlay, name, names)
			}
		}
	}
}
