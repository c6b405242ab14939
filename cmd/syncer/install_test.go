package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	rbacv1 "k8s.io/api/rbac/v1"
)

// Installing and removing changes what a cluster has once, so the scripts below testdata/install and testdata/uninstall
// have API servers of their own.

func TestInstall(t *testing.T) {
	p := startParts(t)
	params := p.params(t, "testdata/install")
	params.Cmds["without"] = p.without
	testscript.Run(t, params)
}

func TestUninstall(t *testing.T) {
	p := startParts(t)
	testscript.Run(t, p.params(t, "testdata/uninstall"))
}

// without VERB RESOURCE[.GROUP] takes one right from every shipped role, and waits until the account of the daemon does not
// have it in NAMESPACE any more. `kubectl apply -k` gives it back.
func (p *parts) without(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: without VERB RESOURCE[.GROUP] NAMESPACE")
	}
	verb, namespace := args[0], args[2]
	resource, group, _ := strings.Cut(args[1], ".")
	kubectl := func(args ...string) string {
		ts.Check(ts.Exec("kubectl", append([]string{"--kubeconfig", p.plane.Kubeconfig}, args...)...))
		return ts.ReadFile("stdout")
	}
	changed := 0
	for _, kind := range []string{"clusterroles", "roles"} {
		var roles struct{ Items []rbacv1.ClusterRole }
		ts.Check(json.Unmarshal([]byte(kubectl("get", kind, "--all-namespaces", "-l", "app.kubernetes.io/part-of=syncer", "-o", "json")), &roles))
		for _, role := range roles.Items {
			rules, found := narrowed(role.Rules, verb, group, resource)
			if !found || role.AggregationRule != nil {
				continue
			}
			changed++
			role.Rules = rules
			role.APIVersion, role.Kind = "rbac.authorization.k8s.io/v1", map[string]string{"clusterroles": "ClusterRole", "roles": "Role"}[kind]
			doc, err := json.Marshal(role)
			ts.Check(err)
			file := ts.MkAbs("narrowed.json")
			ts.Check(os.WriteFile(file, doc, 0o600))
			kubectl("replace", "-f", file)
		}
	}
	if changed == 0 {
		ts.Fatalf("no role allows to %s %s", verb, args[1])
	}
	deadline := time.Now().Add(awaitTimeout)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_ = ts.Exec("kubectl", "--kubeconfig", p.plane.Kubeconfig, "auth", "can-i", verb, args[1], "-n", namespace, "--as", "system:serviceaccount:syncer-system:syncer") // no is an error
		if strings.TrimSpace(ts.ReadFile("stdout")) == "no" {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the account may still %s %s", verb, args[1])
		}
		<-tick.C
	}
}

// narrowed splits the rules that allow a verb on a resource, so that the rest of each stays.
func narrowed(rules []rbacv1.PolicyRule, verb, group, resource string) (out []rbacv1.PolicyRule, found bool) {
	for _, rule := range rules {
		if !slices.Contains(rule.APIGroups, group) || !slices.Contains(rule.Verbs, verb) ||
			!slices.Contains(rule.Resources, resource) && !slices.Contains(rule.Resources, "*") {
			out = append(out, rule)
			continue
		}
		found = true
		for _, in := range rule.APIGroups {
			for _, on := range rule.Resources {
				part := rule
				part.APIGroups, part.Resources = []string{in}, []string{on}
				if in == group && (on == resource || on == "*") {
					part.Verbs = slices.DeleteFunc(slices.Clone(rule.Verbs), func(v string) bool { return v == verb })
				}
				if len(part.Verbs) > 0 {
					out = append(out, part)
				}
			}
		}
	}
	return out, found
}
