package image

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// Credentials are the docker configurations of pull secrets, as the kubelet would use them. The zero value has none.
type Credentials struct {
	// Configs are documents in the form of .dockerconfigjson; the first that knows a registry answers.
	Configs []string
}

// ID distinguishes credentials without showing them.
func (c Credentials) ID() string {
	sum := sha256.Sum256([]byte(strings.Join(c.Configs, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// Resolve implements authn.Keychain. The most specific entry that matches a repository answers.
func (c Credentials) Resolve(target authn.Resource) (authn.Authenticator, error) {
	for _, doc := range c.Configs {
		docker, err := config.LoadFromReader(strings.NewReader(doc))
		if err != nil {
			continue // the kubelet passes over such a secret too
		}
		best := ""
		for key := range docker.AuthConfigs {
			if noLogin(docker.AuthConfigs[key]) {
				continue // left by a logout, and no reason to go without credentials
			}
			if covers(key, target.String()) && (len(key) > len(best) || len(key) == len(best) && key > best) {
				best = key
			}
		}
		auth, ok := docker.AuthConfigs[best]
		if !ok {
			continue
		}
		return authn.FromConfig(authn.AuthConfig{
			Username: auth.Username, Password: auth.Password, Auth: auth.Auth,
			IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken,
		}), nil
	}
	return authn.Anonymous, nil
}

func noLogin(auth types.AuthConfig) bool {
	return auth == types.AuthConfig{ServerAddress: auth.ServerAddress}
}

// covers reports whether an entry of a docker configuration is for a repository, by the kubelet's rules
// (https://kubernetes.io/docs/concepts/containers/images/#config-json): a host, with * within its labels, and the
// beginning of a path.
func covers(key, repository string) bool {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		key = rest
	}
	host, prefix, _ := strings.Cut(key, "/")
	if host == "docker.io" {
		host = name.DefaultRegistry
	}
	prefix = strings.Trim(prefix, "/")
	if prefix == "v1" || prefix == "v2" {
		prefix = ""
	}
	targetHost, targetPath, _ := strings.Cut(repository, "/")
	if prefix != "" && targetPath != prefix && !strings.HasPrefix(targetPath, prefix+"/") {
		return false
	}
	patterns, labels := strings.Split(host, "."), strings.Split(targetHost, ".")
	return len(patterns) == len(labels) && !slices.ContainsFunc(patterns, func(pattern string) bool {
		label := labels[0]
		labels = labels[1:]
		matches, err := path.Match(pattern, label)
		return err != nil || !matches
	})
}
