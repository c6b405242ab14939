package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/config"
	"github.com/syncerdev/syncer/pkg/access"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// fakeAccount has all rights but some.
type fakeAccount struct {
	lacks   []access.Right
	err     error
	needs   []access.Need
	unknown []manifest.ID
	needErr error
}

func (f fakeAccount) Missing(_ context.Context, rights []access.Right) (missing []access.Right, err error) {
	for _, right := range f.lacks {
		if slices.Contains(rights, right) {
			missing = append(missing, right)
		}
	}
	return missing, f.err
}

func (f fakeAccount) Needs(manifest.Set, ...manifest.Set) ([]access.Need, []manifest.ID, error) {
	return f.needs, f.unknown, f.needErr
}

// lines are checks as `syncer check` prints them.
func lines(checks []Check) (out []string) {
	for _, c := range checks {
		out = append(out, fmt.Sprintf("%s %s: %s; %s", c.Status, c.Check, c.Message, c.Fix))
	}
	return out
}

func expect(t *testing.T, checks []Check, want ...string) {
	t.Helper()
	if got := lines(checks); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

var errAsked = errors.New("the API server does not answer")

func TestRecordRights(t *testing.T) {
	roles, _, err := shippedRoles("teams")
	if err != nil {
		t.Fatal(err)
	}
	check := func(account fakeAccount) []Check { return recordRights(t.Context(), account, "teams", roles) }
	expect(t, check(fakeAccount{}), "OK records: the account may keep the records in namespace teams; ")
	expect(t, check(fakeAccount{err: errAsked}), "FAIL records: the API server does not answer; ")
	lacks := access.Right{Verb: "patch", Group: "syncer.dev", Resource: "pipelinesyncs", Namespace: "teams"}
	expect(t, check(fakeAccount{lacks: []access.Right{lacks}}),
		"FAIL records: may not patch pipelinesyncs.syncer.dev in namespace teams; add {apiGroups: [syncer.dev], resources: [pipelinesyncs], verbs: [patch]} to the Role syncer-records in namespace teams, which `syncer install` writes")
}

func TestReviewRights(t *testing.T) {
	set, err := manifestsOf(config.Daemon, "teams")
	if err != nil {
		t.Fatal(err)
	}
	check := func(account fakeAccount) []Check { return reviewRights(t.Context(), account, ":8080", set) }
	expect(t, check(fakeAccount{}), "OK server: the account may ask who reads what is served at :8080; ")
	expect(t, check(fakeAccount{err: errAsked}), "FAIL server: the API server does not answer; ")
	lacks := access.Right{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews", Global: true}
	expect(t, check(fakeAccount{lacks: []access.Right{lacks}}),
		"FAIL server: may not create tokenreviews.authentication.k8s.io, so that nobody is let in; add {apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]} to the ClusterRole syncer-access-review, which `syncer install --daemon` writes")
}

// A daemon that only its own machine reaches lets in everyone, and one cluster reviews the tokens for all.
func TestTokensAreReviewedInOneCluster(t *testing.T) {
	environments := []v1alpha1.Environment{{Name: "dev"}, {Name: "prod"}}
	for name, g := range map[string]*group{
		"no server":       {config: &v1alpha1.Config{Environments: environments}, environments: []string{"dev"}},
		"loopback":        {config: &v1alpha1.Config{Environments: environments, Server: &v1alpha1.Server{Listen: "localhost:8080"}}, environments: []string{"dev"}},
		"another cluster": {config: &v1alpha1.Config{Environments: environments, Server: &v1alpha1.Server{Listen: ":8080"}}, environments: []string{"prod"}},
	} {
		if checks := g.serving(t.Context()); checks != nil {
			t.Errorf("%s: %+v", name, checks)
		}
	}
}

func TestAccountCheck(t *testing.T) {
	patch := access.Right{Verb: "patch", Resource: "configmaps", Namespace: "a"}
	escalate := access.Right{Verb: "escalate", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"}
	needs := []access.Need{{Right: patch}, {Right: escalate, Why: "it lets a pipeline give more rights than syncer has"}}
	etl := &target.Desired{Target: v1alpha1.Target{Pipeline: "etl", Environment: "dev"}}
	for name, c := range map[string]struct {
		account     string
		own, acting fakeAccount
		want        []string
	}{
		"everything":                       {"", fakeAccount{}, fakeAccount{needs: needs}, []string{"OK rights: the account may deploy 1 target (2 rights); "}},
		"everything, by another":           {"a/deployer", fakeAccount{}, fakeAccount{needs: needs}, []string{"OK rights: the service account a/deployer may deploy 1 target (2 rights); "}},
		"not this account":                 {"a/deployer", fakeAccount{lacks: []access.Right{access.Impersonation("a/deployer")}}, fakeAccount{}, []string{"FAIL rights: may not act as the service account a/deployer, which pipeline.yaml of etl names; see docs/how-to/accounts.md for the rule"}},
		"the API server does not answer":   {"", fakeAccount{}, fakeAccount{needs: needs, err: errAsked}, []string{"FAIL rights: the API server does not answer; "}},
		"the kinds are not known":          {"", fakeAccount{}, fakeAccount{needErr: errAsked}, []string{"FAIL rights: etl: the API server does not answer; "}},
		"a kind that the cluster does not": {"", fakeAccount{}, fakeAccount{unknown: []manifest.ID{{APIVersion: "example.com/v1", Kind: "Training", Namespace: "a", Name: "x"}}}, []string{"FAIL rights: etl: the cluster serves no kind Training in example.com/v1, which Training/a/x has; install its CRD, or mend apiVersion and kind"}},
		"rights missing": {"", fakeAccount{}, fakeAccount{needs: needs, lacks: []access.Right{escalate, patch}}, []string{
			`FAIL rights: may not patch configmaps in namespace a; add {apiGroups: [""], resources: [configmaps], verbs: [patch]} to a Role in namespace a, or to a ClusterRole with the label rbac.syncer.dev/aggregate-to-deploy: "true"`,
			`WARN rights: may not escalate clusterroles.rbac.authorization.k8s.io in all namespaces: it lets a pipeline give more rights than syncer has; add {apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], verbs: [escalate]} to a ClusterRole with the label rbac.syncer.dev/aggregate-to-deploy: "true"`,
		}},
		"rights missing, of another account": {"a/deployer", fakeAccount{}, fakeAccount{needs: needs, lacks: []access.Right{escalate, patch}}, []string{
			`FAIL rights: the service account a/deployer may not patch configmaps in namespace a; add {apiGroups: [""], resources: [configmaps], verbs: [patch]} to a Role of the service account a/deployer in namespace a`,
			`WARN rights: the service account a/deployer may not escalate clusterroles.rbac.authorization.k8s.io in all namespaces: it lets a pipeline give more rights than syncer has; add {apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], verbs: [escalate]} to a ClusterRole of the service account a/deployer`,
		}},
		"only a useful right missing": {"", fakeAccount{}, fakeAccount{needs: needs, lacks: []access.Right{escalate}}, []string{
			`WARN rights: may not escalate clusterroles.rbac.authorization.k8s.io in all namespaces: it lets a pipeline give more rights than syncer has; add {apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], verbs: [escalate]} to a ClusterRole with the label rbac.syncer.dev/aggregate-to-deploy: "true"`,
			"OK rights: the account may deploy 1 target (2 rights); ",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a := accountCheck{account: c.account, targets: []*target.Desired{etl}, asked: map[access.Right]bool{}}
			expect(t, a.check(t.Context(), c.own, c.acting), c.want...)
			if asked := a.asked[access.Right{Verb: "patch", Resource: "configmaps"}]; asked && c.account != "" {
				t.Error("the rights of another account are taken for syncer's own")
			}
		})
	}
}

// A right is needed where one target needs it, although another one only gains by it.
func TestANeedOutweighsAUse(t *testing.T) {
	right := access.Right{Verb: "get", Resource: "secrets", Namespace: "a"}
	needed, useful := access.Need{Right: right}, access.Need{Right: right, Why: "it gives the credentials of private images"}
	a := accountCheck{targets: []*target.Desired{{}, {}}}
	for _, needs := range [][]access.Need{{needed, useful}, {useful, needed}} {
		why, _, err := a.needs(fakeAccount{needs: needs})
		if reason, known := why[right]; err != nil || !known || reason != "" {
			t.Errorf("%+v: %q, %v", needs, reason, err)
		}
	}
}

func TestRightsBeyondTheRepository(t *testing.T) {
	role := &unstructured.Unstructured{Object: map[string]any{"kind": "ClusterRole", "rules": []any{
		map[string]any{"apiGroups": []any{"ray.io"}, "resources": []any{"rayjobs"}, "verbs": []any{"create", "patch"}},
	}}}
	create, patch := access.Right{Verb: "create", Group: "ray.io", Resource: "rayjobs"}, access.Right{Verb: "patch", Group: "ray.io", Resource: "rayjobs"}
	check := func(account fakeAccount) []Check {
		return otherRights(t.Context(), account, []*unstructured.Unstructured{role}, map[access.Right]bool{create: true})
	}
	expect(t, check(fakeAccount{err: errAsked}), "FAIL rights: the API server does not answer; ")
	expect(t, check(fakeAccount{lacks: []access.Right{create, patch}}),
		`WARN rights: may not patch rayjobs.ray.io in all namespaces; the shipped roles allow it, and nothing in the repository needs it; add {apiGroups: [ray.io], resources: [rayjobs], verbs: [patch]} to a ClusterRole with the label rbac.syncer.dev/aggregate-to-deploy: "true", when it is needed`)
}

func TestTargetsByAccount(t *testing.T) {
	of := func(environment, account string) *target.Desired {
		return &target.Desired{Target: v1alpha1.Target{Environment: environment}, Settings: v1alpha1.PipelineSettings{ServiceAccount: account}}
	}
	accounts, sets := byAccount([]*target.Desired{of("dev", ""), of("dev", "a/b"), of("prod", ""), of("dev", "")}, "dev")
	if len(accounts) != 2 || len(accounts[""]) != 2 || len(accounts["a/b"]) != 1 || len(sets) != 3 {
		t.Errorf("%v, %d sets", accounts, len(sets))
	}
}
