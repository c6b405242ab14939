package pipeline

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/config"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// bookkeeping checks the rights to keep the records, which the shipped Role gives.
func (k *checking) bookkeeping(ctx context.Context, g *group) {
	roles, _, err := shippedRoles(k.Config.Namespace)
	if err != nil {
		k.fail(checkRecords, g.environments, "", "%v", err)
		return
	}
	var wanted []apply.Right
	for _, role := range roles {
		wanted = append(wanted, apply.RightsOf(role, k.Config.Namespace)...)
	}
	missing, err := g.cluster.Missing(ctx, wanted)
	if err != nil {
		k.fail(checkRecords, g.environments, "", "%v", err)
		return
	}
	for _, line := range byResource(missing) {
		k.fail(checkRecords, g.environments,
			fmt.Sprintf("add %s to the Role syncer-records in namespace %s, which `syncer install` writes", line.Rule(line.verbs), k.Config.Namespace), "%s", line)
	}
	if len(missing) == 0 {
		k.ok(checkRecords, g.environments, "the account may keep the records in namespace %s", k.Config.Namespace)
	}
}

// serving checks the rights to ask who reads the pages, where the daemon listens for more than its own machine.
func (k *checking) serving(ctx context.Context, g *group) {
	if k.Config.Server == nil || isLoopback(k.Config.Server.Listen) || !slices.Contains(g.environments, k.Config.Environments[0].Name) {
		return
	}
	const role = "syncer-access-review"
	set, err := manifestsOf(config.Daemon, k.Config.Namespace)
	if err != nil {
		k.fail(checkServer, nil, "", "%v", err)
		return
	}
	var wanted []apply.Right
	for _, obj := range set {
		if obj.GetKind() == "ClusterRole" && obj.GetName() == role {
			wanted = append(wanted, apply.RightsOf(obj, "")...)
		}
	}
	missing, err := g.cluster.Missing(ctx, wanted)
	if err != nil {
		k.fail(checkServer, nil, "", "%v", err)
		return
	}
	for _, line := range byResource(missing) {
		k.fail(checkServer, nil, fmt.Sprintf("add %s to the ClusterRole %s, which `syncer install --daemon` writes", line.Rule(line.verbs), role), "%s, so that nobody is let in", line)
	}
	if len(missing) == 0 {
		k.ok(checkServer, nil, "the account may ask who reads what is served at %s", k.Config.Server.Listen)
	}
}

func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// deploying checks the rights to what the repository deploys, and then those that the shipped roles give besides.
func (k *checking) deploying(ctx context.Context, g *group) {
	failed := false
	known := map[apply.Right]bool{}
	for _, environment := range g.environments {
		byAccount := k.byAccount(environment)
		for _, account := range slices.Sorted(maps.Keys(byAccount)) {
			works := byAccount[account]
			ok, asked := k.account(ctx, g, environment, account, works, known)
			failed = failed || !ok
			if ok {
				who := "the account"
				if account != "" {
					who = "the service account " + account
				}
				k.ok(checkRights, []string{environment}, "%s may deploy %s (%s)", who, manifest.Plural(len(works), "target"), manifest.Plural(asked, "right"))
			}
		}
	}
	k.beyond(ctx, g, known)
}

// byAccount are the targets of an environment that render, by the account that applies them.
func (k *checking) byAccount(environment string) map[string][]*target.Desired {
	out := map[string][]*target.Desired{}
	for _, w := range k.works {
		if w.Target.Environment == environment {
			out[w.Settings.ServiceAccount] = append(out[w.Settings.ServiceAccount], w)
		}
	}
	return out
}

// account checks the rights of one account, and notes those of syncer itself in known, without their namespaces.
func (k *checking) account(ctx context.Context, g *group, environment, account string, works []*target.Desired, known map[apply.Right]bool) (ok bool, asked int) {
	in := []string{environment}
	acting, err := g.cluster.As(account)
	if err != nil {
		k.fail(checkRights, in, "", "%v", err)
		return false, 0
	}
	if account != "" {
		if missing, err := g.cluster.Missing(ctx, []apply.Right{apply.Impersonation(account)}); err != nil || len(missing) > 0 {
			k.fail(checkRights, in, "see docs/how-to/accounts.md for the rule", "may not act as the service account %s, which pipeline.yaml of %s names", account, works[0].Target.Pipeline)
			return false, 0
		}
	}
	var sets []manifest.Set
	for _, w := range k.works {
		if w.Target.Environment == environment {
			sets = append(sets, w.Rendered.Set)
		}
	}
	why := map[apply.Right]string{}
	ok = true
	for _, w := range works {
		needs, unknown, err := acting.Needs(w.Rendered.Set, sets...)
		if err != nil {
			k.fail(checkRights, in, "", "%s: %v", w.Target.Pipeline, err)
			return false, 0
		}
		for _, id := range unknown {
			ok = false
			k.fail(checkRights, in, "install its CRD, or mend apiVersion and kind", "%s: the cluster serves no kind %s in %s, which %s has", w.Target.Pipeline, id.Kind, id.APIVersion, id)
		}
		for _, need := range needs {
			if reason, there := why[need.Right]; !there || reason != "" {
				why[need.Right] = need.Why
			}
		}
	}
	missing, err := acting.Missing(ctx, slices.Collect(maps.Keys(why)))
	if err != nil {
		k.fail(checkRights, in, "", "%v", err)
		return false, 0
	}
	for right := range why {
		if account == "" {
			right.Namespace = ""
			known[right] = true
		}
	}
	return k.sayMissing(in, account, missing, why) && ok, len(why)
}

// sayMissing names the missing rights, and reports whether syncer can do without them.
func (k *checking) sayMissing(in []string, account string, missing []apply.Right, why map[apply.Right]string) bool {
	var needed, useful []apply.Right
	for _, right := range missing {
		if why[right] == "" {
			needed = append(needed, right)
		} else {
			useful = append(useful, right)
		}
	}
	for _, line := range byResource(needed) {
		k.fail(checkRights, in, mendRight(line, account), "%s%s", whose(account), line)
	}
	for _, line := range byResource(useful) {
		k.warn(checkRights, in, mendRight(line, account), "%s%s: %s", whose(account), line, why[apply.Right{
			Verb: line.verbs[0], Group: line.Group, Resource: line.Resource, Namespace: line.Namespace, Name: line.Name, Global: line.Global,
		}])
	}
	return len(needed) == 0
}

func whose(account string) string {
	if account == "" {
		return ""
	}
	return "the service account " + account + " "
}

// mendRight says where to add a rule.
func mendRight(line resourceRights, account string) string {
	rule := line.Rule(line.verbs)
	switch {
	case account != "" && line.Namespace != "":
		return fmt.Sprintf("add %s to a Role of the service account %s in namespace %s", rule, account, line.Namespace)
	case account != "":
		return fmt.Sprintf("add %s to a ClusterRole of the service account %s", rule, account)
	case line.Namespace != "":
		return fmt.Sprintf(`add %s to a Role in namespace %s, or to a ClusterRole with the label rbac.syncer.dev/aggregate-to-deploy: "true"`, rule, line.Namespace)
	}
	return fmt.Sprintf(`add %s to a ClusterRole with the label rbac.syncer.dev/aggregate-to-deploy: "true"`, rule)
}

// beyond names the rights that the shipped roles give, that nothing in the repository needs yet, and that are missing.
func (k *checking) beyond(ctx context.Context, g *group, known map[apply.Right]bool) {
	_, roles, err := shippedRoles(k.Config.Namespace)
	if err != nil {
		k.fail(checkRights, g.environments, "", "%v", err)
		return
	}
	var wanted []apply.Right
	for _, role := range roles {
		for _, right := range apply.RightsOf(role, "") {
			if !known[right] {
				wanted = append(wanted, right)
			}
		}
	}
	missing, err := g.cluster.Missing(ctx, wanted)
	if err != nil {
		k.fail(checkRights, g.environments, "", "%v", err)
		return
	}
	for _, line := range byResource(missing) {
		k.warn(checkRights, g.environments, mendRight(line, "")+", when it is needed", "%s; the shipped roles allow it, and nothing in the repository needs it", line)
	}
}

// resourceRights are the verbs that are missing for one resource.
type resourceRights struct {
	apply.Right // of the first verb
	verbs       []string
}

func (l resourceRights) String() string {
	verbs := l.verbs[len(l.verbs)-1]
	if rest := l.verbs[:len(l.verbs)-1]; len(rest) > 0 {
		verbs = strings.Join(rest, ", ") + " and " + verbs
	}
	return fmt.Sprintf("may not %s %s", verbs, l.Where())
}

// byResource joins rights that differ in the verb alone. They are sorted.
func byResource(rights []apply.Right) []resourceRights {
	var out []resourceRights
	for _, right := range rights {
		if n := len(out); n > 0 {
			last, this := out[n-1].Right, right
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
