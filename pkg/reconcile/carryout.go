package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// carryOut applies a plan where there is something to apply, judges the health of the target, and records both. written
// reports whether it wrote the spec of the record, and with it the decided digests.
func (t *task) carryOut(ctx context.Context, decided pin.Decision, plan *apply.Plan) (written bool, err error) {
	d, pending := t.d, plan.Pending()
	correcting, err := t.noteCorrections(ctx, plan)
	if err != nil {
		return false, err
	}
	applied := apply.Applied{Inventory: plan.Inventory(), Live: plan.Members, Held: plan.Held()}
	if t.writesSpec(decided, plan) {
		applied, err = apply.Carry(ctx, d.Cluster, plan, t.spec(decided.Pins))
		written = applied.Record.Generation != 0
		applied.Record.Version = t.mark.Leave(ctx, applied.Record.Version)
	}
	t.result.Changes = Changes(slices.Concat(applied.Changes, applied.Held), false)
	if IsOvertaken(err) {
		return written, err // the other syncer records the state of the target
	}
	switch {
	case len(applied.Held) > 0:
		t.result.Result = Held
	case len(pending) > 0:
		t.result.Result = Applied
	}
	drifted := len(t.result.Drift)
	t.addFindings(ctx, decided, plan)
	o := t.appliedOutcome(decided, plan, applied, err)
	seen, unhealthy := t.judge(ctx, plan, applied, o.Apply.Images, err)
	o.Health = healthFor(seen.health, seen.swapped, o.Health.Notes)
	t.detail(decided, plan, applied, seen.health, err)
	o.Drift = t.appliedDrift(among(correcting, applied.Changes), err)
	if written {
		t.reportFlapping(ctx, decided.Pins)
	}
	t.result.Message = t.summary(drifted, decided.Kept, o)
	if d.Record == nil && applied.Record.Generation == 0 {
		return written, err // there is no record to write it in
	}
	return written, errors.Join(err, t.save(ctx, o, applied.Record, seen.objects), unhealthy, t.uncorrected())
}

// noteCorrections writes the drift that is about to be corrected into the record: the manager of a field is known now, and
// afterwards the field is syncer's again.
func (t *task) noteCorrections(ctx context.Context, plan *apply.Plan) ([]drift.Finding, error) {
	found := t.r.Rating.Differences(t.d, corrections(plan), nil)
	t.r.Rating.Complete(t.d, found)
	if len(found) == 0 || t.d.Record == nil {
		return found, nil
	}
	return found, t.noteDrift(ctx, slices.Concat(t.result.Drift, found))
}

// writesSpec reports whether the plan, or the record itself, makes a write necessary. A new pin is kept also where it changes
// nothing: the reference may be new and its bytes the same.
func (t *task) writesSpec(decided pin.Decision, plan *apply.Plan) bool {
	d := t.d
	return len(plan.Pending()) > 0 || plan.Unfinished() || d.Record == nil || !pin.Same(decided.Pins, d.Record.Spec.Images) ||
		d.Record.Spec.ServiceAccount != d.Settings.ServiceAccount
}

// spec is that of the record with its pins.
func (t *task) spec(pins []v1alpha1.PinnedImage) v1alpha1.PipelineSyncSpec {
	config := t.r.Config
	return v1alpha1.PipelineSyncSpec{
		Owner: config.Name, Pipeline: t.d.Target.Pipeline, Environment: t.d.Target.Environment,
		Source:         v1alpha1.RecordSource{URL: config.Source.PublicURL(), Commit: t.d.Snapshot.Commit},
		ServiceAccount: t.d.Settings.ServiceAccount, Images: pins,
	}
}

// addFindings adds the findings beside the differences that the plan leaves, and completes all of them.
func (t *task) addFindings(ctx context.Context, decided pin.Decision, plan *apply.Plan) {
	found := append(t.result.Drift, t.r.Rating.Planned(t.d, plan)...)
	if t.r.ChecksImages {
		found = append(found, t.r.Rating.Rated(t.r.Pins.Findings(ctx, t.pass.Lookups, t.d, decided.Pins))...)
	}
	t.r.Rating.Complete(t.d, found)
	drift.Sort(found)
	t.result.Drift = found
}

// seen is the state of the objects of a target after an apply.
type seen struct {
	health  target.Health
	swapped []string // the objects that run another image than the deployed one
	objects []health.Object
}

// judge judges the objects of a target after its apply. It waits for them to be healthy where the user asked for that; the
// error says that they are not. The state of an object that cannot be read is not known.
func (t *task) judge(ctx context.Context, plan *apply.Plan, applied apply.Applied, deployed []v1alpha1.DeployedImage, applyErr error) (seen, error) {
	d, inventory := t.d, plan.Readable(applied.Inventory)
	h, unhealthy := t.awaitHealth(ctx, inventory, applied.Live, applyErr)
	out := seen{health: h.WithUnread(plan)}
	out.swapped = target.Swapped(ctx, d.Cluster, inventory, applied.Live, d.Rendered.Fields, deployed)
	out.objects = target.ObjectsOf(ctx, d.Cluster, inventory, applied.Live)
	t.pass.noteHealth(d.Target, out.health, applied.Inventory)
	return out, unhealthy
}

const healthPoll = time.Second

// awaitHealth judges the objects of an inventory until they are healthy, failed, or the wait has ended.
func (t *task) awaitHealth(ctx context.Context, entries []v1alpha1.InventoryEntry, live inventory.Members, applyErr error) (target.Health, error) {
	d := t.d
	h := target.HealthOf(ctx, d.Cluster, entries, live)
	if t.pass.Options.Wait == 0 || applyErr != nil {
		return h, nil
	}
	ctx, cancel := context.WithDeadline(ctx, t.pass.Deadline)
	defer cancel()
	tick := time.NewTicker(healthPoll)
	defer tick.Stop()
	for h.Status == health.InProgress {
		select {
		case <-ctx.Done():
			return h, fmt.Errorf("not healthy after %s: %s", t.pass.Options.Wait, h.Message)
		case <-tick.C:
		}
		live, err := inventory.Live(ctx, d.Cluster, d.Target, entries)
		if err != nil {
			return h, err
		}
		h = target.HealthOf(ctx, d.Cluster, entries, live)
	}
	if h.Status == health.Failed {
		return h, fmt.Errorf("not healthy: %s", h.Message)
	}
	return h, nil
}

// detail sets what a caller has to know to reconcile the target again.
func (t *task) detail(decided pin.Decision, plan *apply.Plan, applied apply.Applied, h target.Health, err error) {
	detail := &t.result.Detail
	detail.Uncompared = UncomparedError(plan)
	detail.Live, detail.Pins, detail.Unwatched = plan.Seen(applied.Live), decided.Pins, len(t.pass.unwatched(t.d)) > 0
	detail.Converged = err == nil && detail.Uncompared == nil && len(applied.Held) == 0 && h.Status != health.InProgress &&
		!record.NewlyCutOff(t.before().Inventory, applied.Inventory)
	detail.Wait = target.WaitFor(t.d, slices.Concat(applied.Held, h.Waiting))
}

// uncorrected names the objects that were to be corrected, and could not be compared.
func (t *task) uncorrected() error {
	if !t.corrects() {
		return nil
	}
	return t.result.Detail.Uncompared
}

// last is the record as the reconcile found it; an empty one where there is none.
func (t *task) last() v1alpha1.PipelineSync {
	if t.d.Record == nil {
		return v1alpha1.PipelineSync{}
	}
	return *t.d.Record
}

// before is the status of the record as the reconcile found it.
func (t *task) before() v1alpha1.PipelineSyncStatus { return t.last().Status }

// summary is one line for a person; drifted counts the fields of drift that are left alone.
func (t *task) summary(drifted int, kept []string, o record.Outcome) string {
	var parts []string
	counts := map[manifest.Action]int{}
	for _, change := range t.result.Changes {
		counts[change.Action]++
	}
	for _, each := range []struct {
		action manifest.Action
		word   string
	}{{manifest.Create, "created"}, {manifest.Update, "updated"}, {manifest.Replace, "replaced"}, {manifest.Prune, "pruned"}} {
		if n := counts[each.action]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, each.word))
		}
	}
	if held := len(o.Apply.Held); held > 0 {
		parts = append(parts, manifest.Plural(held, "change")+" held")
	}
	if uncompared := t.result.Detail.Uncompared; uncompared != nil {
		parts = append(parts, manifest.Shorten(strings.Split(uncompared.Error(), "\n")))
	}
	if drifted > 0 {
		parts = append(parts, manifest.Plural(drifted, "drifted field")+" left alone")
	}
	if len(kept) > 0 {
		parts = append(parts, "kept the digest of "+strings.Join(kept, ", ")+", which cannot be looked up now")
	}
	parts = append(parts, o.Health.Notes...)
	if t.result.Result != Unchanged && o.Health.Message != "" {
		parts = append(parts, o.Health.Message)
	}
	return strings.Join(parts, "; ")
}
