package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/config"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// UninstallOptions say how much goes. The zero value leaves what was deployed, and the records of it.
type UninstallOptions struct {
	Environments []string
	// Records deletes the records of this configuration, then the CRD and the namespace where nobody else needs them.
	Records bool
	// DeleteDeployed deletes what the records of this configuration say was deployed, by the rules of a prune.
	DeleteDeployed bool
	// DryRun says what would be done.
	DryRun bool
	// Tell is told of each step. Required.
	Tell func(Removal)
}

// Removal is what becomes of one object.
type Removal struct {
	Object  manifest.ID
	Deleted bool
	Reason  string // why it stays, or goes
}

// Uninstall takes syncer out of the clusters of the selected environments, each cluster once.
func (r *Runner) Uninstall(ctx context.Context, options UninstallOptions) error {
	clusters, err := r.wholeClusters(options.Environments)
	if err != nil {
		return err
	}
	var errs []error
	for _, environments := range clusters {
		u := uninstall{Runner: r, options: options, environments: environments, gone: map[manifest.Key]bool{}}
		if err := u.run(ctx); err != nil {
			errs = append(errs, fmt.Errorf("environment %s: %w", strings.Join(v1alpha1.Names(environments), ", "), err))
		}
	}
	return errors.Join(errs...)
}

// wholeClusters groups the selected environments by cluster. A cluster of which only some are selected is refused: the
// others would lose the daemon and its rights with them.
func (r *Runner) wholeClusters(selected []string) ([][]*v1alpha1.Environment, error) {
	if _, err := r.Config.Select(selected); err != nil {
		return nil, err
	}
	all, err := r.Config.Select(nil)
	if err != nil {
		return nil, err
	}
	var order []*apply.Cluster
	byCluster := map[*apply.Cluster][]*v1alpha1.Environment{}
	for _, environment := range all {
		wanted := len(selected) == 0 || slices.Contains(selected, environment.Name)
		cluster, err := r.clusters.Of(environment)
		if err != nil && wanted {
			return nil, fmt.Errorf("environment %s: %w", environment.Name, err)
		}
		if err != nil {
			continue // it is in no cluster that is asked for
		}
		if byCluster[cluster] == nil {
			order = append(order, cluster)
		}
		byCluster[cluster] = append(byCluster[cluster], environment)
	}
	var out [][]*v1alpha1.Environment
	for _, cluster := range order {
		environments := byCluster[cluster]
		out = append(out, environments)
		if len(selected) == 0 {
			continue
		}
		var in, left []string
		for _, name := range v1alpha1.Names(environments) {
			if slices.Contains(selected, name) {
				in = append(in, name)
			} else {
				left = append(left, name)
			}
		}
		switch {
		case len(in) == 0:
			out = out[:len(out)-1]
		case len(left) > 0:
			return nil, fmt.Errorf("%s is in the same cluster as %s and would lose the daemon and its rights with it; name both, or leave out --env", strings.Join(left, ", "), strings.Join(in, ", "))
		}
	}
	return out, nil
}

// uninstall is the work in one cluster.
type uninstall struct {
	*Runner
	options      UninstallOptions
	environments []*v1alpha1.Environment
	cluster      *apply.Cluster
	gone         map[manifest.Key]bool

	records []*v1alpha1.PipelineSync // of this configuration
	shared  string                   // another configuration with records in the namespace; "": none
}

func (u *uninstall) run(ctx context.Context) (err error) {
	if u.cluster, err = u.clusters.Of(u.environments[0]); err != nil {
		return err
	}
	if err := u.look(ctx); err != nil {
		return err
	}
	if err := u.daemon(ctx); err != nil {
		return err
	}
	if u.options.DeleteDeployed {
		if err := u.deployed(ctx); err != nil {
			return err
		}
		if err := u.look(ctx); err != nil { // some records went with it
			return err
		}
	}
	if err := u.rights(ctx); err != nil {
		return err
	}
	if !u.options.Records {
		u.keepRecords()
		return nil
	}
	if err := u.forget(ctx); err != nil {
		return err
	}
	return u.namespace(ctx)
}

// look reads whose records the namespace has.
func (u *uninstall) look(ctx context.Context) error {
	records, err := u.cluster.Records(ctx)
	if err != nil && !errors.Is(err, apply.ErrNotInstalled) {
		return err
	}
	u.records = nil
	for _, record := range records {
		switch {
		case record.DeletionTimestamp != nil: // it waits for a finalizer, and nobody deploys by it
		case record.Spec.Owner == u.Config.Name:
			u.records = append(u.records, record)
		default:
			u.shared = record.Spec.Owner
		}
	}
	return nil
}

// daemon deletes the daemon first, and waits until its pods are gone: it would deploy again what is deleted.
func (u *uninstall) daemon(ctx context.Context) error {
	set, err := manifestsOf(config.Daemon, u.Config.Namespace)
	if err != nil {
		return err
	}
	set = append(set, configMap(u.Config.Namespace, nil))
	other, err := u.otherDaemon(ctx)
	if err != nil {
		return err
	}
	owner := ""
	if other != "" {
		owner, u.shared = fmt.Sprintf("it carries out the configuration %q", other), other
	}
	for _, obj := range set {
		if obj.GetKind() == "Deployment" {
			if err := u.delete(ctx, manifest.IDOf(obj), owner, true); err != nil {
				return err
			}
		}
	}
	var errs []error
	for _, obj := range set {
		if obj.GetNamespace() != "" && obj.GetKind() != "Deployment" {
			errs = append(errs, u.delete(ctx, manifest.IDOf(obj), owner, false))
		}
	}
	return errors.Join(errs...)
}

// otherDaemon names the configuration that the daemon of the namespace carries out, where it is not this one.
func (u *uninstall) otherDaemon(ctx context.Context) (string, error) {
	obj, err := u.cluster.Find(ctx, manifest.IDOf(configMap(u.Config.Namespace, nil)))
	if err != nil || obj == nil {
		return "", err
	}
	text, _, err := unstructured.NestedString(obj.Object, "data", configMapKey)
	if err != nil {
		return "", err
	}
	decoded, err := v1alpha1.DecodeConfig(configMapKey, []byte(text))
	if err != nil || decoded.Name == u.Config.Name {
		return "", nil // one that cannot be read is carried out by nobody
	}
	return decoded.Name, nil
}

// deployed deletes what this configuration deployed, by the rules of a prune: what runs is waited for, and what is marked
// to be kept stays. What holds others, as a namespace does, goes last.
func (u *uninstall) deployed(ctx context.Context) error {
	works, lost, err := u.planner.Recorded(ctx, v1alpha1.Selection{Environments: v1alpha1.Names(u.environments)})
	if err != nil || lost != nil {
		return errors.Join(err, lost)
	}
	c := carrier{Runner: u.Runner, total: len(works)}
	var errs []error
	for _, last := range []bool{false, true} {
		for _, w := range works {
			if holdsOthers(w.Record) != last {
				continue
			}
			if err := u.remove(ctx, &c, w); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", w.Target, err))
			}
		}
	}
	return errors.Join(errs...)
}

func holdsOthers(record *v1alpha1.PipelineSync) bool {
	return slices.ContainsFunc(record.Status.Inventory, func(e v1alpha1.InventoryEntry) bool {
		return e.Kind == "Namespace" || e.Kind == "CustomResourceDefinition"
	})
}

func (u *uninstall) remove(ctx context.Context, c *carrier, w *target.Desired) error {
	plan, err := w.Cluster.Plan(ctx, apply.Request{Target: w.Target, Record: w.Record, ReadOnly: true, Rules: w.Rules})
	if err != nil {
		return err
	}
	for _, change := range plan.Changes {
		if change.Action == manifest.None && change.Live.GetDeletionTimestamp() == nil {
			u.keep(change.ID, "its annotation says that it stays")
		}
	}
	for _, change := range plan.Held() {
		u.keep(change.ID, change.Held.Message+"; run uninstall again when that has ended")
	}
	if u.options.DryRun {
		for _, change := range plan.Pending() {
			u.tell(change.ID, "deployed by "+w.Target.String())
		}
		if held := plan.Held(); len(held) > 0 {
			return errors.New(target.WouldWait(held))
		}
		return nil
	}
	// The limits are for commits.
	environment, enabled := *w.Environment, true
	environment.Prune.Enabled, environment.Prune.MaxObjects = &enabled, 0
	w.Environment, w.Snapshot = &environment, source.Snapshot{Commit: w.Record.Status.LastAttemptedCommit}
	result := newResult(w)
	err = c.remove(ctx, w, &result)
	for _, change := range result.Changes {
		if change.Action == manifest.Prune {
			u.tell(change.Object, "deployed by "+w.Target.String())
		}
	}
	if err == nil && result.Result == Held {
		err = errors.New(result.Message)
	}
	return err
}

// rights deletes the rights of the daemon, as far as nobody else has them too.
func (u *uninstall) rights(ctx context.Context) error {
	users, err := u.cluster.RoleUsers(ctx)
	if err != nil {
		return err
	}
	var all manifest.Set
	for _, folder := range []string{config.Daemon, config.Cluster} {
		set, err := manifestsOf(folder, u.Config.Namespace)
		if err != nil {
			return err
		}
		all = append(all, set...)
	}
	own := map[manifest.Key]bool{}
	for _, obj := range all {
		own[manifest.IDOf(obj).Key()] = true
	}
	var errs []error
	for _, obj := range all {
		id := manifest.IDOf(obj)
		reason := ""
		switch id.Kind {
		case "ClusterRole":
			// Who has the rights to deploy has a daemon, which needs the other roles as well.
			reason = boundBy(slices.Concat(users[roleOf(id.Name)], users["syncer-deploy"]), own, u.shared != "")
		case "ClusterRoleBinding", "RoleBinding", "Role", "ServiceAccount":
			if u.shared != "" {
				reason = u.needed()
			}
		default:
			continue
		}
		errs = append(errs, u.delete(ctx, id, reason, false))
	}
	return errors.Join(errs...)
}

// needed says why what the namespace's configurations share stays.
func (u *uninstall) needed() string { return fmt.Sprintf("the configuration %q uses it", u.shared) }

// roleOf is the role whose bindings decide about a role: the parts of the aggregated one are bound by it alone.
func roleOf(name string) string {
	if strings.HasPrefix(name, "syncer-deploy-") {
		return "syncer-deploy"
	}
	return name
}

// boundBy says who still uses a role; own are the bindings that go.
func boundBy(users []manifest.ID, own map[manifest.Key]bool, stay bool) string {
	for _, user := range users {
		if stay || !own[user.Key()] {
			return fmt.Sprintf("%s uses it", user)
		}
	}
	return ""
}

func (u *uninstall) keepRecords() {
	if len(u.records) > 0 {
		u.keep(u.cluster.RecordID(u.records[0]), fmt.Sprintf("%s of this configuration, with pins and history for the next install; --records deletes them, and then the CRD and the namespace if nobody else needs them", manifest.Plural(len(u.records), "record")))
	}
}

// forget deletes the records of this configuration and, when they were the last ones, what belongs to them.
func (u *uninstall) forget(ctx context.Context) error {
	var errs []error
	for _, record := range u.records {
		errs = append(errs, u.deleteAny(ctx, u.cluster.RecordID(record)))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, id := range u.cluster.OwnObjects() {
		if u.shared != "" {
			u.keep(id, u.needed())
			continue
		}
		if err := u.deleteAny(ctx, id); err != nil {
			return err
		}
	}
	all, err := u.cluster.AllRecords(ctx)
	if err != nil {
		return err
	}
	reason := ""
	for _, record := range all {
		if id := manifest.IDOf(record); !u.gone[id.Key()] && record.GetDeletionTimestamp() == nil {
			reason = fmt.Sprintf("%s would go with it", id)
		}
	}
	return u.delete(ctx, manifest.ID{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition", Name: "pipelinesyncs." + v1alpha1.Group}, reason, false)
}

func (u *uninstall) namespace(ctx context.Context) error {
	id := manifest.ID{APIVersion: "v1", Kind: "Namespace", Name: u.Config.Namespace}
	inhabitants, err := u.cluster.Inhabitants(ctx, u.Config.Namespace)
	if err != nil {
		u.keep(id, fmt.Sprintf("what is in it cannot be seen: %v", err))
		return nil
	}
	for _, inhabitant := range inhabitants {
		if !u.gone[inhabitant.Key()] {
			return u.delete(ctx, id, fmt.Sprintf("it holds %s", inhabitant), false)
		}
	}
	return u.delete(ctx, id, "", false)
}

// labelPartOf marks what `syncer install` made.
const labelPartOf = "app.kubernetes.io/part-of"

// delete deletes an object that `syncer install` made; a reason keeps it.
func (u *uninstall) delete(ctx context.Context, id manifest.ID, reason string, await bool) error {
	live, err := u.cluster.Find(ctx, id)
	if err != nil || live == nil {
		return err
	}
	if live.GetLabels()[labelPartOf] != "syncer" {
		reason = "it has no label " + labelPartOf + ": syncer, so somebody else made it"
	}
	if reason != "" {
		u.keep(id, reason)
		return nil
	}
	return u.deleteLive(ctx, live, await)
}

// deleteAny deletes an object that is syncer's own by its name.
func (u *uninstall) deleteAny(ctx context.Context, id manifest.ID) error {
	live, err := u.cluster.Find(ctx, id)
	if err != nil || live == nil {
		return err
	}
	return u.deleteLive(ctx, live, false)
}

func (u *uninstall) deleteLive(ctx context.Context, live *unstructured.Unstructured, await bool) error {
	if !u.options.DryRun {
		if err := u.cluster.Delete(ctx, live, await); err != nil {
			return err
		}
	}
	reason := ""
	if finalizers := live.GetFinalizers(); len(finalizers) > 0 && live.GetKind() != "CustomResourceDefinition" {
		reason = "it waits for " + strings.Join(finalizers, ", ")
	}
	u.tell(manifest.IDOf(live), reason)
	return nil
}

func (u *uninstall) tell(id manifest.ID, reason string) {
	u.gone[id.Key()] = true
	u.options.Tell(Removal{Object: id, Deleted: true, Reason: reason})
}

func (u *uninstall) keep(id manifest.ID, reason string) {
	u.options.Tell(Removal{Object: id, Reason: reason})
}
