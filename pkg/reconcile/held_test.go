package reconcile_test

import (
	"context"
	"testing"
	"time"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/target"
)

func unwatched(pass *reconcile.Pass) {
	pass.Unwatched = func(*target.Desired) []string { return []string{"ConfigMap"} }
}

// job is a Job whose template has one value.
func job(value string) string {
	return `apiVersion: batch/v1
kind: Job
metadata: {name: load, namespace: $NS}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: "registry.example.com/load@sha256:` + digest + `", args: [` + value + `]}]}}}
`
}

const digest = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

const (
	started  = `{"status":{"active":1,"startTime":"2026-01-02T03:04:05Z"}}`
	finished = `{"status":{"active":0,"succeeded":1,"uncountedTerminatedPods":{},"completionTime":"2026-01-02T03:05:05Z","conditions":[{"type":"SuccessCriteriaMet","status":"True"},{"type":"Complete","status":"True"}]}}`
)

// collect ends the deletion of a Job, as the garbage collector does when its Pods are gone.
func (p *project) collect(name string) {
	p.Eventually("the Job is deleted", func() bool {
		job := p.Get(bench.Jobs, p.Namespace, name)
		return job != nil && job.GetDeletionTimestamp() != nil
	})
	p.Edit(bench.Jobs, name, `{"metadata":{"finalizers":null}}`)
}

func TestChangeOfARunningJobWaits(t *testing.T) {
	p := newProject(t, "")
	p.want(reconcile.Applied, "1 created", p.commit(orders(job("a")), "First"))
	p.Status(bench.Jobs, "load", started)
	second := orders(job("b"), bench.Settings("beside", "1"))
	result := p.want(reconcile.Held, "1 created; 1 change held", p.commit(second, "Second"))
	if result.Detail.Wait == nil || result.Detail.Wait.OnlyHealth() || result.Detail.Converged {
		t.Errorf("%+v", result.Detail)
	}
	p.wantCondition("Held", "True")
	if record := p.Record(); len(record.Status.Held) != 1 || p.observed[len(p.observed)-1].Held != 1 {
		t.Errorf("%+v", record.Status.Held)
	}
	p.want(reconcile.Held, "1 change held", p.again(), waitFor(time.Minute)) // it does not wait for the end of a run
	p.Status(bench.Jobs, "load", finished)
	go p.collect("load")
	p.want(reconcile.Applied, "1 replaced", p.again())
	p.wantCondition("Held", "False")
}

func TestSuspendedTargetIsLeftAsItIs(t *testing.T) {
	p := newProject(t, "")
	first := orders(bench.Settings("a", "1"))
	p.want(reconcile.Held, "pipeline.yaml suspends it", p.commit(first.and(settings("orders", "suspend: true\n")), "Not yet"))
	if p.Get(bench.ConfigMaps, p.Namespace, "a") != nil {
		t.Error("it was deployed")
	}
	p.wantCondition("Held", "True Suspended: pipeline.yaml suspends it")
	p.want(reconcile.Applied, "1 created", p.commit(first, "Now"))
	p.EditRecord(`{"metadata":{"annotations":{"syncer.dev/reconcile":"disabled"}}}`)
	p.Edit(bench.ConfigMaps, "a", `{"data":{"key":"by hand"}}`)
	result := p.want(reconcile.Held, "its record is annotated", p.commit(orders(bench.Settings("a", "2")), "Second"))
	if !result.Detail.Converged || len(result.Detail.Live) != 1 {
		t.Errorf("%+v", result.Detail)
	}
	p.wantCondition("Ready", "True") // of the commit before
	p.wantCondition("Drifted", "True")
	// A diff says so, too.
	diff, err := p.diff(p.again())
	if err != nil || diff.Result != reconcile.Held {
		t.Errorf("%+v, %v", diff, err)
	}
}

func TestTargetWaitsForItsDependency(t *testing.T) {
	p := newProject(t, "")
	p.registry.push("registry.example.com/web:v1", "a")
	depends := settings("orders", "dependsOn: [base]\n")
	base := v1alpha1.Target{Pipeline: "base", Environment: "prod"}
	commit := p.commit(orders(bench.Settings("a", "1")).and(depends).and(pipeline("base", server)), "First")
	p.want(reconcile.Held, "it depends on base@prod, which was never deployed", commit)
	p.wantCondition("Held", "True Dependency")

	// In the pass that reconciles both, its health decides.
	pass := reconcile.NewPass(p.again(), p.r.Pins.NewLookups())
	if result, err := p.reconcile(pass, base); err != nil || result.Result != reconcile.Applied {
		t.Fatalf("%+v, %v", result, err)
	}
	result, err := p.reconcile(pass, p.Target)
	if err != nil || result.Result != reconcile.Held || result.Detail.Wait == nil || !result.Detail.Wait.OnlyHealth() {
		t.Fatalf("%+v, %v", result, err)
	}

	// By itself it reads the record and the objects of the other one.
	single := func() reconcile.Result {
		t.Helper()
		again := reconcile.NewPass(p.again(), p.r.Pins.NewLookups())
		one := again.Single(again.Commit.Find(p.Target), target.Allowed{}, p.r.Pins.NewLookups())
		result, err := p.reconcile(one, p.Target)
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	if result := single(); result.Result != reconcile.Held || result.Detail.Wait == nil {
		t.Errorf("%+v", result)
	}
	p.Status(bench.Deployments, "web", available)
	waited := reconcile.Request{Desired: pass.Commit.Find(p.Target), Pass: pass, Stale: true}
	result, err = p.r.Reconcile(p.Ctx, waited) // it has become healthy since
	if err != nil || result.Result != reconcile.Applied {
		t.Errorf("%+v, %v", result, err)
	}

	// A new commit has to be applied to the other one first.
	newer := orders(bench.Settings("a", "2")).and(depends).and(pipeline("base", server, bench.Settings("b", "1")))
	p.want(reconcile.Held, "it depends on base@prod, which is not at commit 00000002 yet", p.commit(newer, "Second"))
	if result := single(); result.Result != reconcile.Held {
		t.Errorf("%+v", result)
	}
	pass = reconcile.NewPass(p.again(), p.r.Pins.NewLookups())
	if _, err := p.reconcile(pass, base); err != nil {
		t.Fatal(err)
	}
	if result := single(); result.Result != reconcile.Applied {
		t.Errorf("%+v", result)
	}
}

// Where a user waits for health, a target waits for the health of its dependency, and is reconciled then.
func TestSyncWaitsForADependency(t *testing.T) {
	p := newProject(t, "")
	p.registry.push("registry.example.com/web:v1", "a")
	both := orders(bench.Settings("a", "1")).and(settings("orders", "dependsOn: [base]\n")).and(pipeline("base", server))
	pass := reconcile.NewPass(p.commit(both, "First"), p.r.Pins.NewLookups())
	if _, err := p.reconcile(pass, v1alpha1.Target{Pipeline: "base", Environment: "prod"}); err != nil {
		t.Fatal(err)
	}
	waitFor(time.Minute)(pass)
	ctx, cancel := context.WithCancel(p.Ctx)
	defer cancel()
	go func() {
		defer cancel()
		p.Eventually("the target is held", func() bool {
			return p.condition("Held") != "there is no record" && p.condition("Held") != "there is no condition"
		})
		p.Status(bench.Deployments, "web", available)
	}()
	result, err := p.reconcile(pass, p.Target)
	<-ctx.Done()
	if err != nil || result.Result != reconcile.Applied {
		t.Errorf("%+v, %v", result, err)
	}
}
