package pipeline

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// outcomeOf returns the outcome of a pass, as far as it comes from git and from the record that the pass wrote.
func outcomeOf(w *target.Desired, written cluster.Written) record.Outcome {
	o := record.Outcome{
		Commit: record.Commit{Hash: w.Snapshot.Commit, Author: w.Snapshot.Author, Subject: w.Snapshot.Subject},
		Rules: record.Rules{
			Promotes: w.Environment.Images.PromoteFrom != "", KeepDeployments: *w.Environment.Images.KeepPins.Deployments,
			HealthTimeout: w.Settings.HealthTimeout.Duration,
		},
		Spec: record.Spec{Generation: written.Generation, Apply: written.Apply},
	}
	if w.Rendered.From == nil || w.Rendered.From.Err == nil {
		o.Rendered = &record.Rendered{Warnings: w.Warnings(), Unpinned: unpinnedValues(w.Rendered.Suspects)}
	}
	return o
}

// healthFor returns the health of a target as its record has it.
func healthFor(h target.Health, swapped, notes []string) record.Health {
	return record.Health{Status: h.Status, Message: h.Message, Unseen: h.Unseen, Swapped: swapped, Notes: notes}
}

// recordOf returns the record of a target; an empty one where it has none.
func recordOf(w *target.Desired) v1alpha1.PipelineSync {
	if w.Record == nil {
		return v1alpha1.PipelineSync{}
	}
	return *w.Record
}

// save writes the status of a target where it changes. version is of the record that the pass wrote; empty: it did not.
func (c *carrier) save(ctx context.Context, w *target.Desired, o record.Outcome, version string, objects map[string]int) error {
	before := recordOf(w)
	status := record.Next(before, o, c.dates().In(w.Cluster))
	c.measure(w, o.Drift, objects, before.Status, status)
	if added := record.NewWarnings(before.Status.Warnings, status.Warnings); len(added) > 0 {
		c.log.Info("git has what arrives otherwise than it reads", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "commit", w.Snapshot.Commit, "warnings", added)
	}
	if w.Record != nil && equality.Semantic.DeepEqual(before.Status, status) {
		return nil
	}
	// A cancelled pass must still say what it did.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	if version == "" {
		version = before.ResourceVersion
	}
	written, err := w.Cluster.Records().SaveStatus(ctx, w.Target, status, version)
	if err == nil {
		c.tell(ctx, w, written, before.Status, status)
	}
	return err
}

const saveTimeout = 10 * time.Second

// fail writes a failure before anything was applied, and returns it. A target that was never deployed gets a record for it, so
// that the failure can be read in the cluster.
func (c *carrier) fail(ctx context.Context, w *target.Desired, failure error) error {
	if errors.Is(failure, context.Canceled) || !v1alpha1.ValidPipelineName(w.Target.Pipeline) {
		return failure
	}
	var written cluster.Written
	var compared *record.Drift
	if w.Record == nil {
		var err error
		if written, err = w.Cluster.Records().Create(ctx, w.Target, c.spec(w, pin.Decision{})); err != nil {
			return errors.Join(failure, err)
		}
	} else if w.Record.Spec.Owner != c.Config.Name {
		return failure // the record belongs to another configuration
	} else {
		compared = c.compareLastApplied(ctx, w)
	}
	o := outcomeOf(w, written)
	o.Failure, o.Drift = failureOf(failure), compared
	if err := c.save(ctx, w, o, written.Version, nil); err != nil {
		return errors.Join(failure, err)
	}
	return failure
}
