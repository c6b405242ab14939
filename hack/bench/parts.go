package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/syncerdev/syncer/pkg/clock"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// part is one thing that the benchmark measures.
type part struct {
	name    string
	always  bool // other parts build on it
	measure func(*bench, context.Context) error
}

// parts are measured in this order.
var parts = []part{
	{"raw", false, raw},
	{"first", true, first},
	{"rest", false, atRest},
	{"commit", false, commits},
	{"edit", false, edits},
	{"every", false, every},
	{"commands", false, commands},
	{"render", false, render},
	{"profile", false, profile},
	{"records", false, func(b *bench, ctx context.Context) error { return recordSizes(ctx, b.result, b.client) }},
	{"memory", false, memory},
	{"restart", false, restart},
}

func partNames() []string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// patience bounds every wait for syncer.
const patience = 20 * time.Minute

// span is what syncer does between two moments.
type span struct {
	began time.Time
	used  usage
}

func (b *bench) begin(ctx context.Context) (span, error) {
	if _, err := b.audit.upToNow(ctx); err != nil {
		return span{}, err
	}
	now, err := used(b.daemon.pid)
	return span{time.Now(), now}, err
}

// cpu is the processor time of syncer since the begin of the span.
func (b *bench) cpu(s span) (time.Duration, error) {
	now, err := used(b.daemon.pid)
	return now.cpu - s.used.cpu, err
}

// sinceStart returns the requests of the daemon since the last look at the audit log, and what its process has used.
func (b *bench) sinceStart(ctx context.Context) (counts, usage, error) {
	events, err := b.audit.upToNow(ctx)
	if err != nil {
		return counts{}, usage{}, err
	}
	now, err := used(b.daemon.pid)
	return countOf(events, daemonUser), now, err
}

// first measures the first rollout, from the start of the process.
func first(b *bench, ctx context.Context) error {
	b.watch(ctx)
	commit, err := b.work.git(ctx, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	if _, err := b.audit.upToNow(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := b.daemon.start(ctx); err != nil {
		return err
	}
	profiled := b.profileStart(ctx, "rollout")
	if err := b.awaitCommit(ctx, commit); err != nil {
		return err
	}
	b.result.ratio(firstTime, time.Since(began), rawCreate)
	if b.kase.settle {
		if err := b.await(ctx, b.targets(), func(s seen) bool { return s.ready }); err != nil {
			return err
		}
		b.result.seconds("first rollout, all targets ready", time.Since(began))
	}
	asked, now, err := b.sinceStart(ctx)
	if err != nil {
		return err
	}
	b.result.requests("first rollout", asked, 1)
	b.result.number("first rollout, requests a target", float64(asked.total())/float64(b.targets()))
	b.result.cpu("first rollout, CPU", now.cpu)
	if err := profiled(); err != nil {
		return err
	}
	_, _, err = b.audit.quiet(ctx, daemonUser, 2*time.Second, 15*time.Second)
	return err
}

func (b *bench) awaitCommit(ctx context.Context, commit string, names ...string) error {
	count := len(names)
	if count == 0 {
		count = b.targets()
	}
	return b.await(ctx, count, func(s seen) bool { return s.commit == commit }, names...)
}

// await waits for records as long as the daemon lives.
func (b *bench) await(ctx context.Context, count int, is func(seen) bool, names ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("syncer does not come to it"))
	defer cancel()
	go func() { // until ctx ends
		select {
		case <-b.daemon.program.Ended():
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := b.records.await(ctx, count, is, names...); err != nil {
		return errors.Join(context.Cause(ctx), b.daemon.alive())
	}
	return nil
}

// atRest measures what syncer does while nothing changes.
func atRest(b *bench, ctx context.Context) error {
	s, err := b.begin(ctx)
	if err != nil {
		return err
	}
	if err := sleep(ctx, b.opts.rest); err != nil {
		return err
	}
	events, err := b.audit.upToNow(ctx)
	if err != nil {
		return err
	}
	cpu, err := b.cpu(s)
	if err != nil {
		return err
	}
	asked, minutes := countOf(events, daemonUser), time.Since(s.began).Minutes()
	b.result.requests("at rest, a minute", asked, minutes)
	b.result.number("at rest, requests a minute", float64(asked.total())/minutes)
	b.result.number("at rest, watches opened a minute", float64(asked.watches())/minutes)
	b.result.number("at rest, requests for Leases a minute", float64(asked.leases())/minutes)
	b.result.cpu("at rest, CPU a minute", time.Duration(float64(cpu)/minutes))
	text, err := b.daemon.get(ctx, "/metrics")
	if err != nil {
		return err
	}
	b.result.number("at rest, goroutines", metric(text, "go_goroutines", ""))
	b.result.megabytes("at rest, Go heap in use", metric(text, "go_memstats_heap_inuse_bytes", ""))
	now, err := used(b.daemon.pid)
	b.result.megabytes("at rest, RSS", float64(now.rss))
	return err
}

// What a commit costs counts until syncer asks nothing for commitSilence, or for commitLimit after it is carried out.
const (
	commitSilence = 300 * time.Millisecond
	commitLimit   = 2 * time.Second
)

// commits measures commits to one pipeline, each to another one, from the webhook to the records of its three targets.
func commits(b *bench, ctx context.Context) error {
	var took, cpus []time.Duration
	asked := counts{}
	for n := range b.opts.commits {
		s, err := b.begin(ctx)
		if err != nil {
			return err
		}
		t, err := b.commit(ctx, n%b.kase.pipelines)
		if err != nil {
			return err
		}
		c, _, err := b.audit.quiet(ctx, daemonUser, commitSilence, commitLimit)
		if err != nil {
			return err
		}
		cpu, err := b.cpu(s)
		if err != nil {
			return err
		}
		asked.add(c)
		took, cpus = append(took, t), append(cpus, cpu)
	}
	for _, p := range []int{50, 90, 99, 100} {
		b.result.seconds(commitTime(p), percentile(took, p))
	}
	b.result.requests("a commit to one pipeline", asked, float64(b.opts.commits))
	b.result.number(commitRequests, float64(asked.total())/float64(b.opts.commits))
	b.result.number("commit to one pipeline, watches opened", float64(asked.watches())/float64(b.opts.commits))
	b.result.cpu(commitCPU, mean(cpus))
	return nil
}

// commit changes a pipeline and waits until its records show it.
func (b *bench) commit(ctx context.Context, i int) (time.Duration, error) {
	hash, err := b.work.commitTo(ctx, i)
	if err != nil {
		return 0, err
	}
	began, err := b.daemon.hook(ctx)
	if err != nil {
		return 0, err
	}
	var names []string
	for _, environment := range environments {
		names = append(names, recordName(i, environment))
	}
	err = b.awaitCommit(ctx, hash, names...)
	return time.Since(began), err
}

// every measures a commit that changes every object.
func every(b *bench, ctx context.Context) error {
	s, err := b.begin(ctx)
	if err != nil {
		return err
	}
	hash, err := b.work.commitToAll(ctx)
	if err != nil {
		return err
	}
	began, err := b.daemon.hook(ctx)
	if err != nil {
		return err
	}
	if err := b.awaitCommit(ctx, hash); err != nil {
		return err
	}
	b.result.ratio(everyTime, time.Since(began), rawChange)
	events, err := b.audit.upToNow(ctx)
	if err != nil {
		return err
	}
	cpu, err := b.cpu(s)
	if err != nil {
		return err
	}
	asked := countOf(events, daemonUser)
	b.result.requests("a commit to all", asked, 1)
	b.result.number("commit to all, requests a target", float64(asked.total())/float64(b.targets()))
	b.result.cpu("commit to all, CPU", cpu)
	_, _, err = b.audit.quiet(ctx, daemonUser, 2*time.Second, 15*time.Second)
	return err
}

// edits measures changes by hand: until the record has the finding where drift is reported, and until the value is back
// where it is corrected.
func edits(b *bench, ctx context.Context) error {
	var noticed, corrected []time.Duration
	for n := range b.opts.edits {
		i, value := n%b.kase.pipelines, fmt.Sprintf("by-hand-%d", n)
		took, err := b.noticed(ctx, i, value)
		if err != nil {
			return fmt.Errorf("until the finding: %w", err)
		}
		noticed = append(noticed, took)
		if took, err = b.corrected(ctx, i, value); err != nil {
			return fmt.Errorf("until the correction: %w", err)
		}
		corrected = append(corrected, took)
	}
	b.result.seconds(editTime("in the record", 50), percentile(noticed, 50))
	b.result.seconds(editTime("in the record", 100), percentile(noticed, 100))
	b.result.seconds(editTime("put right", 50), percentile(corrected, 50))
	b.result.seconds(editTime("put right", 100), percentile(corrected, 100))
	return nil
}

// original is the value of the key that people edit.
const original = "example-lake"

func (b *bench) noticed(ctx context.Context, i int, value string) (time.Duration, error) {
	began := time.Now()
	if err := b.edit(ctx, i, "prod", value); err != nil {
		return 0, err
	}
	err := b.await(ctx, 1, func(s seen) bool { return slices.Contains(s.found, any(value)) }, recordName(i, "prod"))
	return time.Since(began), err
}

func (b *bench) corrected(ctx context.Context, i int, value string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	name := metav1.ListOptions{FieldSelector: "metadata.name=" + pipeline(i) + "-settings"}
	w, err := b.client.Resource(configMaps).Namespace(namespace(i, "dev")).Watch(ctx, name)
	if err != nil {
		return 0, err
	}
	defer w.Stop()
	var began time.Time
	edited := false
	for e := range w.ResultChan() {
		o, ok := e.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		is, _, _ := unstructured.NestedString(o.Object, "data", "LAKE_BUCKET")
		switch {
		case began.IsZero():
			began = time.Now()
			if err := b.edit(ctx, i, "dev", value); err != nil {
				return 0, err
			}
		case is == value:
			edited = true
		case edited && is == original:
			return time.Since(began), nil
		}
	}
	return 0, errors.Join(ctx.Err(), errors.New("the watch of the ConfigMap ended"))
}

// edit sets a value of a ConfigMap as a person does.
func (b *bench) edit(ctx context.Context, i int, environment, value string) error {
	patch := fmt.Sprintf(`{"data":{"LAKE_BUCKET":%q}}`, value)
	_, err := b.client.Resource(configMaps).Namespace(namespace(i, environment)).Patch(
		ctx, pipeline(i)+"-settings", types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	return err
}

// commands measures the commands of a user, with a clone from an earlier run.
func commands(b *bench, ctx context.Context) error {
	if err := b.command(ctx, "", "status"); err != nil {
		return err
	}
	for _, name := range []string{"status", "diff", "drift"} {
		if err := b.command(ctx, name+" of all", name); err != nil {
			return err
		}
		if err := b.command(ctx, name+" of one pipeline", name, pipeline(0)); err != nil {
			return err
		}
	}
	return nil
}

// command runs one several times; without a name nothing is recorded.
func (b *bench) command(ctx context.Context, name string, args ...string) error {
	args = append(args, "--config", filepath.Join(b.dir, "commands.yaml"), "--cache-dir", filepath.Join(b.dir, "command-cache"))
	var took []time.Duration
	asked := counts{}
	if _, err := b.audit.upToNow(ctx); err != nil {
		return err
	}
	for range b.opts.rounds {
		t, _, err := timed(b.daemon.command(ctx, args...))
		if err != nil {
			return fmt.Errorf("syncer %s: %w", args[0], err)
		}
		took = append(took, t)
		events, err := b.audit.upToNow(ctx)
		if err != nil {
			return err
		}
		asked.add(countOf(events, commandUser))
	}
	if name == "" {
		return nil
	}
	b.result.seconds(name, percentile(took, 50))
	b.result.number(name+", requests", float64(asked.total())/float64(b.opts.rounds))
	b.result.requests("`"+name+"`", asked, float64(b.opts.rounds))
	return nil
}

// render compares `syncer render` of one target with `kubectl kustomize` of its overlay.
func render(b *bench, ctx context.Context) error {
	var ours, theirs, ourCPU, theirCPU []time.Duration
	kubectl := filepath.Join(b.opts.bin, "controlplane", "kubectl")
	for range b.opts.rounds + 1 { // the first one clones
		t, cpu, err := timed(b.daemon.command(ctx, "render", pipeline(0), "--env", "prod",
			"--config", filepath.Join(b.dir, "commands.yaml"), "--cache-dir", filepath.Join(b.dir, "command-cache")))
		if err != nil {
			return fmt.Errorf("syncer render: %w", err)
		}
		ours, ourCPU = append(ours, t), append(ourCPU, cpu)
		cmd := b.daemon.command(ctx, "kustomize", b.work.overlay(0, "prod"))
		cmd.Path, cmd.Args[0] = kubectl, kubectl
		if t, cpu, err = timed(cmd); err != nil {
			return fmt.Errorf("kubectl kustomize: %w", err)
		}
		theirs, theirCPU = append(theirs, t), append(theirCPU, cpu)
	}
	b.result.seconds("render of one target", percentile(ours[1:], 50))
	b.result.number("render of one target, x kustomize", float64(percentile(ours[1:], 50))/float64(percentile(theirs[1:], 50)))
	b.result.number("render of one target, CPU, x kustomize", float64(percentile(ourCPU[1:], 50))/float64(percentile(theirCPU[1:], 50)))
	return nil
}

// memoryPause is how long syncer is at rest before its memory counts.
const memoryPause = 30 * time.Second

// memory measures what the process holds after all of this, and the most that it held.
func memory(b *bench, ctx context.Context) error {
	if _, _, err := b.audit.quiet(ctx, daemonUser, 2*time.Second, 10*time.Second); err != nil {
		return err
	}
	if err := clock.Sleep(ctx, memoryPause); err != nil {
		return err
	}
	now, err := used(b.daemon.pid)
	b.result.megabytes("memory, RSS", float64(now.rss))
	b.result.megabytes("memory, RSS without the processes that render", float64(now.alone))
	b.result.megabytes("memory, RSS at its peak", float64(now.peak))
	return err
}

// restart measures a start with nothing to change.
func restart(b *bench, ctx context.Context) error {
	if err := b.daemon.stop(); err != nil {
		return err
	}
	if _, err := b.audit.upToNow(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := b.daemon.start(ctx); err != nil {
		return err
	}
	profiled := b.profileStart(ctx, "restart")
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := b.daemon.until(ctx, func() bool { _, err := b.daemon.get(ctx, "/readyz"); return err == nil }); err != nil {
		return err
	}
	b.result.seconds("restart, ready", time.Since(began))
	if err := b.daemon.until(ctx, func() bool {
		text, err := b.daemon.get(ctx, "/metrics")
		return err == nil && metric(text, "syncer_targets", `state="Unknown"`) >= float64(b.targets())
	}); err != nil {
		return err
	}
	b.result.seconds("restart, all targets compared", time.Since(began))
	asked, now, err := b.sinceStart(ctx)
	if err != nil {
		return err
	}
	b.result.requests("a restart", asked, 1)
	b.result.number("restart, requests", float64(asked.total()))
	b.result.number("restart, watches opened", float64(asked.watches()))
	b.result.cpu("restart, CPU", now.cpu)
	return profiled()
}
