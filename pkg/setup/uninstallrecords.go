package setup

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

func (u *uninstall) keepRecords(context.Context) error {
	if len(u.records) > 0 {
		u.keep(cluster.RecordID(u.cluster, u.records[0]), fmt.Sprintf("%s of this configuration, with pins and history for the next install; --records deletes them, and then the CRD and the namespace if nobody else needs them", manifest.Plural(len(u.records), "record")))
	}
	return nil
}

// ownRecords deletes the records of this configuration. Where they were the last ones, it deletes the CRD as well.
func (u *uninstall) ownRecords(ctx context.Context) error {
	var errs []error
	for _, record := range u.records {
		errs = append(errs, u.deleteNamed(ctx, cluster.RecordID(u.cluster, record)))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, id := range cluster.OwnObjects(u.cluster) {
		if reason := u.stays(); reason != "" {
			u.keep(id, reason)
			continue
		}
		if err := u.deleteNamed(ctx, id); err != nil {
			return err
		}
	}
	all, err := cluster.AllRecords(ctx, u.cluster)
	if err != nil {
		return err
	}
	reason := ""
	for _, record := range all {
		if id := manifest.IDOf(record); !u.deleted[id.Key()] && record.GetDeletionTimestamp() == nil {
			reason = fmt.Sprintf("%s would go with it", id)
		}
	}
	return u.delete(ctx, manifest.ID{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition", Name: "pipelinesyncs." + v1alpha1.Group}, reason, false)
}

// namespace deletes the namespace of the records where it holds nothing else.
func (u *uninstall) namespace(ctx context.Context) error {
	name := u.planner.Config.Namespace
	id := manifest.ID{APIVersion: "v1", Kind: "Namespace", Name: name}
	inhabitants, err := cluster.Inhabitants(ctx, u.cluster, name)
	if err != nil {
		u.keep(id, fmt.Sprintf("what is in it cannot be seen: %v", err))
		return nil
	}
	for _, inhabitant := range inhabitants {
		if !u.deleted[inhabitant.Key()] {
			return u.delete(ctx, id, fmt.Sprintf("it holds %s", inhabitant), false)
		}
	}
	return u.delete(ctx, id, "", false)
}
