package main

import (
	"io"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// court is a judge with a simulated cluster.
func court(t *testing.T) *judge {
	t.Helper()
	j, err := openJournal(t.TempDir(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.close() })
	first := head{commit: "c1", model: firstModel(), at: time.Now().Add(-time.Hour)}
	judge := &judge{
		journal: j, cluster: &cluster{versions: map[key][]version{}},
		repo:   &repository{models: map[string]model{"c1": first.model}, heads: []head{first}, commits: []string{"c1"}},
		images: &images{tags: map[string][]stood{reference("load", 1): {{"sha256:1", time.Now()}, {"sha256:2", time.Now()}}}},
		logs:   func() map[string][]byte { return nil },
	}
	judge.begin()
	judge.cluster.heard = func(e event) { judge.heard(t.Context(), e) }
	return judge
}

// happens passes a version of an object to the judge.
func (j *judge) happens(t *testing.T, revision int, deleted bool, text string) {
	t.Helper()
	o := &unstructured.Unstructured{Object: parsed(t, text)}
	o.SetResourceVersion(strconv.Itoa(revision))
	if o.GetUID() == "" {
		o.SetUID(types.UID(o.GetName()))
	}
	j.cluster.note(o, deleted, 0)
}

func TestJudge(t *testing.T) {
	const (
		job      = `{kind: Job, metadata: {name: load, namespace: soak-dev}, status: {startTime: now}}`
		ended    = `{kind: Job, metadata: {name: load, namespace: soak-dev}, status: {startTime: now, conditions: [{type: Complete, status: "True"}]}}`
		settings = `{kind: ConfigMap, metadata: {name: load, namespace: soak-dev}}`
		another  = `{kind: ConfigMap, metadata: {name: load-extra-0, namespace: soak-dev}}`
		record   = `{kind: PipelineSync, metadata: {name: load.prod, namespace: soak-syncer}, spec: {images: [{reference: "registry.example.com/soak/load:v1", digest: "sha256:1"}]}}`
		moved    = `{kind: PipelineSync, metadata: {name: load.prod, namespace: soak-syncer}, spec: {images: [{reference: "registry.example.com/soak/load:v1", digest: "sha256:2"}]}}`
		emptied  = `{kind: PipelineSync, metadata: {name: load.prod, namespace: soak-syncer}}`
		claims   = `{kind: PipelineSync, metadata: {name: load.prod, namespace: soak-syncer}, status: {lastAppliedCommit: c1, conditions: [{type: Ready, status: "True"}]}}`
	)
	for name, c := range map[string]struct {
		do   func(t *testing.T, j *judge)
		want []string
	}{
		"a run is deleted":            {func(t *testing.T, j *judge) { j.happens(t, 1, false, job); j.happens(t, 2, true, job) }, []string{"run-touched"}},
		"a run that ended is deleted": {func(t *testing.T, j *judge) { j.happens(t, 1, false, job); j.happens(t, 2, true, ended) }, nil},
		"a run is deleted by hand": {func(t *testing.T, j *judge) {
			j.happens(t, 1, false, job)
			j.own["load"] = true
			j.happens(t, 2, true, job)
		}, nil},
		"what git declares is deleted": {func(t *testing.T, j *judge) { j.happens(t, 1, false, settings); j.happens(t, 2, true, settings) }, []string{"declared-deleted"}},
		"what git has not is deleted":  {func(t *testing.T, j *judge) { j.happens(t, 1, false, another); j.happens(t, 2, true, another) }, nil},
		"git declares it since a moment": {func(t *testing.T, j *judge) {
			j.repo.heads = append([]head{{commit: "c0", model: model{}, at: time.Now().Add(-time.Hour)}}, j.repo.heads...)
			j.repo.heads[1].at = time.Now().Add(-time.Second)
			j.happens(t, 1, false, settings)
			j.happens(t, 2, true, settings)
		}, nil},
		"a pin changes": {func(t *testing.T, j *judge) { j.happens(t, 1, false, record); j.happens(t, 2, false, moved) }, []string{"pin-changed"}},
		"a pin goes":    {func(t *testing.T, j *judge) { j.happens(t, 1, false, record); j.happens(t, 2, false, emptied) }, []string{"pin-changed"}},
		"a pin is removed by hand and comes back": {func(t *testing.T, j *judge) {
			j.happens(t, 1, false, record)
			j.touch(key{"PipelineSync", records, "load.prod"})
			j.happens(t, 2, false, emptied)
			time.Sleep(3 * time.Second)
			j.happens(t, 3, false, record)
		}, nil},
		"a pin is removed by hand and comes back as another": {func(t *testing.T, j *judge) {
			j.happens(t, 1, false, record)
			j.touch(key{"PipelineSync", records, "load.prod"})
			j.happens(t, 2, false, emptied)
			time.Sleep(3 * time.Second)
			j.happens(t, 3, false, moved)
		}, []string{"pin-changed"}},
		"Ready of what is not there": {func(t *testing.T, j *judge) { j.happens(t, 1, false, claims) }, []string{"ready-untrue"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := court(t)
				c.do(t, j)
				j.wg.Wait()
				if !slices.Equal(j.journal.violations, c.want) {
					t.Errorf("violated: %q, want %q", j.journal.violations, c.want)
				}
			})
		})
	}
}
