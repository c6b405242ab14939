package setup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/config"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// DaemonOptions are the options of an installation of the daemon.
type DaemonOptions struct {
	// File names the configuration in errors. Data is its text; the daemon gets it unchanged.
	File string
	Data []byte
	// Environment names the environment in whose cluster the daemon runs; empty: the first one.
	Environment string
	Image       string
	Replicas    int
	// UserAgent names this build to the API server.
	UserAgent string
}

const (
	// podConfig is the folder of the configuration in the pod. podCredentials is the mounted Secret syncer-credentials.
	podConfig      = "/etc/syncer"
	podCredentials = "/etc/syncer/credentials"
	// podPort is the port of the probes and of the Service.
	podPort = "8080"

	configMapName        = "syncer-config"
	configMapKey         = "syncer.yaml"
	annotationConfigHash = v1alpha1.Group + "/config-hash"
)

// DaemonManifests returns the daemon with its configuration, and the manifests of InstallManifests. The note says which
// features the configuration leaves out. The error names each key of the configuration that a pod cannot use.
func DaemonManifests(options DaemonOptions) (set manifest.Set, note string, err error) {
	decoded, err := v1alpha1.DecodeConfig(options.File, options.Data)
	if err != nil {
		return nil, "", err
	}
	return daemonManifests(decoded, options)
}

func daemonManifests(decoded *v1alpha1.Config, options DaemonOptions) (set manifest.Set, note string, err error) {
	problems := append(podProblems(decoded), listenerProblems(decoded.Server)...)
	if len(problems) > 0 {
		return nil, "", fmt.Errorf("%s: a pod cannot use this configuration:\n%s", options.File, strings.Join(problems, "\n"))
	}
	if set, err = InstallManifests(decoded.Namespace); err != nil {
		return nil, "", err
	}
	daemon, err := manifestsOf(config.Daemon, decoded.Namespace)
	if err != nil {
		return nil, "", err
	}
	for _, obj := range daemon {
		if obj.GetKind() != "Deployment" {
			continue
		}
		if err := setUp(obj, options, decoded.Server); err != nil {
			return nil, "", fmt.Errorf("writing %s: %w", manifest.IDOf(obj), err)
		}
	}
	daemon = append(daemon, configMap(decoded.Namespace, options.Data))
	if decoded.Server == nil {
		note = "the configuration has no key `server`: the daemon gets no probes, and has neither pages nor metrics; add `server: {listen: ':" + podPort + "'}` for them"
	}
	return append(set, daemon...), note, nil
}

func configMap(namespace string, data []byte) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{
			"name": configMapName, "namespace": namespace,
			"labels": map[string]any{"app.kubernetes.io/name": "syncer", "app.kubernetes.io/part-of": "syncer"},
		},
		"data": map[string]any{configMapKey: string(data)},
	}}
}

// setUp writes the options into the Deployment. The hash of the configuration is part of the pod template, so that the
// pods are replaced when the configuration changes.
func setUp(deployment *unstructured.Unstructured, options DaemonOptions, server *v1alpha1.Server) error {
	sum := sha256.Sum256(options.Data)
	containers, _, err := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	if err != nil {
		return err
	}
	for _, container := range containers {
		if fields, ok := container.(map[string]any); ok {
			fields["image"] = options.Image
			if err := setProbes(fields, server); err != nil {
				return err
			}
		}
	}
	return errors.Join(
		unstructured.SetNestedSlice(deployment.Object, containers, "spec", "template", "spec", "containers"),
		unstructured.SetNestedField(deployment.Object, hex.EncodeToString(sum[:8]), "spec", "template", "metadata", "annotations", annotationConfigHash),
		unstructured.SetNestedField(deployment.Object, int64(options.Replicas), "spec", "replicas"),
	)
}

// InstallDaemon applies the manifests of DaemonManifests to one cluster. It opens no other file that the configuration
// names: files of the pod need not exist on this machine. The note is set also where the installation fails.
func InstallDaemon(ctx context.Context, options DaemonOptions) (changes []manifest.Change, note string, err error) {
	decoded, err := v1alpha1.DecodeConfig(options.File, options.Data)
	if err != nil {
		return nil, "", err
	}
	set, note, err := daemonManifests(decoded, options)
	if err != nil {
		return nil, "", err
	}
	var selected []string
	if options.Environment != "" {
		selected = []string{options.Environment}
	}
	environments, err := decoded.Select(selected)
	if err != nil {
		return nil, "", err
	}
	clusters := target.NewClusters(cluster.Options{Namespace: decoded.Namespace, UserAgent: options.UserAgent})
	cluster, err := clusters.Of(environments[0])
	if err != nil {
		return nil, "", fmt.Errorf("environment %s: %w", environments[0].Name, err)
	}
	changes, err = apply.Install(ctx, cluster, set)
	return changes, note, err
}

// setProbes fits the probes to the server: without a server there are none, and with TLS they use https.
func setProbes(container map[string]any, server *v1alpha1.Server) error {
	for _, probe := range []string{"readinessProbe", "livenessProbe"} {
		switch {
		case server == nil:
			delete(container, probe)
		case server.TLSCertFile != "":
			if err := unstructured.SetNestedField(container, "HTTPS", probe, "httpGet", "scheme"); err != nil {
				return err
			}
		}
	}
	return nil
}
