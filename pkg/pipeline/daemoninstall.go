package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/config"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// DaemonOptions say how the daemon is installed.
type DaemonOptions struct {
	// File names the configuration in errors, and Data is its text, which the daemon gets as it is.
	File string
	Data []byte
	// Environment in whose cluster the daemon runs; empty: the first one.
	Environment string
	Image       string
	Replicas    int
	// UserAgent names this build to the API server.
	UserAgent string
}

const (
	// podConfig is where the pod has the configuration, and podCredentials what the Secret syncer-credentials holds.
	podConfig      = "/etc/syncer"
	podCredentials = "/etc/syncer/credentials"
	// podPort is what the probes and the Service ask.
	podPort = "8080"

	configMapName        = "syncer-config"
	configMapKey         = "syncer.yaml"
	annotationConfigHash = v1alpha1.Group + "/config-hash"
)

// DaemonManifests are the daemon with its configuration, and what its cluster needs. The note says what the daemon goes
// without. The error names each key of the configuration that means nothing in a pod.
func DaemonManifests(options DaemonOptions) (set manifest.Set, note string, err error) {
	decoded, err := v1alpha1.DecodeConfig(options.File, options.Data)
	if err != nil {
		return nil, "", err
	}
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

// setUp makes the Deployment that of one configuration: another one is another template, so that the pods are rolled.
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

// podProblems names what a configuration says that only holds on this machine.
func podProblems(decoded *v1alpha1.Config) []string {
	var problems []string
	s := decoded.Source
	switch {
	case v1alpha1.IsLocalPath(s.URL):
		problems = append(problems, fmt.Sprintf("source.url: %s is a path on this machine; name a repository that is reached over https or ssh", s.URL))
	case strings.HasPrefix(s.URL, "file://"):
		problems = append(problems, fmt.Sprintf("source.url: %s is on this machine; name a repository that is reached over https or ssh", s.PublicURL()))
	case !strings.HasPrefix(s.URL, "http://") && !strings.HasPrefix(s.URL, "https://"):
		for key, file := range map[string]string{"sshKeyFile": s.Auth.SSHKeyFile, "knownHostsFile": s.Auth.KnownHostsFile} {
			if file == "" {
				problems = append(problems, fmt.Sprintf("source.auth.%s: it is required for ssh, since a pod has no home folder; put the file into the Secret syncer-credentials, and write %s/NAME", key, podCredentials))
			}
		}
	}
	if parsed, err := url.Parse(s.URL); err == nil && parsed.User != nil {
		if _, ok := parsed.User.Password(); ok {
			problems = append(problems, "source.url: it holds a password, and a ConfigMap is no place for one; use source.auth")
		}
	}
	eachFile(reflect.ValueOf(decoded).Elem(), "", func(key, file string) {
		at := file
		if !path.IsAbs(file) {
			at = path.Join(podConfig, file) // relative to the configuration
		}
		if strings.HasPrefix(file, "~/") || !strings.HasPrefix(path.Clean(at), podCredentials+"/") {
			problems = append(problems, fmt.Sprintf("%s: %s is a file on this machine; put it into the Secret syncer-credentials, and write %s/NAME", key, file, podCredentials))
		}
	})
	for i, environment := range decoded.Environments {
		if c := environment.Cluster; c.Context != "" && c.Kubeconfig == "" {
			problems = append(problems, fmt.Sprintf("environments[%d].cluster.context: %s is a context of the kubeconfig on this machine; leave `cluster` out for the cluster that the daemon runs in, or put a kubeconfig into the Secret syncer-credentials and name it with `kubeconfig`", i, c.Context))
		}
	}
	slices.Sort(problems)
	return problems
}

// eachFile visits every key of a configuration that names a file, by the names that such keys have.
func eachFile(value reflect.Value, at string, visit func(key, file string)) {
	switch value.Kind() {
	case reflect.Struct:
		for i := range value.NumField() {
			name, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("yaml"), ",")
			if name == "" {
				continue
			}
			key := strings.TrimPrefix(at+"."+name, ".")
			isFile := strings.HasSuffix(name, "File") || name == "kubeconfig" || name == "auditLog"
			if field := value.Field(i); isFile && field.Kind() == reflect.String && field.String() != "" {
				visit(key, field.String())
			} else {
				eachFile(field, key, visit)
			}
		}
	case reflect.Slice:
		for i := range value.Len() {
			eachFile(value.Index(i), fmt.Sprintf("%s[%d]", at, i), visit)
		}
	case reflect.Pointer:
		if !value.IsNil() {
			eachFile(value.Elem(), at, visit)
		}
	}
}

// setProbes has the kubelet ask as the server answers: not at all where there is none.
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

// listenerProblems says why nobody could reach a server in a pod.
func listenerProblems(server *v1alpha1.Server) []string {
	if server == nil {
		return nil
	}
	host, port, err := net.SplitHostPort(server.Listen)
	ip := net.ParseIP(host)
	if err != nil || host != "" && (ip == nil || !ip.IsUnspecified()) || port != podPort {
		return []string{fmt.Sprintf("server.listen: %q is not what the Service and the probes of the pod ask; write :%s", server.Listen, podPort)}
	}
	return nil
}

// InstallDaemon applies what DaemonManifests gives to one cluster. It opens nothing else that the configuration names,
// since files of the pod need not be here. The note is worth saying also where it fails.
func InstallDaemon(ctx context.Context, options DaemonOptions) (changes []manifest.Change, note string, err error) {
	set, note, err := DaemonManifests(options)
	if err != nil {
		return nil, "", err
	}
	decoded, err := v1alpha1.DecodeConfig(options.File, options.Data)
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
	environment := environments[0]
	cluster, err := apply.Connect(apply.Options{
		Kubeconfig: environment.Cluster.Kubeconfig, Context: environment.Cluster.Context,
		Namespace: decoded.Namespace, UserAgent: options.UserAgent, AllowExec: environment.Cluster.AllowExec,
	})
	if err != nil {
		return nil, "", fmt.Errorf("environment %s: %w", environment.Name, err)
	}
	changes, err = cluster.Install(ctx, set)
	return changes, note, err
}
