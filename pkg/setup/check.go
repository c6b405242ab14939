package setup

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// CheckStatus is the result of a check.
type CheckStatus string

const (
	CheckOK   CheckStatus = "OK"
	CheckWarn CheckStatus = "WARN" // syncer works, but less well than it could
	CheckFail CheckStatus = "FAIL" // the repository needs something that is missing
)

// Check is one check and its result.
type Check struct {
	Check        string      `json:"check"`
	Environments []string    `json:"environments"` // empty: all of them
	Status       CheckStatus `json:"status"`
	Message      string      `json:"message"`
	Fix          string      `json:"mend"` // what the reader can do; empty: nothing
}

// Checks is the result of `syncer check`.
type Checks struct {
	Checks []Check `json:"checks"`
}

// Failed reports whether one of the checks failed.
func (c Checks) Failed() bool { return anyFailed(c.Checks) }

func anyFailed(checks []Check) bool {
	return slices.ContainsFunc(checks, func(check Check) bool { return check.Status == CheckFail })
}

// Names of the checks.
const (
	CheckConfiguration = "configuration"
	checkGit           = "git"
	checkPipelines     = "pipelines"
	checkCluster       = "cluster"
	checkClock         = "clock"
	checkCRD           = "crd"
	checkNamespace     = "namespace"
	checkKey           = "inventory-key"
	checkRecords       = "records"
	checkRights        = "rights"
	checkServer        = "server"
	checkRegistry      = "registry"
)

func passed(check, format string, args ...any) Check {
	return Check{Check: check, Status: CheckOK, Message: fmt.Sprintf(format, args...)}
}

func warned(check, fix, format string, args ...any) Check {
	return Check{Check: check, Status: CheckWarn, Message: fmt.Sprintf(format, args...), Fix: fix}
}

func failed(check, fix, format string, args ...any) Check {
	return Check{Check: check, Status: CheckFail, Message: fmt.Sprintf(format, args...), Fix: fix}
}

// in sets the environments of checks that name none.
func in(environments []string, checks ...Check) []Check {
	for i := range checks {
		if checks[i].Environments == nil {
			checks[i].Environments = environments
		}
	}
	return checks
}

// Checker checks everything that syncer needs to deploy the newest commit. All fields but As are required.
type Checker struct {
	Planner  *target.Planner // with its Config and Clusters
	Source   Source
	Registry *image.Registry
	As       string // the user of the connections to the clusters; empty: the one of the kubeconfig
	Now      func() time.Time
}

// Source is the repository. A *source.Repository is one.
type Source interface {
	Fetch(ctx context.Context) (source.Snapshot, error)
}

// Check runs all checks for the selected environments, and changes nothing. A failed check does not stop the others.
// Notify receives each check as it ends. The error is one of the selection.
func (c *Checker) Check(ctx context.Context, environments []string, notify func(Check)) (Checks, error) {
	selected, err := c.Planner.Config.Select(environments)
	if err != nil {
		return Checks{}, err
	}
	all := Checks{Checks: []Check{}}
	note := func(checks ...Check) {
		for _, check := range in([]string{}, checks...) {
			all.Checks = append(all.Checks, check)
			notify(check)
		}
	}
	config := c.Planner.Config
	note(passed(CheckConfiguration, "%s for %s, owner %s", manifest.Plural(len(config.Environments), "environment"), config.Source.PublicURL(), config.Name))
	snap, fetched := c.fetch(ctx)
	note(fetched)
	var targets []*target.Desired
	if fetched.Status == CheckOK {
		var rendered []Check
		targets, rendered = c.render(ctx, snap, selected)
		note(rendered...)
	}
	groups, unreachable := c.groups(selected, targets)
	note(unreachable...)
	for _, group := range groups {
		group.check(ctx, note)
	}
	for _, login := range logins(targets, func(d *target.Desired) image.Credentials { return c.credentials(ctx, d) }) {
		note(c.ping(ctx, login))
	}
	return all, nil
}

func (c *Checker) fetch(ctx context.Context) (source.Snapshot, Check) {
	began := c.Now()
	snap, err := c.Source.Fetch(ctx)
	if err != nil {
		return snap, failed(checkGit, "mend what the error names; see docs/reference/errors.md", "%v", err)
	}
	return snap, passed(checkGit, "commit %.8s, fetched in %s", snap.Commit, c.Now().Sub(began).Round(time.Millisecond))
}

// render renders the targets of a commit, and returns those that render.
func (c *Checker) render(ctx context.Context, snap source.Snapshot, selected []*v1alpha1.Environment) (targets []*target.Desired, checks []Check) {
	pipelines, err := c.Planner.Discover(snap)
	if err != nil {
		return nil, []Check{failed(checkPipelines, "mend source.layout or the repository", "%v", err)}
	}
	var all []*target.Desired
	for _, environment := range selected {
		for _, p := range pipelines {
			if p.Overlays[environment.Name] != "" {
				all = append(all, c.Planner.Desired(p, environment, snap))
			}
		}
	}
	c.Planner.Renderings.Render(ctx, all, snap.Files)
	for _, d := range all {
		if d.Err != nil {
			check := failed(checkPipelines, "mend the repository; the other pipelines are deployed", "%s does not render: %v", d.Target.Pipeline, d.Err)
			checks = append(checks, in([]string{d.Target.Environment}, check)...)
			continue
		}
		targets = append(targets, d)
	}
	if len(targets) > 0 {
		checks = append(checks, passed(checkPipelines, "%s render", manifest.Plural(len(targets), "target")))
	}
	return targets, checks
}

// groups joins the environments of one cluster, with the targets that render. It returns a check for each environment
// without a usable connection.
func (c *Checker) groups(selected []*v1alpha1.Environment, targets []*target.Desired) (groups []*group, checks []Check) {
	byCluster := map[*cluster.Cluster]*group{}
	for _, environment := range selected {
		cluster, err := c.Planner.Clusters.Of(environment)
		if err != nil {
			check := failed(checkCluster, "mend `cluster` of the environment, or the kubeconfig", "%v", err)
			checks = append(checks, in([]string{environment.Name}, check)...)
			continue
		}
		g := byCluster[cluster]
		if g == nil {
			g = &group{config: c.Planner.Config, cluster: cluster, as: c.As, now: c.Now}
			byCluster[cluster] = g
			groups = append(groups, g)
		}
		g.environments = append(g.environments, environment.Name)
		for _, d := range targets {
			if d.Target.Environment == environment.Name {
				g.targets = append(g.targets, d)
			}
		}
	}
	return groups, checks
}
