package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Drift compares every object of the selected targets with the commit last applied there, by server-side dry runs. It
// writes nothing. The report is good as far as it goes; the error names the targets that could not be compared.
func (r *Runner) Drift(ctx context.Context, selection Selection) (drift.Report, error) {
	if _, err := r.environments(selection.Environments); err != nil {
		return drift.Report{}, err // before the network is asked
	}
	snap, err := r.source.Fetch(ctx)
	if err != nil {
		return drift.Report{}, err
	}
	report := drift.Report{
		GeneratedAt: r.now().UTC(),
		Source:      drift.Source{URL: publicURL(r.Config.Source.URL), Branch: r.Config.Source.Branch, Commit: snap.Commit},
		Findings:    []drift.Finding{}, Skew: []drift.Skew{},
	}
	works, lost, err := r.deployed(ctx, selection)
	if err != nil {
		return report, err
	}
	errs := []error{lost}
	c := carrier{Runner: r, total: len(works)}
	for _, result := range c.each(works, func(w *work, result *TargetResult) error { return c.drift(ctx, w, result) }) {
		report.Findings = append(report.Findings, result.Drift...)
		if result.Error != "" {
			errs = append(errs, fmt.Errorf("%s: %s", result.Target(), result.Error))
		}
	}
	drift.Sort(report.Findings)
	return report, errors.Join(errs...)
}

// deployed lists the selected targets that have a record, sorted. lost joins the environments that cannot be read.
func (r *Runner) deployed(ctx context.Context, selection Selection) (works []*work, lost, err error) {
	environments, err := r.environments(selection.Environments)
	if err != nil {
		return nil, nil, err
	}
	var errs []error
	known := map[string]bool{}
	for _, environment := range environments {
		cluster, err := r.cluster(environment)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		records, err := cluster.Records(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("environment %s: %w", environment.Name, err))
			continue
		}
		for _, record := range records {
			if record.Spec.Owner != r.Config.Name || record.Spec.Environment != environment.Name {
				continue
			}
			known[record.Spec.Pipeline] = true
			if len(selection.Pipelines) == 0 || slices.Contains(selection.Pipelines, record.Spec.Pipeline) {
				works = append(works, &work{
					target:      apply.Target{Pipeline: record.Spec.Pipeline, Environment: environment.Name},
					environment: environment, cluster: cluster, record: record,
				})
			}
		}
	}
	for _, name := range selection.Pipelines {
		if !known[name] && len(errs) == 0 {
			return nil, nil, fmt.Errorf("no pipeline %q has been deployed to %s by the configuration %q", name, strings.Join(names(environments), ", "), r.Config.Name)
		}
	}
	slices.SortFunc(works, func(a, b *work) int { return compareTargets(a.target, b.target) })
	return works, errors.Join(errs...), nil
}

func (c *carrier) drift(ctx context.Context, w *work, result *TargetResult) error {
	commit := w.record.Status.LastAppliedCommit
	if commit == "" {
		return fmt.Errorf("no commit has been applied completely yet; mend what `syncer sync` says and sync again")
	}
	set, err := c.setAt(ctx, w, commit)
	if err != nil {
		return err
	}
	plan, err := w.cluster.Plan(ctx, apply.Request{Target: w.target, Record: w.record, Set: set, Full: true, ReadOnly: true})
	if err != nil {
		return err
	}
	result.Drift = drift.Compare(w.target.Pipeline, w.target.Environment, plan.Changes, apply.FieldManager)
	return nil
}

// setAt is what a commit meant for a target when it was applied: its files, with the digests of the record.
func (c *carrier) setAt(ctx context.Context, w *work, commit string) (manifest.Set, error) {
	var err error
	if w.snapshot, err = c.source.At(ctx, commit); err != nil {
		return nil, fmt.Errorf("reading the commit last applied: %w", err)
	}
	pipelines, err := c.discover(w.snapshot)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(pipelines, func(p *found) bool { return p.name == w.target.Pipeline })
	if i < 0 || pipelines[i].overlays[w.environment.Name] == "" {
		return nil, fmt.Errorf("commit %.8s, the one last applied, has no overlay for it", commit)
	}
	at := c.newWork(pipelines[i], w.environment, w.snapshot)
	at.record, at.cluster = w.record, w.cluster
	at.render()
	if at.err != nil {
		return nil, fmt.Errorf("commit %.8s: %w", commit, at.err)
	}
	return at.applicable(recordedDigests(w.record), w.cluster.Namespace())
}

func recordedDigests(record *v1alpha1.PipelineSync) map[string]string {
	digests := map[string]string{}
	if record != nil {
		for _, pin := range record.Spec.Images {
			digests[pin.Reference] = pin.Digest
		}
	}
	return digests
}
