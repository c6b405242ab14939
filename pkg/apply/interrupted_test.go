package apply_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

// killed ends an apply after the write of the record and before the write of the first object, as a kill at this point
// does.
func killed(context.Context) error { return errors.New("killed") }

// leaveAll leaves all drift, as an environment with drift reports does, and returns it.
func leaveAll(planned *plan.Plan) string {
	return actions(planned.Leave(func(manifest.Change, *manifest.FieldChange) bool { return true }))
}

// dieAfterWrites lets only some writes of ConfigMaps arrive.
func (b *bench) dieAfterWrites(most int32) {
	var writes atomic.Int32
	b.cluster = b.connectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				isWrite := req.Method == http.MethodPatch && req.URL.Query().Get("dryRun") == "" && strings.Contains(req.URL.Path, "/configmaps/")
				if isWrite && writes.Add(1) > most {
					return nil, errors.New("killed")
				}
				return inner.RoundTrip(req)
			})
		})
	})
}

// An object in doubt after an apply stays in doubt when the next apply is interrupted as well.
func TestDoubtOutlivesASecondInterruption(t *testing.T) {
	more := func(value string) string { return strings.Replace(settings("a", value), "{key", "{more: x, key", 1) }
	for name, c := range map[string]struct{ good, bad string }{
		"a value":    {settings("a", "good"), settings("a", "bad")},
		"a key less": {more("good"), settings("a", "good")},
	} {
		for _, fenced := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, within a fence: %t", name, fenced), func(t *testing.T) {
				b := newBench(t)
				b.sync(b.set(c.good))
				b.begin(c.bad)
				b.restart()
				confirm := killed
				if fenced {
					b.dieAfterWrites(1)
					confirm = nil
				}
				if _, err := apply.Carry(b.ctx, b.cluster, b.plan(b.set(c.bad)), apply.Options{Spec: b.spec(), Confirm: confirm}); err == nil {
					t.Error("it was not interrupted")
				}
				b.restart()
				planned := b.plan(b.set(c.good))
				if got := leaveAll(planned); got != "" {
					t.Errorf("left as somebody's drift: %s", got)
				}
				if got := actions(planned.Changes()); got != "Update ConfigMap/a" {
					t.Errorf("the revert is to do: %q", got)
				}
				b.sync(b.set(c.good))
				if got := actions(b.plan(b.set(c.good), full).Changes()); got != "" {
					t.Errorf("after the revert: %s", got)
				}
			})
		}
	}
}

// An object that an interrupted apply changed, and that left git since, gets no fence: git sets nothing of it.
func TestInterruptedApplyOfWhatLeftGit(t *testing.T) {
	for name, c := range map[string]struct {
		metadata string
		disabled bool
	}{
		"it is to be kept":           {metadata: ", annotations: {syncer.dev/prune: disabled}"},
		"nothing is pruned there":    {disabled: true},
		"it waits for a finalizer":   {metadata: ", finalizers: [example.com/wait]"},
		"it is not to be reconciled": {metadata: ", annotations: {syncer.dev/reconcile: disabled}"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			doc := func(value string) string {
				return strings.Replace(settings("a", value), "namespace: $NS", "namespace: $NS"+c.metadata, 1)
			}
			rest := settings("b", "1")
			b.sync(b.set(join(doc("1"), rest)))
			b.begin(doc("2"), rest)
			if strings.Contains(c.metadata, "finalizers") {
				defer b.letGo(configMaps, "a")
				b.delete(configMaps, b.namespace, "a")
			}
			b.restart()
			for range 2 {
				planned := b.plan(b.set(rest))
				if err := planned.LimitPrunes(plan.PruneLimit{Disabled: c.disabled, MaxPercent: 100, Allowed: true}); err != nil {
					t.Fatal(err)
				}
				applied, err := apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec()})
				if err != nil {
					t.Fatal(err)
				}
				b.save(applied.Inventory)
			}
			if planned := b.plan(b.set(rest)); planned.Unfinished() {
				t.Error("it is carried out again at each pass")
			}
		})
	}
}

// A revert is applied also where the change stopped half-way: the object is deleted, and waits for a finalizer.
func TestRevertOfAReplacementThatIsHeld(t *testing.T) {
	b := newBench(t)
	job := func(image string) string {
		doc := strings.Replace(backfill("once", 600, "suspend: true"), "namespace: $NS", "namespace: $NS, finalizers: [example.com/wait]", 1)
		return strings.Replace(doc, "backfill:1", image, 1)
	}
	good := b.set(job("backfill:1"))
	b.sync(good)
	if got := held(b.sync(b.set(job("backfill:2")))); got != "Terminating Job/once" {
		t.Fatalf("held are %q", got)
	}
	b.letGo(jobs, "once")
	b.eventually("the job is gone", func() bool { return b.get(jobs, b.namespace, "once") == nil })
	planned := b.plan(good)
	if got := leaveAll(planned); got != "" {
		t.Errorf("left as somebody's drift: %s", got)
	}
	if got := actions(planned.Changes()); got != "Create Job/once" {
		t.Errorf("the revert is to do: %q", got)
	}
	b.sync(good)
	defer b.letGo(jobs, "once")
	if b.get(jobs, b.namespace, "once") == nil {
		t.Error("the job is not there")
	}
}

// An object that another target takes over between the plan and the write stays with that target.
func TestObjectThatIsTakenOverMeanwhileIsRefused(t *testing.T) {
	for name, delete := range map[string]bool{"relabelled": false, "made anew": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.sync(b.set(settings("a", "1")))
			taken := func(context.Context) error {
				if delete {
					b.delete(configMaps, b.namespace, "a")
					b.create(configMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: $NS, labels: {"+partOf+": applyset-xyz-v1}}\ndata: {key: theirs}\n")
					return nil
				}
				b.edit(configMaps, "a", `{"metadata":{"labels":{"`+partOf+`":"applyset-xyz-v1"}},"data":{"key":"theirs"}}`)
				return nil
			}
			planned := b.plan(b.set(settings("a", "2")))
			_, err := apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec(), Confirm: taken})
			wantError(t, err, "it belongs to the ApplySet applyset-xyz-v1")
			if got := b.key("a"); got != "theirs" {
				t.Errorf("it is %v", got)
			}
		})
	}
}

// A client that reorders a keyed list becomes no field manager. That is drift like any other.
func TestAnotherOrderIsSomebodysDrift(t *testing.T) {
	b := newBench(t)
	pod := func(names ...string) string {
		var containers []string
		for _, name := range names {
			containers = append(containers, "{name: "+name+", image: \""+name+":1\"}")
		}
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: $NS}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: main, image: \"x:1\"}], initContainers: [" + strings.Join(containers, ", ") + "]}\n"
	}
	set := b.set(pod("one", "two"))
	b.sync(set)
	_, err := b.admin.Resource(deployments).Namespace(b.namespace).Patch(b.ctx, "web", types.JSONPatchType,
		[]byte(`[{"op":"move","from":"/spec/template/spec/initContainers/0","path":"/spec/template/spec/initContainers/1"}]`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	if err != nil {
		t.Fatal(err)
	}
	planned := b.plan(set, full)
	if got := leaveAll(planned); got != "Update Deployment/web (drifted)" || len(planned.Pending()) != 0 {
		t.Errorf("left: %q; to do: %s", got, actions(planned.Pending()))
	}
}

// The record of a version that noted neither the time of its write nor the values is no sign of drift, and costs one
// comparison.
func TestRecordOfAnEarlierVersion(t *testing.T) {
	b := newBench(t)
	set := b.set(join(settings("a", "1"), settings("b", "1"), backfill("once", 600, "suspend: true")))
	inventory := b.sync(set).Inventory
	for i := range inventory {
		resource := configMaps
		if inventory[i].Kind == "Job" {
			resource = jobs
		}
		inventory[i].Fields, inventory[i].Written = manifest.OwnedFields(b.get(resource, b.namespace, inventory[i].Name), manifest.FieldManager), nil
	}
	status := v1alpha1.PipelineSyncStatus{LastAttemptedCommit: "c0ffee", Inventory: inventory}
	if _, err := b.cluster.Records().SaveStatus(b.ctx, b.target, status, ""); err != nil {
		t.Fatal(err)
	}
	record := b.record()
	_, err := b.admin.Resource(records).Namespace(b.records).Patch(b.ctx, record.Name, types.MergePatchType, []byte(`{"metadata":{"annotations":{"syncer.dev/applying":null}}}`), metav1.PatchOptions{FieldManager: manifest.FieldManager})
	if err != nil {
		t.Fatal(err)
	}
	b.restart()
	planned := b.plan(set)
	if got := actions(planned.Changes()); got != "" || planned.Unfinished() {
		t.Errorf("the plan: %s", got)
	}
	for _, e := range b.requests(func() { b.sync(set) }) {
		if isWrite(e) && !strings.Contains(e.RequestURI, "/pipelinesyncs/") {
			t.Errorf("a write: %s %s", e.Verb, e.RequestURI)
		}
	}
	for _, e := range b.requests(func() { b.sync(set) }) {
		if isDryRun(e) {
			t.Errorf("still a dry run: %s %s", e.Verb, e.RequestURI)
		}
	}
}

// A commit with the content of the record is still applied where the record is in doubt.
func TestAppliedIsNotInDoubt(t *testing.T) {
	b := newBench(t)
	good := b.set(settings("a", "good"))
	b.sync(good)
	if same, err := inventory.IsApplied(b.ctx, b.cluster, b.record(), good); err != nil || !same {
		t.Errorf("applied: %t, %v", same, err)
	}
	b.begin(settings("a", "bad"))
	if same, err := inventory.IsApplied(b.ctx, b.cluster, b.record(), good); err != nil || same {
		t.Errorf("applied while in doubt: %t, %v", same, err)
	}
}

// A Job ran and removed itself. A revert runs it again where another Job of its name was created in the meantime, and not
// where an apply was only begun, for any number of kills on the way.
func TestRevertToAJobThatRanAndIsGone(t *testing.T) {
	const ran, other = "backfill:1", "backfill:2"
	for name, c := range map[string]struct {
		steps []string // each is killed before it creates the Job; with ! the Job is created, runs and is gone
		again bool
	}{
		"killed before the other Job":                       {steps: []string{other}},
		"killed before the other Job twice":                 {steps: []string{other, other}},
		"killed in the revert as well":                      {steps: []string{other, ran}},
		"killed after the other Job":                        {steps: []string{other + "!"}, again: true},
		"killed after the other Job, and when that is seen": {steps: []string{other + "!", other}, again: true},
		"killed after the other Job, and in the revert":     {steps: []string{other + "!", ran}, again: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			job := func(image string) manifest.Set {
				return b.set(join(strings.Replace(backfill("once", 1, "ttlSecondsAfterFinished: 0"), "backfill:1", image, 1), settings("beside", image)))
			}
			b.sync(job(ran))
			gone := func() bool { return b.get(jobs, b.namespace, "once") == nil }
			b.eventually("the job is gone", gone)
			b.sync(job(ran))
			// Events have times in seconds: the events of the other Job begin in another second.
			written := b.record().Status.Inventory[0].Written
			b.eventually("it is another second", func() bool { return time.Since(written.Time) > 2*time.Second })
			for _, step := range c.steps {
				image, made := strings.CutSuffix(step, "!")
				if made {
					if _, err := apply.Carry(b.ctx, b.cluster, b.plan(job(image)), apply.Options{Spec: b.spec()}); err != nil {
						t.Fatal(err)
					}
					b.eventually("the other job is gone", gone)
				} else {
					_, _ = apply.Carry(b.ctx, b.cluster, b.plan(job(image)), apply.Options{Spec: b.spec(), Confirm: killed})
				}
				b.restart()
			}
			got := strings.Contains(actions(b.plan(job(ran)).Changes()), "Create Job/once")
			if got != c.again {
				t.Errorf("it is run again: %t", got)
			}
		})
	}
}

// A controller may write an object between the two writes of a fence, and the answer to each write may be lost.
func TestFenceBesideOthers(t *testing.T) {
	for name, c := range map[string]struct{ written, lost int32 }{
		"a controller writes before the first":  {written: 1},
		"a controller writes before the second": {written: 2},
		"the answer to the first is lost":       {lost: 1},
		"the answer to the second is lost":      {lost: 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.sync(b.set(settings("a", "1")))
			b.begin(settings("a", "2"))
			before := b.get(configMaps, b.namespace, "a").GetResourceVersion()
			var writes atomic.Int32
			b.cluster = b.connectBy(func(config *rest.Config) {
				config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
					return roundTripper(func(req *http.Request) (*http.Response, error) {
						if req.Method != http.MethodPatch || req.URL.Query().Get("dryRun") != "" || !strings.Contains(req.URL.Path, "/configmaps/") {
							return inner.RoundTrip(req)
						}
						n := writes.Add(1)
						if n == c.written {
							b.edit(configMaps, "a", `{"metadata":{"annotations":{"example.com/seen":"yes"}}}`)
						}
						resp, err := inner.RoundTrip(req)
						if err == nil && n == c.lost {
							_ = resp.Body.Close() // the answer is dropped
							return nil, syscall.ECONNRESET
						}
						return resp, err
					})
				})
			})
			b.sync(b.set(settings("a", "2")))
			live := b.get(configMaps, b.namespace, "a")
			if _, there := live.GetAnnotations()["syncer.dev/fence"]; there || live.GetResourceVersion() == before || writes.Load() < 2 {
				t.Errorf("after the fence: %v", live.Object["metadata"])
			}
			if planned := b.plan(b.set(settings("a", "2"))); actions(planned.Changes()) != "" || planned.Unfinished() {
				t.Errorf("the next plan: %s", actions(planned.Changes()))
			}
		})
	}
}
