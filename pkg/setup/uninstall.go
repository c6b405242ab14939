package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// UninstallOptions say how much is deleted. Without Records and DeleteDeployed, the objects of the pipelines and the
// records stay.
type UninstallOptions struct {
	Environments []string
	// Records deletes the records of this configuration, then the CRD and the namespace where nobody else needs them.
	Records bool
	// DeleteDeployed deletes the objects that the records of this configuration list, by the rules of a prune.
	DeleteDeployed bool
	// DryRun reports the deletions and deletes nothing.
	DryRun bool
	// Delete deletes the objects and the record of one target, as if it had left git, and returns the objects that it
	// deleted. An error says what still exists. Required for DeleteDeployed.
	Delete func(ctx context.Context, d *target.Desired) ([]manifest.ID, error)
	// Notify receives each object that is deleted or kept. Required.
	Notify func(Removal)
}

// Removal says whether an object is deleted.
type Removal struct {
	Object  manifest.ID
	Deleted bool
	Reason  string // why it stays, or why it is deleted
}

// Uninstall deletes syncer from the clusters of the selected environments, from each cluster once.
func Uninstall(ctx context.Context, planner *target.Planner, options UninstallOptions) error {
	clusters, err := wholeClusters(planner.Config, options.Environments, planner.Clusters.Of)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range clusters {
		u := uninstall{planner: planner, options: options, environments: c.environments, cluster: c.cluster, deleted: map[manifest.Key]bool{}}
		if err := u.run(ctx); err != nil {
			errs = append(errs, fmt.Errorf("environment %s: %w", strings.Join(v1alpha1.Names(c.environments), ", "), err))
		}
	}
	return errors.Join(errs...)
}

// wholeCluster is a cluster with all its environments.
type wholeCluster struct {
	cluster      *cluster.Cluster
	environments []*v1alpha1.Environment
}

// wholeClusters groups the selected environments by cluster. It refuses a cluster of which only some environments are
// selected: the others would lose the daemon and its rights.
func wholeClusters(config *v1alpha1.Config, selected []string, connect func(*v1alpha1.Environment) (*cluster.Cluster, error)) ([]*wholeCluster, error) {
	if _, err := config.Select(selected); err != nil {
		return nil, err
	}
	isSelected := func(name string) bool { return len(selected) == 0 || slices.Contains(selected, name) }
	var all []*wholeCluster
	for i := range config.Environments {
		environment := &config.Environments[i]
		cluster, err := connect(environment)
		if err != nil && isSelected(environment.Name) {
			return nil, fmt.Errorf("environment %s: %w", environment.Name, err)
		}
		if err != nil {
			continue // it cannot be in a cluster that is selected
		}
		at := slices.IndexFunc(all, func(c *wholeCluster) bool { return c.cluster == cluster })
		if at < 0 {
			all, at = append(all, &wholeCluster{cluster: cluster}), len(all)
		}
		all[at].environments = append(all[at].environments, environment)
	}
	var out []*wholeCluster
	for _, c := range all {
		var with, without []string
		for _, name := range v1alpha1.Names(c.environments) {
			if isSelected(name) {
				with = append(with, name)
			} else {
				without = append(without, name)
			}
		}
		if len(with) == 0 {
			continue
		}
		if len(without) > 0 {
			return nil, fmt.Errorf("%s is in the same cluster as %s and would lose the daemon and its rights with it; name both, or leave out --env", strings.Join(without, ", "), strings.Join(with, ", "))
		}
		out = append(out, c)
	}
	return out, nil
}

// uninstall is the uninstallation from one cluster.
type uninstall struct {
	planner      *target.Planner
	options      UninstallOptions
	environments []*v1alpha1.Environment
	cluster      *cluster.Cluster
	deleted      map[manifest.Key]bool

	records []*v1alpha1.PipelineSync // of this configuration
	shared  string                   // another configuration that uses the namespace; empty: none
}

// run deletes the daemon first: it would deploy again what is deleted.
func (u *uninstall) run(ctx context.Context) error {
	steps := []func(context.Context) error{u.read, u.daemon}
	if u.options.DeleteDeployed {
		steps = append(steps, u.deployed, u.read) // some records are deleted with their targets
	}
	steps = append(steps, u.rights)
	if u.options.Records {
		steps = append(steps, u.ownRecords, u.namespace)
	} else {
		steps = append(steps, u.keepRecords)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// read reads the records of the namespace.
func (u *uninstall) read(ctx context.Context) error {
	records, err := u.cluster.Records().List(ctx)
	if err != nil && !errors.Is(err, cluster.ErrNotInstalled) {
		return err
	}
	u.records = nil
	for _, record := range records {
		switch {
		case record.DeletionTimestamp != nil: // it waits for a finalizer, and no syncer deploys by it
		case record.Spec.Owner == u.planner.Config.Name:
			u.records = append(u.records, record)
		default:
			u.shared = record.Spec.Owner
		}
	}
	return nil
}

// stays says why an object stays that the configurations of the namespace share; empty: no other one uses it.
func (u *uninstall) stays() string {
	if u.shared == "" {
		return ""
	}
	return fmt.Sprintf("the configuration %q uses it", u.shared)
}

// labelPartOf marks the objects that `syncer install` makes.
const labelPartOf = "app.kubernetes.io/part-of"

// delete deletes an object that `syncer install` made. It keeps the object where there is a reason. With await it returns
// when the object and its dependents are gone.
func (u *uninstall) delete(ctx context.Context, id manifest.ID, reason string, await bool) error {
	live, err := cluster.Find(ctx, u.cluster, id)
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

// deleteNamed deletes an object whose name alone says that it is syncer's own.
func (u *uninstall) deleteNamed(ctx context.Context, id manifest.ID) error {
	live, err := cluster.Find(ctx, u.cluster, id)
	if err != nil || live == nil {
		return err
	}
	return u.deleteLive(ctx, live, false)
}

func (u *uninstall) deleteLive(ctx context.Context, live *unstructured.Unstructured, await bool) error {
	if !u.options.DryRun {
		if err := cluster.Erase(ctx, u.cluster, live, await); err != nil {
			return err
		}
	}
	reason := ""
	if finalizers := live.GetFinalizers(); len(finalizers) > 0 && live.GetKind() != "CustomResourceDefinition" {
		reason = "it waits for " + strings.Join(finalizers, ", ")
	}
	u.noteDeleted(manifest.IDOf(live), reason)
	return nil
}

func (u *uninstall) noteDeleted(id manifest.ID, reason string) {
	u.deleted[id.Key()] = true
	u.options.Notify(Removal{Object: id, Deleted: true, Reason: reason})
}

func (u *uninstall) keep(id manifest.ID, reason string) {
	u.options.Notify(Removal{Object: id, Reason: reason})
}
