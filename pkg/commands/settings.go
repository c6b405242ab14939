package commands

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/render"
	"github.com/syncerdev/syncer/pkg/renderers"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// rules are those of a configuration that name fields.
type rules struct {
	severities []drift.SeverityRule
	exempt     map[string][]ignore.Rule // by environment: drift that is not corrected
	expected   []drift.ExpectedRule     // differences between environments
}

func readRules(config *v1alpha1.Config) (out rules, err error) {
	for i, rule := range config.Severity {
		severity := drift.SeverityRule{Group: rule.Group, Kind: rule.Kind, Severity: drift.Severity(rule.Severity)}
		if rule.Path != "" {
			if severity.Path, err = manifest.ParsePath(rule.Path); err != nil {
				return out, fmt.Errorf("severity[%d].path: %w", i, err)
			}
		}
		out.severities = append(out.severities, severity)
	}
	out.exempt = map[string][]ignore.Rule{}
	for i, environment := range config.Environments {
		for n, rule := range environment.CorrectExcept {
			exempt, err := target.FieldRule(fmt.Sprintf("environments[%d].correctExcept[%d]", i, n), rule)
			if err != nil {
				return out, err
			}
			out.exempt[environment.Name] = append(out.exempt[environment.Name], exempt)
		}
	}
	for i, rule := range config.Compare.Ignore {
		fields, err := target.FieldRule(fmt.Sprintf("compare.ignore[%d]", i), rule)
		if err != nil {
			return out, err
		}
		out.expected = append(out.expected, drift.ExpectedRule{Group: fields.Group, Kind: fields.Kind, Namespace: fields.Namespace, Name: fields.Name, Paths: fields.Paths})
	}
	return out, nil
}

func openSource(s v1alpha1.Source, cacheDir string, failed func(error)) (*source.Repository, error) {
	return source.Open(source.Options{
		URL: s.URL, Branch: s.Branch, Tag: s.Tag, Semver: s.Semver, Commit: s.Commit,
		RequireFastForward: s.RequireFastForward,
		Auth: source.Auth{
			Username: s.Auth.Username, PasswordFile: s.Auth.PasswordFile, TokenFile: s.Auth.TokenFile,
			SSHKeyFile: s.Auth.SSHKeyFile, KnownHostsFile: s.Auth.KnownHostsFile, CAFile: s.Auth.CAFile,
			RedirectHosts: s.RedirectHosts,
		},
		Limits: source.Limits{
			Refs: s.Limits.Refs, RefBytes: int64(s.Limits.RefBytes), Redirects: s.Limits.Redirects,
			PackBytes: int64(s.Limits.PackBytes), Objects: s.Limits.Objects,
			ObjectBytes: int64(s.Limits.ObjectBytes), InflatedBytes: int64(s.Limits.InflatedBytes), Files: s.Limits.Files,
			CacheBytes: int64(s.Limits.CacheBytes), MemoryBytes: int64(s.Limits.MemoryBytes),
		},
		CacheDir: cacheDir,
		Failed:   failed,
	})
}

func registryHosts(registries []v1alpha1.Registry) []image.Host {
	hosts := make([]image.Host, len(registries))
	for i, r := range registries {
		hosts[i] = image.Host{Name: r.Host, PlainHTTP: r.PlainHTTP, Mirror: r.Mirror, CAFile: r.CAFile, CredentialsFile: r.CredentialsFile}
	}
	return hosts
}

func registryLimits(l v1alpha1.RegistryLimits) image.Limits {
	return image.Limits{
		RequestsPerMinute: l.RequestsPerMinute, RequestsPerLookup: l.RequestsPerLookup, Redirects: l.Redirects,
		TagPages: l.TagPages, TagBytes: int64(l.TagBytes), ManifestBytes: int64(l.ManifestBytes), Signatures: l.Signatures,
	}
}

func declaredKinds(kinds []v1alpha1.Kind) []health.Declared {
	out := make([]health.Declared, len(kinds))
	for i, k := range kinds {
		out[i] = health.Declared{Group: k.Group, Kind: k.Kind, Running: k.Running, Healthy: k.Healthy, Failed: k.Failed}
	}
	return out
}

// resolvePaths makes the paths of a configuration absolute, so that a command works from any folder.
func resolvePaths(config *v1alpha1.Config, folder string) {
	paths := []*string{
		&config.Source.Auth.PasswordFile, &config.Source.Auth.TokenFile, &config.Source.Auth.SSHKeyFile,
		&config.Source.Auth.KnownHostsFile, &config.Source.Auth.CAFile,
	}
	if v1alpha1.IsLocalPath(config.Source.URL) {
		paths = append(paths, &config.Source.URL)
	}
	if verify := config.Source.Verify; verify != nil {
		paths = append(paths, &verify.AllowedSignersFile, &verify.KeyringFile, &verify.RevokedKeysFile)
	}
	for i := range config.Registries {
		paths = append(paths, &config.Registries[i].CAFile, &config.Registries[i].CredentialsFile)
	}
	for i := range config.Environments {
		paths = append(paths, &config.Environments[i].Cluster.Kubeconfig, &config.Environments[i].Cluster.AuditLog)
		if verify := config.Environments[i].Verify; verify != nil {
			paths = append(paths, &verify.AllowedSignersFile, &verify.KeyringFile, &verify.RevokedKeysFile)
		}
		for n := range config.Environments[i].Images.Signatures {
			paths = append(paths, &config.Environments[i].Images.Signatures[n].PublicKeyFile)
		}
	}
	if server := config.Server; server != nil {
		paths = append(paths, &server.WebhookSecretFile, &server.TLSCertFile, &server.TLSKeyFile, &server.AuditTokenFile)
	}
	for _, p := range paths {
		if *p == "" || filepath.IsAbs(*p) {
			continue
		}
		if home, err := os.UserHomeDir(); err == nil && strings.HasPrefix(*p, "~/") {
			*p = filepath.Join(home, (*p)[2:])
			continue
		}
		*p = filepath.Join(folder, *p)
	}
}

// renderLimits are the limits of a configuration. A zero is left to its default.
func renderLimits(r v1alpha1.Render) renderers.Limits {
	return renderers.Limits{
		Memory: int64(r.Memory), Time: r.Timeout.Duration,
		Render: render.Limits{
			FileBytes: int64(r.FileBytes), Files: int64(r.Files), Bytes: int64(r.Bytes), Aliases: int64(r.Aliases), Nesting: int64(r.Nesting),
			Objects: int64(r.Objects), ObjectBytes: int64(r.ObjectBytes), SetBytes: int64(r.SetBytes), ErrorBytes: int64(r.ErrorBytes),
		},
	}
}
