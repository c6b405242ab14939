package setup

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/config"
	"github.com/syncerdev/syncer/pkg/access"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// reviewer answers which rights its account does not have. An access.Account is one.
type reviewer interface {
	Missing(ctx context.Context, rights []access.Right) ([]access.Right, error)
}

// deployer also answers which rights a set needs. An access.Account is one.
type deployer interface {
	reviewer
	Needs(set manifest.Set, others ...manifest.Set) (needs []access.Need, unknown []manifest.ID, err error)
}

// shippedRoles are the roles of config/cluster: those for the records, and those for the objects of the repository.
func shippedRoles(namespace string) (records, deploy []*unstructured.Unstructured, err error) {
	set, err := manifestsOf(config.Cluster, namespace)
	if err != nil {
		return nil, nil, err
	}
	for _, obj := range set {
		switch obj.GetKind() {
		case "Role":
			records = append(records, obj)
		case "ClusterRole":
			deploy = append(deploy, obj)
		}
	}
	return records, deploy, nil
}

// records checks the rights to the records.
func (g *group) records(ctx context.Context) []Check {
	roles, _, err := shippedRoles(g.config.Namespace)
	if err != nil {
		return []Check{failed(checkRecords, "", "%v", err)}
	}
	return recordRights(ctx, access.RightsOfAccount(g.cluster), g.config.Namespace, roles)
}

func recordRights(ctx context.Context, account reviewer, namespace string, roles []*unstructured.Unstructured) []Check {
	var wanted []access.Right
	for _, role := range roles {
		wanted = append(wanted, access.RightsOf(role, namespace)...)
	}
	return roleCheck{
		check:  checkRecords,
		role:   fmt.Sprintf("the Role syncer-records in namespace %s, which `syncer install` writes", namespace),
		passed: fmt.Sprintf("the account may keep the records in namespace %s", namespace),
	}.run(ctx, account, wanted)
}

// roleCheck checks the rights that a shipped role gives.
type roleCheck struct {
	check  string
	role   string // the role that lacks a missing right, and which command writes it
	effect string // what follows from a missing right; may be empty
	passed string // what the account may do
}

func (r roleCheck) run(ctx context.Context, account reviewer, wanted []access.Right) (checks []Check) {
	missing, err := account.Missing(ctx, wanted)
	if err != nil {
		return []Check{failed(r.check, "", "%v", err)}
	}
	for _, line := range byResource(missing) {
		fix := fmt.Sprintf("add %s to %s", line.first.Rule(line.verbs), r.role)
		checks = append(checks, failed(r.check, fix, "%s%s", line, r.effect))
	}
	if len(missing) == 0 {
		checks = append(checks, passed(r.check, "%s", r.passed))
	}
	return checks
}

// serving checks the right to review the tokens of the server's readers. A daemon needs it where it listens beyond its own
// machine, in the cluster of the first environment.
func (g *group) serving(ctx context.Context) []Check {
	if g.config.Server == nil || isLoopback(g.config.Server.Listen) || !slices.Contains(g.environments, g.config.Environments[0].Name) {
		return nil
	}
	set, err := manifestsOf(config.Daemon, g.config.Namespace)
	if err != nil {
		return []Check{failed(checkServer, "", "%v", err)}
	}
	return reviewRights(ctx, access.RightsOfAccount(g.cluster), g.config.Server.Listen, set)
}

func reviewRights(ctx context.Context, account reviewer, listen string, daemon manifest.Set) []Check {
	const role = "syncer-access-review"
	var wanted []access.Right
	for _, obj := range daemon {
		if obj.GetKind() == "ClusterRole" && obj.GetName() == role {
			wanted = append(wanted, access.RightsOf(obj, "")...)
		}
	}
	return roleCheck{
		check:  checkServer,
		role:   "the ClusterRole " + role + ", which `syncer install --daemon` writes",
		effect: ", so that nobody is let in",
		passed: fmt.Sprintf("the account may ask who reads what is served at %s", listen),
	}.run(ctx, account, wanted)
}

func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// deploying checks the rights to the objects of the repository, and then the other rights of the shipped roles.
func (g *group) deploying(ctx context.Context) (checks []Check) {
	asked := map[access.Right]bool{} // of syncer's own account, without their namespaces
	for _, environment := range g.environments {
		accounts, sets := byAccount(g.targets, environment)
		for _, account := range slices.Sorted(maps.Keys(accounts)) {
			var found []Check
			acting, err := g.cluster.As(account)
			if err != nil {
				found = []Check{failed(checkRights, "", "%v", err)}
			} else {
				a := accountCheck{account: account, targets: accounts[account], sets: sets, asked: asked}
				found = a.check(ctx, access.RightsOfAccount(g.cluster), access.RightsOfAccount(acting))
			}
			checks = append(checks, in([]string{environment}, found...)...)
		}
	}
	_, roles, err := shippedRoles(g.config.Namespace)
	if err != nil {
		return append(checks, failed(checkRights, "", "%v", err))
	}
	return append(checks, otherRights(ctx, access.RightsOfAccount(g.cluster), roles, asked)...)
}

// byAccount groups the targets of an environment by the account that applies them. The sets are those of all of them.
func byAccount(targets []*target.Desired, environment string) (accounts map[string][]*target.Desired, sets []manifest.Set) {
	accounts = map[string][]*target.Desired{}
	for _, d := range targets {
		if d.Target.Environment == environment {
			accounts[d.Settings.ServiceAccount] = append(accounts[d.Settings.ServiceAccount], d)
			sets = append(sets, d.Rendered.Set.Set())
		}
	}
	return accounts, sets
}

// accountCheck checks the rights of one account in one environment.
type accountCheck struct {
	account string // NAMESPACE/NAME; empty: syncer's own
	targets []*target.Desired
	sets    []manifest.Set        // of all targets of the environment
	asked   map[access.Right]bool // gets the rights that syncer's own account needs, without their namespaces
}

func (a *accountCheck) check(ctx context.Context, own reviewer, acting deployer) []Check {
	if a.account != "" {
		if missing, err := own.Missing(ctx, []access.Right{access.Impersonation(a.account)}); err != nil || len(missing) > 0 {
			return []Check{failed(checkRights, "see docs/how-to/accounts.md for the rule", "may not act as the service account %s, which pipeline.yaml of %s names", a.account, a.targets[0].Target.Pipeline)}
		}
	}
	why, checks, err := a.needs(acting)
	if err != nil {
		return append(checks, failed(checkRights, "", "%v", err))
	}
	missing, err := acting.Missing(ctx, slices.Collect(maps.Keys(why)))
	if err != nil {
		return append(checks, failed(checkRights, "", "%v", err))
	}
	for right := range why {
		if a.account == "" {
			right.Namespace = ""
			a.asked[right] = true
		}
	}
	checks = append(checks, missingRights(a.account, missing, why)...)
	if !anyFailed(checks) {
		who := "the account"
		if a.account != "" {
			who = "the service account " + a.account
		}
		checks = append(checks, passed(checkRights, "%s may deploy %s (%s)", who, manifest.Plural(len(a.targets), "target"), manifest.Plural(len(why), "right")))
	}
	return checks
}

// needs returns the rights that the targets need. The reason is why a right is useful where syncer works without it;
// empty: it does not. The checks name the kinds that the cluster does not serve.
func (a *accountCheck) needs(acting deployer) (why map[access.Right]string, checks []Check, err error) {
	why = map[access.Right]string{}
	for _, d := range a.targets {
		needs, unknown, err := acting.Needs(d.Rendered.Set.Set(), a.sets...)
		if err != nil {
			return nil, checks, fmt.Errorf("%s: %w", d.Target.Pipeline, err)
		}
		for _, id := range unknown {
			checks = append(checks, failed(checkRights, "install its CRD, or mend apiVersion and kind", "%s: the cluster serves no kind %s in %s, which %s has", d.Target.Pipeline, id.Kind, id.APIVersion, id))
		}
		for _, need := range needs {
			if reason, known := why[need.Right]; !known || reason != "" {
				why[need.Right] = need.Why
			}
		}
	}
	return why, checks, nil
}

// missingRights has a check for each resource of the missing rights: first the rights that syncer cannot work without.
func missingRights(account string, missing []access.Right, why map[access.Right]string) (checks []Check) {
	var needed, useful []access.Right
	for _, right := range missing {
		if why[right] == "" {
			needed = append(needed, right)
		} else {
			useful = append(useful, right)
		}
	}
	who := ""
	if account != "" {
		who = "the service account " + account + " "
	}
	for _, line := range byResource(needed) {
		checks = append(checks, failed(checkRights, roleFor(line, account), "%s%s", who, line))
	}
	for _, line := range byResource(useful) {
		checks = append(checks, warned(checkRights, roleFor(line, account), "%s%s: %s", who, line, why[line.first]))
	}
	return checks
}

// roleFor says which role gets a rule for missing rights.
func roleFor(line resourceRights, account string) string {
	rule := line.first.Rule(line.verbs)
	switch {
	case account != "" && line.first.Namespace != "":
		return fmt.Sprintf("add %s to a Role of the service account %s in namespace %s", rule, account, line.first.Namespace)
	case account != "":
		return fmt.Sprintf("add %s to a ClusterRole of the service account %s", rule, account)
	case line.first.Namespace != "":
		return fmt.Sprintf(`add %s to a Role in namespace %s, or to a ClusterRole with the label rbac.syncer.dev/aggregate-to-deploy: "true"`, rule, line.first.Namespace)
	}
	return fmt.Sprintf(`add %s to a ClusterRole with the label rbac.syncer.dev/aggregate-to-deploy: "true"`, rule)
}

// otherRights names the rights of the shipped roles that are missing, and that nothing in the repository needs yet.
func otherRights(ctx context.Context, account reviewer, roles []*unstructured.Unstructured, asked map[access.Right]bool) (checks []Check) {
	var wanted []access.Right
	for _, role := range roles {
		for _, right := range access.RightsOf(role, "") {
			if !asked[right] {
				wanted = append(wanted, right)
			}
		}
	}
	missing, err := account.Missing(ctx, wanted)
	if err != nil {
		return []Check{failed(checkRights, "", "%v", err)}
	}
	for _, line := range byResource(missing) {
		checks = append(checks, warned(checkRights, roleFor(line, "")+", when it is needed", "%s; the shipped roles allow it, and nothing in the repository needs it", line))
	}
	return checks
}

// resourceRights are the rights to one resource: the first of them, and the verbs of all.
type resourceRights struct {
	first access.Right
	verbs []string
}

func (l resourceRights) String() string {
	verbs := l.verbs[len(l.verbs)-1]
	if rest := l.verbs[:len(l.verbs)-1]; len(rest) > 0 {
		verbs = strings.Join(rest, ", ") + " and " + verbs
	}
	return fmt.Sprintf("may not %s %s", verbs, l.first.Where())
}

// byResource joins sorted rights that differ only in the verb.
func byResource(rights []access.Right) []resourceRights {
	var out []resourceRights
	for _, right := range rights {
		if n := len(out); n > 0 {
			last, this := out[n-1].first, right
			last.Verb, this.Verb = "", ""
			if last == this {
				out[n-1].verbs = append(out[n-1].verbs, right.Verb)
				continue
			}
		}
		out = append(out, resourceRights{right, []string{right.Verb}})
	}
	return out
}
