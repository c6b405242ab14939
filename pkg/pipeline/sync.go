package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
)

// SyncOptions are what a user may ask of one pass.
type SyncOptions struct {
	Selection
	// Correct writes what git says also where only the cluster changed, in environments that report drift too.
	Correct bool
	// Wait for health for at most this long; 0 does not wait.
	Wait time.Duration
}

// targetsAtOnce is how many targets are carried out side by side.
const targetsAtOnce = 8

// Once carries the newest commit into every selected target. Targets do not depend on each other's success: the error
// is about the pass as a whole, such as an unreachable repository; each target has its own.
func (r *Runner) Once(ctx context.Context, options SyncOptions) (*Pass, error) {
	if _, err := r.environments(options.Environments); err != nil {
		return nil, err // before the network is asked
	}
	snap, err := r.source.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	return r.carry(ctx, snap, options)
}

// carry takes one commit into the selected targets.
func (r *Runner) carry(ctx context.Context, snap source.Snapshot, options SyncOptions) (*Pass, error) {
	agenda, err := r.plan(ctx, snap, options.Selection)
	if err != nil {
		return nil, err
	}
	c := carrier{
		Runner: r, options: options, lookup: image.NewLookup(r.registry), brings: agenda.brings(),
		allowed: r.allowance(ctx, agenda), total: len(agenda.works),
	}
	c.limitRemovals(agenda)
	results := map[apply.Target]TargetResult{}
	var mu sync.Mutex
	for _, wave := range agenda.waves() {
		var g errgroup.Group
		g.SetLimit(targetsAtOnce)
		for _, w := range wave {
			g.Go(func() error {
				result := c.target(ctx, w)
				mu.Lock()
				defer mu.Unlock()
				results[w.target] = result
				return nil
			})
		}
		_ = g.Wait() // each target reports for itself
	}
	pass := newPass(snap)
	for _, w := range agenda.works {
		pass.Targets = append(pass.Targets, results[w.target])
	}
	return pass, errors.Join(agenda.lost...)
}

func newPass(snap source.Snapshot) *Pass {
	return &Pass{Commit: snap.Commit, Targets: []TargetResult{}, Rewound: snap.Rewound, Subject: snap.Subject, Author: snap.Author}
}

// carrier is what the targets of one pass share.
type carrier struct {
	*Runner
	options SyncOptions
	lookup  *image.Lookup
	brings  map[*apply.Cluster]apply.Brings
	allowed map[apply.Target]bool // prunes that a commit trailer allows
	total   int
}

// target carries one target through, and says so.
func (c *carrier) target(ctx context.Context, w *work) TargetResult {
	c.progress(Progress{Target: w.target, Total: c.total})
	started := c.now()
	result := newResult(w)
	if err := c.reconcile(ctx, w, &result); err != nil {
		result.Result, result.Error = Failed, err.Error()
	}
	c.progress(Progress{Target: w.target, Total: c.total, Commit: w.snapshot.Commit, Result: &result, Took: c.now().Sub(started)})
	return result
}

func (c *carrier) reconcile(ctx context.Context, w *work, result *TargetResult) error {
	_, overlayGone := errors.AsType[*missingOverlayError](w.err)
	switch {
	case w.overlay == "" || overlayGone && c.allowed[w.target]:
		return c.remove(ctx, w, result)
	case w.err != nil:
		return c.fail(ctx, w, w.err)
	}
	decided, err := w.decide(ctx, c.lookup, c.now())
	if err != nil {
		return c.fail(ctx, w, err)
	}
	result.Images = w.images(decided.digests)
	set, err := w.applicable(decided.digests, w.cluster.Namespace())
	if err != nil {
		return c.fail(ctx, w, err)
	}
	plan, err := w.cluster.Plan(ctx, apply.Request{Target: w.target, Record: w.record, Set: set, Brings: c.brings[w.cluster]})
	if err != nil {
		return c.fail(ctx, w, err)
	}
	if err := plan.LimitPrunes(c.pruneLimit(w)); err != nil {
		return c.fail(ctx, w, err)
	}
	if !c.options.Correct && w.environment.Drift == v1alpha1.Report {
		result.Drift = drift.Compare(w.target.Pipeline, w.target.Environment, plan.Leave(), apply.FieldManager)
	}
	pending := plan.Pending()
	applied := apply.Applied{Inventory: plan.Inventory(), Live: plan.Members}
	// A new pin is kept also where it changes nothing: the reference may be new and its bytes the same.
	if len(pending) > 0 || w.record == nil || !samePins(decided.pins, w.record.Spec.Images) {
		applied, err = w.cluster.Apply(ctx, plan, c.spec(w, decided))
	}
	result.Changes = changeResults(pending, false)
	if len(pending) > 0 {
		result.Result = Applied
	}
	outcome := outcome{
		attempted: len(pending) > 0 || w.record == nil || w.record.Status.LastAppliedCommit == "", allowed: c.allowed[w.target],
		err: err, generation: applied.Generation,
		inventory: applied.Inventory, drift: result.Drift, images: w.deployed(decided.digests),
	}
	outcome.health, err = c.health(ctx, w, applied, err)
	result.Message = summary(result, decided.stale, outcome.health)
	if saveErr := c.save(ctx, w, outcome); saveErr != nil {
		return errors.Join(outcome.err, saveErr)
	}
	return errors.Join(outcome.err, err)
}

func (c *carrier) spec(w *work, decided decision) v1alpha1.PipelineSyncSpec {
	return v1alpha1.PipelineSyncSpec{
		Owner: c.Config.Name, Pipeline: w.target.Pipeline, Environment: w.target.Environment,
		Source: v1alpha1.RecordSource{URL: publicURL(c.Config.Source.URL), Commit: w.snapshot.Commit},
		Images: decided.pins,
	}
}

func (c *carrier) pruneLimit(w *work) apply.PruneLimit {
	prune := w.environment.Prune
	return apply.PruneLimit{
		Disabled: !*prune.Enabled, MaxPercent: *prune.MaxPercent, MaxObjects: prune.MaxObjects, Allowed: c.allowed[w.target],
	}
}

func changeResults(changes []manifest.Change, fields bool) []ChangeResult {
	out := make([]ChangeResult, 0, len(changes))
	for _, change := range changes {
		result := ChangeResult{Object: change.ID, Action: change.Action}
		if fields {
			result.Fields = append([]manifest.FieldChange{}, change.Fields...)
		}
		out = append(out, result)
	}
	return out
}

// summary is one line for a person.
func summary(result *TargetResult, stale []string, health health) string {
	var parts []string
	counts := map[manifest.Action]int{}
	for _, change := range result.Changes {
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
	if n := len(result.Drift); n > 0 {
		parts = append(parts, plural(n, "drifted field")+" left alone")
	}
	if len(stale) > 0 {
		parts = append(parts, "kept the digest of "+strings.Join(stale, ", ")+", which cannot be looked up now")
	}
	if result.Result == Applied && health.message != "" {
		parts = append(parts, health.message)
	}
	return strings.Join(parts, "; ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
