package apply_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/apply/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

func annotated(doc string, annotations ...string) string {
	return strings.Replace(doc, "namespace: $NS", "namespace: $NS, annotations: {"+strings.Join(annotations, ", ")+"}", 1)
}

func wave(n int) string { return fmt.Sprintf("argocd.argoproj.io/sync-wave: %q", fmt.Sprint(n)) }

func dependsOn(objects ...string) string {
	return fmt.Sprintf("config.kubernetes.io/depends-on: %q", strings.Join(objects, ","))
}

// written lists what was written, in the order of the API server's log.
func written(events []lab.AuditEvent) string {
	var out []string
	for _, e := range events {
		if isWrite(e) && !isDryRun(e) && e.Object.Resource != records.Resource && e.Object.Name != "syncer-inventory-key" {
			out = append(out, e.Object.Name)
		}
	}
	return strings.Join(out, " ")
}

func TestWavesAndDependenciesOrderObjects(t *testing.T) {
	b := newBench(t)
	set := b.set(join(
		annotated(settings("late", "1"), wave(2)),
		annotated(settings("a-after-b", "1"), dependsOn("/namespaces/"+b.namespace+"/ConfigMap/b")),
		settings("b", "1"),
		annotated(settings("early", "1"), wave(-1)),
	))
	if got := written(b.requests(func() { b.sync(set) })); got != "early b a-after-b late" {
		t.Errorf("the order is %s", got)
	}
	b.nothingToDo(set)
	if got := written(b.requests(func() { b.sync(b.set(settings("b", "1"))) })); got != "late a-after-b early" {
		t.Errorf("the order of the prunes is %s", got)
	}
}

// A migration has to have run, and well, before what uses its tables is changed.
func TestWaveWaitsForTheHealthOfTheOneBefore(t *testing.T) {
	for name, c := range map[string]struct{ first, second string }{
		"wave":       {backfill("migrate", 2), annotated(settings("app", "1"), wave(1))},
		"annotation": {backfill("migrate", 2), annotated(settings("app", "1"), dependsOn("batch/namespaces/$NS/Job/migrate"))},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			set := b.set(join(c.first, c.second))
			applied := b.sync(set)
			if got := actions(applied.Changes); got != "Create Job/migrate" || len(applied.Held) != 1 {
				t.Fatalf("applied: %s, held: %v", got, applied.Held)
			}
			if held := applied.Held[0].Held; held.Reason != manifest.HeldDependency || !strings.Contains(held.Message, "Job/"+b.namespace+"/migrate") {
				t.Errorf("held: %+v", held)
			}
			if err := b.cluster.AwaitChange(b.ctx, applied.Held); err != nil {
				t.Fatal(err)
			}
			if run := (*health.Judge)(nil).Run(b.get(jobs, b.namespace, "migrate")); run.State != health.Ended {
				t.Errorf("the wait ended while it is %+v", run)
			}
			if got := actions(b.sync(set).Changes); got != "Create ConfigMap/app" {
				t.Errorf("after it: %s", got)
			}
		})
	}
}

func TestDependencyOutsideTheSet(t *testing.T) {
	b := newBench(t)
	set := b.set(annotated(settings("app", "1"), dependsOn("/namespaces/"+b.namespace+"/ConfigMap/theirs")))
	applied := b.sync(set)
	if len(applied.Changes) > 0 || len(applied.Held) != 1 || !strings.Contains(applied.Held[0].Held.Message, "ConfigMap/"+b.namespace+"/theirs is not in the cluster") {
		t.Fatalf("applied: %s, held: %v", actions(applied.Changes), applied.Held)
	}
	b.create(configMaps, settings("theirs", "1"))
	if err := b.cluster.AwaitChange(b.ctx, applied.Held); err != nil {
		t.Fatal(err)
	}
	if got := actions(b.sync(set).Changes); got != "Create ConfigMap/app" {
		t.Errorf("when it is there: %s", got)
	}
}

func TestOrderErrors(t *testing.T) {
	b := newBench(t)
	on := func(name string) string { return dependsOn("/namespaces/" + b.namespace + "/ConfigMap/" + name) }
	for name, c := range map[string]struct{ docs, want string }{
		"circle":    {join(annotated(settings("a", "1"), on("b")), annotated(settings("b", "1"), on("a"))), "goes in a circle: ConfigMap/" + b.namespace + "/a on ConfigMap/" + b.namespace + "/b on ConfigMap/" + b.namespace + "/a"},
		"itself":    {annotated(settings("a", "1"), on("a")), "goes in a circle: "},
		"no object": {annotated(settings("a", "1"), dependsOn("somewhere")), `"somewhere" names no object; write GROUP/KIND/NAME`},
		"no number": {annotated(settings("a", "1"), `argocd.argoproj.io/sync-wave: "first"`), `"first" is not a whole number`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.tryPlan(b.set(c.docs))
			wantError(t, err, "ConfigMap/"+b.namespace+"/a: annotation ", c.want)
		})
	}
}
