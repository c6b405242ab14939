package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A target that failed and one that does not become healthy cost nothing at each poll and at each commit to others: they
// are looked at when their back-off ends.
func TestRestWhileNotAllIsWell(t *testing.T) {
	j := newJump(t)
	j.write(t, "web", "web:1", "1")
	j.resource(t, "refused", "apiVersion: v1\nkind: Service\nmetadata: {name: refused}\nspec: {ports: [{port: 99999}]}\n")
	j.resource(t, "broken", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: [\n")
	j.resource(t, "slow", `apiVersion: apps/v1
kind: Deployment
metadata: {name: slow}
spec:
  selector: {matchLabels: {app: slow}}
  template: {metadata: {labels: {app: slow}}, spec: {containers: [{name: main, image: "`+j.host+`/web:1"}]}}
`)
	j.follow(t)
	j.commit(t, "All")
	j.await(t, "web", "1")
	for name, reason := range map[string]string{"refused": "False Failed", "broken": "False Failed", "slow": "False Progressing"} {
		j.awaitRecord(t, name, func(record *unstructured.Unstructured) bool { return conditions(record)["Ready"] == reason })
	}
	// The back-off of a second grows until there is a pause that is longer than the commits below take.
	turns := j.turns(t)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for began, last := time.Now(), time.Now(); time.Since(last) < 5*time.Second; <-tick.C {
		if time.Since(began) > awaitTimeout {
			t.Fatalf("it does not come to rest after %d turns", turns)
		}
		if now := j.turns(t); now != turns {
			turns, last = now, time.Now()
		}
	}
	const commits = 5
	for i := range commits {
		version := fmt.Sprint(i + 2)
		j.write(t, "web", "web:1", version)
		j.commit(t, version)
		j.await(t, "web", version)
	}
	// Each of the three may have had the ends of some back-offs meanwhile, on a busy machine. At each commit and poll it were
	// fifteen turns and more.
	if got := j.turns(t) - turns; got > commits+3*3 {
		t.Errorf("%d commits to one target cost %v turns", commits, got)
	}
	// A failed target is tried at once when git changes it.
	j.resource(t, "refused", "apiVersion: v1\nkind: Service\nmetadata: {name: refused}\nspec: {ports: [{port: 9999}]}\n")
	j.commit(t, "A port that there is")
	j.awaitRecord(t, "refused", func(record *unstructured.Unstructured) bool { return conditions(record)["Ready"] == "True Healthy" })
}

// resource writes a pipeline of one file.
func (j *jump) resource(t *testing.T, name, text string) {
	t.Helper()
	folder := filepath.Join(j.dir, "git", "pipelines", name, "overlays", "prod")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"kustomization.yaml": "namespace: default\nresources: [all.yaml]\n", "all.yaml": text} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// turns is how many turns targets had, by the metrics.
func (j *jump) turns(t *testing.T) uint64 {
	t.Helper()
	families, err := j.runner.daemon.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var n uint64
	for _, family := range families {
		if family.GetName() != "syncer_reconcile_duration_seconds" {
			continue
		}
		for _, m := range family.GetMetric() {
			n += m.GetHistogram().GetSampleCount()
		}
	}
	return n
}
