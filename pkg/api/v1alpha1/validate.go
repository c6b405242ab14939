package v1alpha1

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func (c *Config) validate(p *problems) {
	if !dnsLabel.MatchString(c.Name) {
		p.add("name", "%q is not a name (lower-case letters, digits and dashes, at most 63)", c.Name)
	}
	if !dnsLabel.MatchString(c.Namespace) {
		p.add("namespace", "%q is not the name of a namespace", c.Namespace)
	}
	c.Source.validate(p)
	c.RegistryLimits.validate(p, "registryLimits")
	c.validateShards(p)
	hosts := map[string]bool{}
	for i, registry := range c.Registries {
		at := fmt.Sprintf("registries[%d]", i)
		if registry.Host == "" || strings.Contains(registry.Host, "/") {
			p.add(at+".host", "%q is not a registry host (write registry.example.com or registry.example.com:5000)", registry.Host)
		}
		if strings.Contains(registry.Mirror, "/") {
			p.add(at+".mirror", "%q is not a registry host (write mirror.example.com or mirror.example.com:5000)", registry.Mirror)
		}
		if hosts[registry.Host] {
			p.add(at+".host", "%q is listed twice", registry.Host)
		}
		hosts[registry.Host] = true
	}
	for i, kind := range c.Kinds {
		at := fmt.Sprintf("kinds[%d]", i)
		if kind.Kind == "" {
			p.add(at+".kind", "it is required")
		}
		if kind.Running+kind.Healthy+kind.Failed == "" {
			p.add(at, "it says nothing; give running, healthy or failed")
		}
	}
	for i, rule := range c.Compare.Ignore {
		if len(rule.Paths) == 0 {
			p.add(fmt.Sprintf("compare.ignore[%d].paths", i), "it is required, such as [spec.executor.instances]")
		}
	}
	for i, rule := range c.Severity {
		if !slices.Contains([]string{"critical", "warning", "info"}, rule.Severity) {
			p.add(fmt.Sprintf("severity[%d].severity", i), "%q is not a severity; use critical, warning or info", rule.Severity)
		}
	}
	c.Render.validate(p)
	c.Server.validate(p)
	if len(c.Environments) == 0 {
		p.add("environments", "none is given; name at least one, such as `- name: dev`")
	}
	seen := map[string]bool{}
	for i, env := range c.Environments {
		at := fmt.Sprintf("environments[%d]", i)
		if !dnsLabel.MatchString(env.Name) {
			p.add(at+".name", "%q is not a name (lower-case letters, digits and dashes, at most 63)", env.Name)
		}
		if seen[env.Name] {
			p.add(at+".name", "%q is listed twice", env.Name)
		}
		seen[env.Name] = true
		env.validate(p, at)
	}
	c.validateVerify(p)
	for i, env := range c.Environments {
		c.validatePromotion(p, fmt.Sprintf("environments[%d].images.promoteFrom", i), env)
	}
}

// PromotionDepth is how many environments a digest has passed through before it may reach this one. It is for a
// validated configuration, whose promotion ends somewhere.
func (c *Config) PromotionDepth(environment string) int {
	for _, env := range c.Environments {
		if env.Name == environment && env.Images.PromoteFrom != "" {
			return 1 + c.PromotionDepth(env.Images.PromoteFrom)
		}
	}
	return 0
}

// validatePromotion follows promoteFrom from one environment to the next, which must end somewhere.
func (c *Config) validatePromotion(p *problems, at string, env Environment) {
	chain := []string{env.Name}
	for env.Images.PromoteFrom != "" {
		next := env.Images.PromoteFrom
		i := slices.IndexFunc(c.Environments, func(e Environment) bool { return e.Name == next })
		if i < 0 {
			if len(chain) == 1 {
				p.add(at, "there is no environment %q", next)
			}
			return
		}
		if slices.Contains(chain, next) {
			if next == chain[0] { // said once for each member of the circle
				p.add(at, "promotion goes in a circle: %s", strings.Join(append(chain, next), " from "))
			}
			return
		}
		chain = append(chain, next)
		env = c.Environments[i]
	}
}

func (s *Source) validate(p *problems) {
	if s.URL == "" {
		p.add("source.url", "it is required: the repository's https, http or ssh address, or a local path")
	}
	var refs []string
	for _, ref := range []struct{ key, value string }{{"branch", s.Branch}, {"tag", s.Tag}, {"semver", s.Semver}, {"commit", s.Commit}} {
		if ref.value != "" {
			refs = append(refs, ref.key)
		}
	}
	if len(refs) > 1 {
		p.add("source."+refs[1], "%s exclude each other; keep one", strings.Join(refs, ", "))
	}
	if s.RequireFastForward && s.Tag+s.Semver+s.Commit != "" {
		p.add("source.requireFastForward", "it is about a branch; leave it out with tag, semver or commit")
	}
	if strings.Count(s.Layout, "{pipeline}") != 1 || strings.Count(s.Layout, "{environment}") != 1 {
		p.add("source.layout", "%q needs {pipeline} once and {environment} once, as in %s", s.Layout, DefaultLayout)
	}
	for part := range strings.SplitSeq(strings.Trim(s.Layout, "/"), "/") {
		if part == ".." || part == "." || part == "" {
			p.add("source.layout", "%q is a path inside the repository, without empty parts, . or ..", s.Layout)
			break
		}
		if strings.Contains(part, "{pipeline}") && strings.Contains(part, "{environment}") {
			p.add("source.layout", "%q has {pipeline} and {environment} in one folder name; put a / between them", s.Layout)
		}
	}
	for i, host := range s.RedirectHosts {
		if host == "" || strings.ContainsAny(host, "/@") {
			p.add(fmt.Sprintf("source.redirectHosts[%d]", i), "%q is not a host (write git.example.com or git.example.com:8443)", host)
		}
	}
	s.Limits.validate(p, "source.limits")
	if s.Interval.Duration < time.Second {
		p.add("source.interval", "%s is too short; at least 1s", s.Interval.Duration)
	}
	if s.Auth.PasswordFile != "" && s.Auth.TokenFile != "" {
		p.add("source.auth.tokenFile", "passwordFile and tokenFile exclude each other; keep one")
	}
	if s.Auth.PasswordFile != "" && s.Auth.Username == "" {
		p.add("source.auth.username", "a passwordFile needs a username")
	}
}

func (e *Environment) validate(p *problems, at string) {
	for n, rule := range e.CorrectExcept {
		if len(rule.Paths) == 0 {
			p.add(fmt.Sprintf("%s.correctExcept[%d].paths", at, n), "it is required, such as [spec.replicas]")
		}
	}
	e.Images.validate(p, at+".images")
	switch e.Drift {
	case Report, Correct:
	default:
		p.add(at+".drift", "%q is not a policy; use Report or Correct", e.Drift)
	}
	if *e.Prune.MaxPercent < 0 || *e.Prune.MaxPercent > 100 {
		p.add(at+".prune.maxPercent", "%d is not between 0 and 100", *e.Prune.MaxPercent)
	}
	switch e.Prune.Propagation {
	case Background, Foreground:
	default:
		p.add(at+".prune.propagation", "%q is not a policy; use Background or Foreground", e.Prune.Propagation)
	}
	e.OnRunning.validate(p, at+".onRunning")
	if e.Prune.MaxObjects < 0 {
		p.add(at+".prune.maxObjects", "%d is below 0; 0 is no limit", e.Prune.MaxObjects)
	}
	if e.Prune.MaxPerPass < 0 {
		p.add(at+".prune.maxPerPass", "%d is below 0; 0 is no limit", e.Prune.MaxPerPass)
	}
}

func (i *ImagePolicy) validate(p *problems, at string) {
	i.Policy.validate(p, at+".policy")
	if i.Interval.Duration < time.Second {
		p.add(at+".interval", "%s is too short; at least 1s", i.Interval.Duration)
	}
	if i.After.Duration < 0 || i.After.Duration > 0 && i.PromoteFrom == "" {
		p.add(at+".after", "it says how long promoteFrom's deployment must have been healthy; leave it out without promoteFrom")
	}
	if i.PromoteFrom != "" && i.Policy == Track {
		p.add(at+".promoteFrom", "promoted digests do not follow tags; use policy Pin")
	}
	for n, signature := range i.Signatures {
		if signature.Match == "" || signature.PublicKeyFile == "" {
			p.add(fmt.Sprintf("%s.signatures[%d]", at, n), "it needs match and publicKeyFile")
		}
	}
	if *i.KeepPins.Deployments < 0 {
		p.add(at+".keepPins.deployments", "%d is below 0", *i.KeepPins.Deployments)
	}
}

func (policy PinPolicy) validate(p *problems, at string) {
	switch policy {
	case Pin, Track:
	default:
		p.add(at, "%q is not a policy; use Pin or Track", policy)
	}
}

const mostShards = 64

func (c *Config) validateShards(p *problems) {
	switch {
	case c.Shards == (Shards{}):
		return
	case c.Shards.By != ByEnvironment && c.Shards.By != ByPipeline:
		p.add("shards.by", "%q is no way to split the work; use Environment or Pipeline", c.Shards.By)
	case c.Shards.By == ByPipeline && (c.Shards.Count < 2 || c.Shards.Count > mostShards):
		p.add("shards.count", "%d is not a number of parts; use 2 to %d", c.Shards.Count, mostShards)
	case c.Shards.By == ByEnvironment && c.Shards.Count != 0:
		p.add("shards.count", "it is for `by: Pipeline`; with Environment, each environment is a part")
	}
	if !*c.LeaderElection {
		p.add("shards", "parts are given out by Leases; leaderElection: false leaves every replica with all of them")
	}
}

func (o OnRunning) validate(p *problems, at string) {
	switch o {
	case "", Wait, Replace, Skip:
	default:
		p.add(at, "%q is not a policy; use wait, replace or skip", o)
	}
}

func (r Rerun) validate(p *problems, at string) {
	switch r {
	case "", Never, OnChange:
	default:
		p.add(at, "%q is not a policy; use Never or OnChange", r)
	}
}
