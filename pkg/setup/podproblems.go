package setup

import (
	"fmt"
	"net"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// podProblems names the keys of a configuration whose values are only valid on this machine, sorted.
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

// eachFile visits every key of a configuration that names a file. It finds them by the names of the keys.
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

// listenerProblems says why a server in a pod would not be reachable.
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
