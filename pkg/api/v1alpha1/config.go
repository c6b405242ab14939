package v1alpha1

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Config is syncer.yaml: one source and the environments that it is carried into.
type Config struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	// Name owns the records. Two syncers that share a cluster need two names. Default: derived from source.url.
	Name string `yaml:"name"`
	// Namespace holds the records in each environment's cluster. Default: syncer-system.
	Namespace  string     `yaml:"namespace"`
	Source     Source     `yaml:"source"`
	Registries []Registry `yaml:"registries"`
	// RegistryLimits bound what registries may have syncer send and read.
	RegistryLimits RegistryLimits `yaml:"registryLimits"`
	Environments   []Environment  `yaml:"environments"`
	// Kinds teach syncer how objects of further kinds run and how they are.
	Kinds []Kind `yaml:"kinds"`
	// Severity rates findings; the first rule that matches one decides.
	Severity []SeverityRule `yaml:"severity"`
	Compare  Compare        `yaml:"compare"`
	// Render bounds what the overlay of one target may cost.
	Render Render `yaml:"render"`
	// Server has `syncer run` listen for HTTP; nil: it does not.
	Server *Server `yaml:"server"`
	// LeaderElection has `run` work only while it holds a Lease, so that replicas do not work on one target at a time.
	// Default: true.
	LeaderElection *bool `yaml:"leaderElection"`
	// Shards spread the work over replicas.
	Shards Shards `yaml:"shards"`
}

// Shards are parts of the work, each with a Lease of its own, so that replicas share them.
type Shards struct {
	// By is Environment or Pipeline; empty: one replica does all the work of a cluster.
	By ShardBy `yaml:"by"`
	// Count is into how many parts pipelines are split, by a hash of their names, where By is Pipeline.
	Count int `yaml:"count"`
}

// ShardBy says how work is split.
type ShardBy string

const (
	ByEnvironment ShardBy = "Environment"
	ByPipeline    ShardBy = "Pipeline"
)

// Compare says how environments are compared with each other.
type Compare struct {
	// Ignore names fields in which environments are expected to differ.
	Ignore []FieldRule `yaml:"ignore"`
}

// SeverityRule gives the findings of some kinds and fields a severity. Empty parts match everything.
type SeverityRule struct {
	Group string `yaml:"group"`
	Kind  string `yaml:"kind"`
	// Path of a field, such as spec.replicas: the field and everything below it.
	Path string `yaml:"path"`
	// Severity is critical, warning or info.
	Severity string `yaml:"severity"`
}

// FieldRule names fields of some objects. Empty parts match everything.
type FieldRule struct {
	Group     string `yaml:"group"`
	Kind      string `yaml:"kind"`
	Name      string `yaml:"name"`
	Namespace string `yaml:"namespace"`
	// Paths of fields, such as spec.replicas: each field and everything below it.
	Paths []string `yaml:"paths"`
}

// Kind judges the objects of one kind by expressions in CEL over the variable object, in the language of Kubernetes'
// own admission policies. A question without an expression is answered as for any kind.
type Kind struct {
	Group string `yaml:"group"`
	Kind  string `yaml:"kind"`
	// Running is true while the object does work that a change would throw away.
	Running string `yaml:"running"`
	Healthy string `yaml:"healthy"`
	Failed  string `yaml:"failed"`
}

// Source is the git repository that holds the pipelines.
type Source struct {
	// URL is https, http, ssh, or a local path (relative to the configuration file).
	URL string `yaml:"url"`
	// Branch, Tag, Semver and Commit exclude each other. None: the branch that the remote's HEAD names.
	Branch string `yaml:"branch"`
	Tag    string `yaml:"tag"`
	Semver string `yaml:"semver"`
	Commit string `yaml:"commit"`
	// Layout says where overlays are. Default: pipelines/{pipeline}/overlays/{environment}.
	Layout string `yaml:"layout"`
	// Interval between two polls, at least 1s. Default: 1m.
	Interval Duration `yaml:"interval"`
	// RequireFastForward refuses a branch whose history was rewritten.
	RequireFastForward bool       `yaml:"requireFastForward"`
	Auth               SourceAuth `yaml:"auth"`
	// RedirectHosts may be redirected to by the git server over HTTP, with no credentials.
	RedirectHosts []string     `yaml:"redirectHosts"`
	Limits        SourceLimits `yaml:"limits"`
	// Verify demands signatures of commits in every environment that has no verify of its own.
	Verify *Verify `yaml:"verify"`
}

// SourceAuth names the files that hold credentials; they are read again at each fetch, so that they can be rotated.
type SourceAuth struct {
	Username       string `yaml:"username"`
	PasswordFile   string `yaml:"passwordFile"`
	TokenFile      string `yaml:"tokenFile"`
	SSHKeyFile     string `yaml:"sshKeyFile"`
	KnownHostsFile string `yaml:"knownHostsFile"`
	CAFile         string `yaml:"caFile"`
}

// Registry says how one registry host is reached. Hosts that are not listed are reached over https with the
// credentials of the docker configuration.
type Registry struct {
	Host string `yaml:"host"`
	// PlainHTTP speaks http. Loopback hosts are plain http anyway.
	PlainHTTP bool `yaml:"plainHTTP"`
	// Mirror is a host that is asked in this one's place; references keep the host that git writes.
	Mirror string `yaml:"mirror"`
	CAFile string `yaml:"caFile"`
	// CredentialsFile is a docker config.json that goes before the usual one for this host.
	CredentialsFile string `yaml:"credentialsFile"`
}

// Environment is an overlay name, a cluster and a policy.
type Environment struct {
	Name    string      `yaml:"name"`
	Cluster Cluster     `yaml:"cluster"`
	Images  ImagePolicy `yaml:"images"`
	// Drift is Report (the default) or Correct.
	Drift DriftPolicy `yaml:"drift"`
	// CorrectExcept names fields whose drift is reported and left alone where the rest is corrected.
	CorrectExcept []FieldRule `yaml:"correctExcept"`
	Prune         Prune       `yaml:"prune"`
	// OnRunning decides about a change of an object that is running: wait (the default), replace or skip.
	OnRunning OnRunning `yaml:"onRunning"`
	// Suspend leaves every pipeline of the environment as it is until it is false again.
	Suspend bool `yaml:"suspend"`
	// Verify demands other signatures of commits than source.verify.
	Verify *Verify `yaml:"verify"`
}

// OnRunning decides about a change that would disturb an object while it runs.
type OnRunning string

const (
	// Wait holds the change until the run has ended.
	Wait OnRunning = "wait"
	// Replace applies the change at once and does not spare the run.
	Replace OnRunning = "replace"
	// Skip leaves the object to its run; the change is part of the next one.
	Skip OnRunning = "skip"
)

// Rerun decides about a changed object that has run to its end.
type Rerun string

const (
	// Never applies the change and leaves the rest to the operator of the kind.
	Never Rerun = "Never"
	// OnChange deletes the object and creates it again, so that it runs.
	OnChange Rerun = "OnChange"
)

// Cluster is where an environment runs. Empty: KUBECONFIG, then ~/.kube/config, then the pod's own service account.
type Cluster struct {
	Kubeconfig string `yaml:"kubeconfig"`
	Context    string `yaml:"context"`
	// AllowExec lets the kubeconfig run a program for its credentials. A kubeconfig is data and may come from anywhere, so
	// that its programs run only with this permission.
	AllowExec bool `yaml:"allowExec"`
	// AuditLog is the file of the API server's audit log; drift is then reported with its user.
	AuditLog string `yaml:"auditLog"`
}

// ImagePolicy decides which digest a tag stands for.
type ImagePolicy struct {
	// Policy is Pin (the default) or Track.
	Policy PinPolicy `yaml:"policy"`
	// Interval between two look-ups of a deployed tag: under Track to deploy its new digest, under Pin to report that it
	// moved. Default: 1m.
	Interval Duration `yaml:"interval"`
	// PromoteFrom names the environment from whose healthy deployment a new reference takes its digest, in place of
	// the registry.
	PromoteFrom string `yaml:"promoteFrom"`
	// After is how long that deployment must have been healthy.
	After Duration `yaml:"after"`
	// DenyTags are tags that are never deployed. latest covers references without a tag.
	DenyTags []string `yaml:"denyTags"`
	// Allow lists the repositories that may be deployed, with * for any text; empty: all.
	Allow []string `yaml:"allow"`
	// Signatures that images must carry.
	Signatures []Signature `yaml:"signatures"`
	// KeepPins says how long a pin that is no longer used is kept, so that a revert is exact.
	KeepPins KeepPins `yaml:"keepPins"`
}

// Signature is a key with which images of matching repositories must be signed, as `cosign sign --key` does.
type Signature struct {
	// Match is a repository, with * for any text.
	Match         string `yaml:"match"`
	PublicKeyFile string `yaml:"publicKeyFile"`
}

// KeepPins are two limits; an unused pin is dropped when it is past both.
type KeepPins struct {
	// Deployments since the last one that used the pin. Default: 20.
	Deployments *int `yaml:"deployments"`
	// For is the time since the pin was used. Default: 2160h (90 days).
	For Duration `yaml:"for"`
}

// PinPolicy decides about a deployed tag that moves.
type PinPolicy string

const (
	// Pin keeps the digest of a reference's first deployment in the environment.
	Pin PinPolicy = "Pin"
	// Track deploys the digest that the tag has now.
	Track PinPolicy = "Track"
)

// DriftPolicy decides about a field that was changed in the cluster.
type DriftPolicy string

const (
	// Report leaves the change and reports it.
	Report DriftPolicy = "Report"
	// Correct writes git's value.
	Correct DriftPolicy = "Correct"
)

// Prune limits how much one pass may delete.
type Prune struct {
	// Enabled is true unless said otherwise.
	Enabled *bool `yaml:"enabled"`
	// MaxPercent of a target's objects that one commit may delete. Default: 50.
	MaxPercent *int `yaml:"maxPercent"`
	// MaxObjects that one commit may delete from a target; 0 is no limit.
	MaxObjects int `yaml:"maxObjects"`
	// MaxPerPass is how many objects one pass may delete from the whole environment; 0 is no limit.
	MaxPerPass int `yaml:"maxPerPass"`
	// Propagation is Background (the default) or Foreground: whether the deletion of an object waits for its dependents.
	Propagation Propagation `yaml:"propagation"`
}

// Propagation says how the objects go that a deleted one owns.
type Propagation string

const (
	Background Propagation = "Background"
	Foreground Propagation = "Foreground"
)

// Duration is a Go duration string such as 30s or 5m.
type Duration struct{ time.Duration }

// UnmarshalYAML reads a duration string.
func (d *Duration) UnmarshalYAML(node *yaml.Node) error {
	parsed, err := time.ParseDuration(node.Value)
	if err != nil {
		// After an error of this type yaml goes on, to find more errors.
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %q is not a duration (write 30s, 5m, 1h)", node.Line, node.Value)}}
	}
	d.Duration = parsed
	return nil
}

const (
	// DefaultNamespace holds the records unless the configuration names another.
	DefaultNamespace = "syncer-system"
	// DefaultLayout is where overlays are unless the configuration says otherwise.
	DefaultLayout = "pipelines/{pipeline}/overlays/{environment}"

	defaultInterval   = time.Minute
	defaultMaxPercent = 50

	defaultKeptDeployments = 20
	defaultKeptFor         = 90 * 24 * time.Hour
)

// DecodeConfig reads a configuration strictly, fills in the defaults and validates it. The name stands in errors.
func DecodeConfig(name string, data []byte) (*Config, error) {
	config := &Config{}
	doc, err := decode(name, data, "Config", config)
	if err != nil {
		return nil, err
	}
	problems := &problems{file: name, doc: doc}
	if source := child(doc, "source"); source != nil && config.Source.Interval.Duration == 0 && scalar(source, "interval") != "" {
		problems.add("source.interval", "0s is too short; at least 1s")
	}
	config.setDefaults()
	config.validate(problems)
	return config, problems.err()
}

func (c *Config) setDefaults() {
	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
	if c.Name == "" {
		c.Name = nameFromURL(c.Source.URL)
	}
	if c.Source.Layout == "" {
		c.Source.Layout = DefaultLayout
	}
	if c.Source.Interval.Duration == 0 {
		c.Source.Interval.Duration = defaultInterval
	}
	if c.LeaderElection == nil {
		elects := true
		c.LeaderElection = &elects
	}
	c.Server.setDefaults()
	for i := range c.Environments {
		env := &c.Environments[i]
		if env.Images.Policy == "" {
			env.Images.Policy = Pin
		}
		if env.Images.Interval.Duration == 0 {
			env.Images.Interval.Duration = defaultInterval
		}
		if env.Images.KeepPins.Deployments == nil {
			deployments := defaultKeptDeployments
			env.Images.KeepPins.Deployments = &deployments
		}
		if env.Images.KeepPins.For.Duration == 0 {
			env.Images.KeepPins.For.Duration = defaultKeptFor
		}
		if env.OnRunning == "" {
			env.OnRunning = Wait
		}
		if env.Prune.Propagation == "" {
			env.Prune.Propagation = Background
		}
		if env.Drift == "" {
			env.Drift = Report
		}
		if env.Prune.Enabled == nil {
			enabled := true
			env.Prune.Enabled = &enabled
		}
		if env.Prune.MaxPercent == nil {
			percent := defaultMaxPercent
			env.Prune.MaxPercent = &percent
		}
	}
}

var (
	dnsLabel  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	dnsName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	notInName = regexp.MustCompile(`[^a-z0-9]+`)
)

// ValidPipelineName reports whether a folder's name can name a record: lower-case letters, digits, dashes and dots.
func ValidPipelineName(name string) bool { return dnsName.MatchString(name) && len(name) <= 180 }

// nameFromURL derives an owner's name from a repository: the last two parts of its path, and nothing of a user, a
// password or a query.
func nameFromURL(url string) string {
	url, _, _ = strings.Cut(url, "?")
	if scheme, rest, ok := strings.Cut(url, "://"); ok {
		if i := strings.LastIndex(rest, "@"); i >= 0 {
			url = scheme + "://" + rest[i+1:]
		}
	}
	parts := strings.FieldsFunc(strings.TrimSuffix(strings.TrimSuffix(url, "/"), ".git"), func(r rune) bool {
		return r == '/' || r == ':'
	})
	if len(parts) > 2 {
		parts = parts[len(parts)-2:]
	}
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(strings.Join(parts, "-")), "-"), "-")
	if len(name) > 63 {
		name = strings.Trim(name[len(name)-63:], "-")
	}
	if name == "" {
		return "syncer"
	}
	return name
}
