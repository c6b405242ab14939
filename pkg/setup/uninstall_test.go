package setup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

func TestWholeClusters(t *testing.T) {
	one, two := &cluster.Cluster{}, &cluster.Cluster{}
	config := &v1alpha1.Config{Environments: []v1alpha1.Environment{{Name: "dev"}, {Name: "prod"}, {Name: "staging"}, {Name: "broken"}}}
	connect := func(environment *v1alpha1.Environment) (*cluster.Cluster, error) {
		switch environment.Name {
		case "broken":
			return nil, errors.New("it has no kubeconfig")
		case "prod":
			return two, nil
		}
		return one, nil
	}
	for name, c := range map[string]struct {
		selected []string
		want     string
	}{
		"two of one cluster":     {[]string{"staging", "dev"}, "dev staging"},
		"one of its own":         {[]string{"prod"}, "prod"},
		"two clusters":           {[]string{"dev", "prod", "staging"}, "dev staging, prod"},
		"a part of a cluster":    {[]string{"staging"}, "dev is in the same cluster as staging and would lose the daemon and its rights with it; name both, or leave out --env"},
		"no connection":          {[]string{"broken"}, "environment broken: it has no kubeconfig"},
		"everything":             {nil, "environment broken: it has no kubeconfig"},
		"not an environment":     {[]string{"test"}, `there is no environment "test" in the configuration; it has dev, prod, staging, broken`},
		"one besides a bad name": {[]string{"prod", "test"}, `there is no environment "test" in the configuration; it has dev, prod, staging, broken`},
	} {
		clusters, err := wholeClusters(config, c.selected, connect)
		var names []string
		for _, cluster := range clusters {
			names = append(names, strings.Join(v1alpha1.Names(cluster.environments), " "))
		}
		if got := strings.Join(names, ", "); got != c.want && (err == nil || err.Error() != c.want) {
			t.Errorf("%s: %s, %v; want %s", name, got, err, c.want)
		}
	}
}

func TestRolesInUseStay(t *testing.T) {
	own, other := manifest.ID{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRoleBinding", Name: "syncer-deploy"}, manifest.ID{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding", Namespace: "a", Name: "team"}
	goes := map[manifest.Key]bool{own.Key(): true}
	for _, c := range []struct {
		bindings []manifest.ID
		stay     bool
		want     string
	}{
		{nil, false, ""}, {nil, true, ""}, {[]manifest.ID{own}, false, ""},
		{[]manifest.ID{own}, true, "ClusterRoleBinding/syncer-deploy uses it"},
		{[]manifest.ID{own, other}, false, "RoleBinding/a/team uses it"},
	} {
		if got := boundBy(c.bindings, goes, c.stay); got != c.want {
			t.Errorf("%v, %t: %q, want %q", c.bindings, c.stay, got, c.want)
		}
	}
	for name, want := range map[string]string{"syncer-deploy": "syncer-deploy", "syncer-deploy-secrets": "syncer-deploy", "syncer-viewer": "syncer-viewer"} {
		if got := bindingRole(name); got != want {
			t.Errorf("%s is bound by %s, want %s", name, got, want)
		}
	}
}

func TestTargetsThatHoldOthersAreLast(t *testing.T) {
	for kind, want := range map[string]bool{"Namespace": true, "CustomResourceDefinition": true, "ConfigMap": false} {
		record := &v1alpha1.PipelineSync{Status: v1alpha1.PipelineSyncStatus{Inventory: []v1alpha1.InventoryEntry{{Kind: "Secret"}, {Kind: kind}}}}
		if holdsOthers(record) != want {
			t.Errorf("%s: %t", kind, !want)
		}
	}
}

func TestLimitsAreForCommits(t *testing.T) {
	disabled := false
	d := &target.Desired{Environment: &v1alpha1.Environment{Name: "dev"}, Record: &v1alpha1.PipelineSync{Status: v1alpha1.PipelineSyncStatus{LastAttemptedCommit: "c0ffee"}}}
	d.Environment.Prune.Enabled, d.Environment.Prune.MaxObjects = &disabled, 3
	free := withoutLimits(d)
	if !*free.Environment.Prune.Enabled || free.Environment.Prune.MaxObjects != 0 || free.Snapshot.Commit != "c0ffee" || free.Environment.Name != "dev" {
		t.Errorf("%+v", free)
	}
	if *d.Environment.Prune.Enabled || d.Environment.Prune.MaxObjects != 3 || d.Snapshot.Commit != "" {
		t.Errorf("the target itself was changed: %+v", d)
	}
}

// removals collects the lines of an uninstallation.
type removals []string

func (r *removals) note(removal Removal) {
	action := "keep"
	if removal.Deleted {
		action = "delete"
	}
	*r = append(*r, strings.TrimSuffix(fmt.Sprintf("%s %s (%s)", action, removal.Object, removal.Reason), " ()"))
}

func (r removals) has(line string) bool { return slices.Contains(r, line) }
