package reconcile_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/reconcile"
)

const nightly = `apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: $NS}
spec:
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: "registry.example.com/ingest:v1"}]}}}}
`

func TestFirstDeployment(t *testing.T) {
	p := newProject(t, "")
	p.registry.push("registry.example.com/ingest:v1", "a")
	result := p.want(reconcile.Applied, "2 created", p.commit(orders(bench.Settings("a", "1"), nightly), "First"))
	if len(result.Images) != 1 || result.Images[0].Digest != p.registry.digests["registry.example.com/ingest:v1"] {
		t.Errorf("the images: %+v", result.Images)
	}
	if !result.Detail.Converged || len(result.Detail.Live) != 2 || result.Detail.Wait != nil {
		t.Errorf("the detail: %+v", result.Detail)
	}
	record := p.Record()
	if record.Spec.Owner != p.Records || record.Spec.Source.Commit != "00000001" || len(record.Spec.Images) != 1 {
		t.Errorf("the spec: %+v", record.Spec)
	}
	if s := record.Status; s.LastAppliedCommit != "00000001" || len(s.Inventory) != 2 || len(s.History) != 1 || s.History[0].Subject != "First" {
		t.Errorf("the status: %+v", s)
	}
	p.wantCondition("Ready", "True")
	if len(p.observed) != 1 || p.observed[0].Objects["Healthy"] != 2 || p.observed[0].Findings == nil {
		t.Errorf("observed: %+v", p.observed)
	}
	events, err := p.Admin.Resource(bench.Events).Namespace(p.Records).List(p.Ctx, metav1.ListOptions{})
	if err != nil || len(events.Items) == 0 {
		t.Errorf("%d events, %v", len(events.Items), err)
	}
}

func TestNothingToDoCostsOnlyLists(t *testing.T) {
	p := newProject(t, "")
	first := orders(bench.Settings("a", "1"))
	p.want(reconcile.Applied, "1 created", p.commit(first, "First"))
	before := p.Record()
	// A commit that leaves the target as it is does not move its record either.
	commit := p.commit(first.and(pipeline("other", bench.Settings("b", "1"))), "Another pipeline")
	for _, e := range p.Requests(func() {
		if result := p.want(reconcile.Unchanged, "", commit); !result.Detail.Converged || len(result.Changes) > 0 {
			t.Errorf("%+v", result)
		}
	}) {
		if e.Verb != "list" {
			t.Errorf("a request that is no list: %s %s", e.Verb, e.RequestURI)
		}
	}
	if after := p.Record(); after.ResourceVersion != before.ResourceVersion {
		t.Error("the record was written")
	}
}

func TestNewCommitUpdatesAndPrunes(t *testing.T) {
	p := newProject(t, "  prune: {maxPercent: 50}\n")
	p.want(reconcile.Applied, "2 created", p.commit(orders(bench.Settings("a", "1"), bench.Settings("b", "1")), "First"))
	p.want(reconcile.Applied, "1 updated; 1 pruned", p.commit(orders(bench.Settings("a", "2")), "Second"))
	if bench.Value(p.Get(bench.ConfigMaps, p.Namespace, "a"), "data", "key") != "2" || p.Get(bench.ConfigMaps, p.Namespace, "b") != nil {
		t.Error("the objects are not as git says")
	}
	// One that deletes more than the limit is refused as a whole, until a trailer allows it.
	many := orders(bench.Settings("c", "1"), bench.Settings("a", "2"), bench.Settings("d", "1"))
	p.want(reconcile.Applied, "2 created", p.commit(many, "Third"))
	result := p.want(reconcile.Failed, "would delete 2 of the 3 objects", p.commit(orders(bench.Settings("c", "2")), "Fourth"))
	if len(result.Changes) > 0 {
		t.Errorf("%+v", result.Changes)
	}
	p.wantCondition("Ready", "False PruneRefused")
	p.want(reconcile.Applied, "1 updated; 2 pruned", p.commit(orders(bench.Settings("c", "3")), "Fifth\n\nSyncer-Allow-Prune: orders"))
}

// One object that is refused holds up the others of its target. A change of the objects of the commit before is
// still reported.
func TestRefusedObject(t *testing.T) {
	p := newProject(t, "")
	p.want(reconcile.Applied, "", p.commit(orders(bench.Settings("a", "1"), bench.Settings("b", "1")), "First"))
	refused := p.commit(orders(bench.Settings("a", "2"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: $NS}\ndata: {key: 1}\n"), "A number")
	p.want(reconcile.Failed, "expected string", refused)
	if got := bench.Value(p.Get(bench.ConfigMaps, p.Namespace, "a"), "data", "key"); got != "1" {
		t.Errorf("the other object was written: %v", got)
	}
	p.wantCondition("Ready", "False Failed")
	p.wantCondition("Drifted", "False")
	p.Edit(bench.ConfigMaps, "a", `{"data":{"key":"by hand"}}`)
	p.want(reconcile.Failed, "expected string", p.again())
	p.wantCondition("Drifted", "True")
	if findings := p.observed[len(p.observed)-1].Findings; len(findings) != 1 || findings[0].Manager != "kubectl-edit" || findings[0].Desired != "1" || findings[0].Line == 0 {
		t.Errorf("the findings: %+v", findings)
	}
}

// A target that was never deployed gets a record for its failure.
func TestFailureBeforeTheFirstDeployment(t *testing.T) {
	p := newProject(t, "")
	p.want(reconcile.Failed, "registry.example.com/ingest:v1", p.commit(orders(nightly), "No such image"))
	p.wantCondition("Ready", "False ImageNotFound")
	if record := p.Record(); record.Status.LastAppliedCommit != "" || record.Status.LastAttemptedCommit != "00000001" {
		t.Errorf("%+v", record.Status)
	}
}

func TestRecordOfAnotherConfigurationIsLeftAlone(t *testing.T) {
	p := newProject(t, "")
	p.want(reconcile.Applied, "", p.commit(orders(bench.Settings("a", "1")), "First"))
	p.EditRecord(`{"spec":{"owner":"other"}}`)
	before := p.Record()
	p.want(reconcile.Failed, `belongs to the configuration "other"`, p.again())
	if after := p.Record(); after.ResourceVersion != before.ResourceVersion {
		t.Error("the record was written")
	}
}

// The same digests are kept under Pin, and the tag that moved is reported.
func TestMovedTagIsReported(t *testing.T) {
	p := newProject(t, "")
	p.registry.push("registry.example.com/ingest:v1", "a")
	p.want(reconcile.Applied, "", p.commit(orders(nightly), "First"))
	p.registry.push("registry.example.com/ingest:v1", "b")
	p.r.ChecksImages = true
	result := p.want(reconcile.Unchanged, "", p.again())
	if len(result.Drift) != 1 || result.Drift[0].Kind != "TagMoved" {
		t.Errorf("%+v", result.Drift)
	}
}

// A panic fails its target. The record says so.
func TestPanicIsRecorded(t *testing.T) {
	p := newProject(t, "")
	p.want(reconcile.Applied, "", p.commit(orders(bench.Settings("a", "1")), "First"))
	commit := p.commit(orders(bench.Settings("a", "2")), "Second")
	commit.Find(p.Target).Environment.Prune.Enabled = nil // the configuration always sets it
	p.want(reconcile.Failed, "syncer panicked in github.com/syncerdev/syncer/pkg/reconcile.pruneLimit", commit)
	if p.panicked != 1 {
		t.Errorf("%d panics were counted", p.panicked)
	}
	p.wantCondition("Ready", "False Failed: syncer panicked in ")
}
