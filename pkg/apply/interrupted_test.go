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

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
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
	return bench.Actions(planned.Leave(func(manifest.Change, *manifest.FieldChange) bool { return true }))
}

// dieAfterWrites lets only some writes of ConfigMaps arrive.
func dieAfterWrites(b *bench.Bench, most int32) {
	var writes atomic.Int32
	b.Cluster = b.ConnectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return bench.RoundTripper(func(req *http.Request) (*http.Response, error) {
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
	more := func(value string) string {
		return strings.Replace(bench.Settings("a", value), "{key", "{more: x, key", 1)
	}
	for name, c := range map[string]struct{ good, bad string }{
		"a value":    {bench.Settings("a", "good"), bench.Settings("a", "bad")},
		"a key less": {more("good"), bench.Settings("a", "good")},
	} {
		for _, fenced := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, within a fence: %t", name, fenced), func(t *testing.T) {
				b := bench.New(t)
				pass.Sync(b, b.Set(c.good))
				beginApply(b, c.bad)
				b.Restart()
				confirm := killed
				if fenced {
					dieAfterWrites(b, 1)
					confirm = nil
				}
				if _, err := apply.Carry(b.Ctx, b.Cluster, pass.Plan(b, b.Set(c.bad)), apply.Options{Spec: b.Spec(), Confirm: confirm}); err == nil {
					t.Error("it was not interrupted")
				}
				b.Restart()
				planned := pass.Plan(b, b.Set(c.good))
				if got := leaveAll(planned); got != "" {
					t.Errorf("left as somebody's drift: %s", got)
				}
				if got := bench.Actions(planned.Changes()); got != "Update ConfigMap/a" {
					t.Errorf("the revert is to do: %q", got)
				}
				pass.Sync(b, b.Set(c.good))
				if got := bench.Actions(pass.Plan(b, b.Set(c.good), pass.Full).Changes()); got != "" {
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
			b := bench.New(t)
			doc := func(value string) string {
				return strings.Replace(bench.Settings("a", value), "namespace: $NS", "namespace: $NS"+c.metadata, 1)
			}
			rest := bench.Settings("b", "1")
			pass.Sync(b, b.Set(bench.Join(doc("1"), rest)))
			beginApply(b, doc("2"), rest)
			if strings.Contains(c.metadata, "finalizers") {
				defer bench.LetGo(b, bench.ConfigMaps, "a")
				b.Delete(bench.ConfigMaps, b.Namespace, "a")
			}
			b.Restart()
			for range 2 {
				planned := pass.Plan(b, b.Set(rest))
				if err := planned.LimitPrunes(plan.PruneLimit{Disabled: c.disabled, MaxPercent: 100, Allowed: true}); err != nil {
					t.Fatal(err)
				}
				applied, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()})
				if err != nil {
					t.Fatal(err)
				}
				b.Save(applied.Inventory)
			}
			if planned := pass.Plan(b, b.Set(rest)); planned.Unfinished() {
				t.Error("it is carried out again at each pass")
			}
		})
	}
}

// A revert is applied also where the change stopped half-way: the object is deleted, and waits for a finalizer.
func TestRevertOfAReplacementThatIsHeld(t *testing.T) {
	b := bench.New(t)
	job := func(image string) string {
		doc := strings.Replace(bench.Backfill("once", 600, "suspend: true"), "namespace: $NS", "namespace: $NS, finalizers: [example.com/wait]", 1)
		return strings.Replace(doc, "backfill:1", image, 1)
	}
	good := b.Set(job("backfill:1"))
	pass.Sync(b, good)
	if got := bench.Held(pass.Sync(b, b.Set(job("backfill:2"))).Held); got != "Terminating Job/once" {
		t.Fatalf("held are %q", got)
	}
	bench.LetGo(b, bench.Jobs, "once")
	b.Eventually("the job is gone", func() bool { return b.Get(bench.Jobs, b.Namespace, "once") == nil })
	planned := pass.Plan(b, good)
	if got := leaveAll(planned); got != "" {
		t.Errorf("left as somebody's drift: %s", got)
	}
	if got := bench.Actions(planned.Changes()); got != "Create Job/once" {
		t.Errorf("the revert is to do: %q", got)
	}
	pass.Sync(b, good)
	defer bench.LetGo(b, bench.Jobs, "once")
	if b.Get(bench.Jobs, b.Namespace, "once") == nil {
		t.Error("the job is not there")
	}
}

// An object that another target takes over between the plan and the write stays with that target.
func TestObjectThatIsTakenOverMeanwhileIsRefused(t *testing.T) {
	for name, delete := range map[string]bool{"relabelled": false, "made anew": true} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			pass.Sync(b, b.Set(bench.Settings("a", "1")))
			taken := func(context.Context) error {
				if delete {
					b.Delete(bench.ConfigMaps, b.Namespace, "a")
					b.Create(bench.ConfigMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: $NS, labels: {"+v1alpha1.LabelMember+": applyset-xyz-v1}}\ndata: {key: theirs}\n")
					return nil
				}
				b.Edit(bench.ConfigMaps, "a", `{"metadata":{"labels":{"`+v1alpha1.LabelMember+`":"applyset-xyz-v1"}},"data":{"key":"theirs"}}`)
				return nil
			}
			planned := pass.Plan(b, b.Set(bench.Settings("a", "2")))
			_, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec(), Confirm: taken})
			bench.WantError(t, err, "it belongs to the ApplySet applyset-xyz-v1")
			if got := settingOf(b, "a"); got != "theirs" {
				t.Errorf("it is %v", got)
			}
		})
	}
}

// A client that reorders a keyed list becomes no field manager. That is drift like any other.
func TestAnotherOrderIsSomebodysDrift(t *testing.T) {
	b := bench.New(t)
	pod := func(names ...string) string {
		var containers []string
		for _, name := range names {
			containers = append(containers, "{name: "+name+", image: \""+name+":1\"}")
		}
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: $NS}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: main, image: \"x:1\"}], initContainers: [" + strings.Join(containers, ", ") + "]}\n"
	}
	set := b.Set(pod("one", "two"))
	pass.Sync(b, set)
	_, err := b.Admin.Resource(bench.Deployments).Namespace(b.Namespace).Patch(b.Ctx, "web", types.JSONPatchType,
		[]byte(`[{"op":"move","from":"/spec/template/spec/initContainers/0","path":"/spec/template/spec/initContainers/1"}]`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	if err != nil {
		t.Fatal(err)
	}
	planned := pass.Plan(b, set, pass.Full)
	if got := leaveAll(planned); got != "Update Deployment/web (drifted)" || len(planned.Pending()) != 0 {
		t.Errorf("left: %q; to do: %s", got, bench.Actions(planned.Pending()))
	}
}

// The record of a version that noted neither the time of its write nor the values is no sign of drift, and costs one
// comparison.
func TestRecordOfAnEarlierVersion(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Join(bench.Settings("a", "1"), bench.Settings("b", "1"), bench.Backfill("once", 600, "suspend: true")))
	inventory := pass.Sync(b, set).Inventory
	for i := range inventory {
		resource := bench.ConfigMaps
		if inventory[i].Kind == "Job" {
			resource = bench.Jobs
		}
		inventory[i].Fields, inventory[i].Written = manifest.OwnedFields(b.Get(resource, b.Namespace, inventory[i].Name), manifest.FieldManager), nil
	}
	status := v1alpha1.PipelineSyncStatus{LastAttemptedCommit: "c0ffee", Inventory: inventory}
	if _, err := b.Cluster.Records().SaveStatus(b.Ctx, b.Target, status, ""); err != nil {
		t.Fatal(err)
	}
	record := b.Record()
	_, err := b.Admin.Resource(bench.RecordResource).Namespace(b.Records).Patch(b.Ctx, record.Name, types.MergePatchType, []byte(`{"metadata":{"annotations":{"syncer.dev/applying":null}}}`), metav1.PatchOptions{FieldManager: manifest.FieldManager})
	if err != nil {
		t.Fatal(err)
	}
	b.Restart()
	planned := pass.Plan(b, set)
	if got := bench.Actions(planned.Changes()); got != "" || planned.Unfinished() {
		t.Errorf("the plan: %s", got)
	}
	for _, e := range b.Requests(func() { pass.Sync(b, set) }) {
		if bench.IsWrite(e) && !strings.Contains(e.RequestURI, "/pipelinesyncs/") {
			t.Errorf("a write: %s %s", e.Verb, e.RequestURI)
		}
	}
	for _, e := range b.Requests(func() { pass.Sync(b, set) }) {
		if bench.IsDryRun(e) {
			t.Errorf("still a dry run: %s %s", e.Verb, e.RequestURI)
		}
	}
}

// A commit with the content of the record is still applied where the record is in doubt.
func TestAppliedIsNotInDoubt(t *testing.T) {
	b := bench.New(t)
	good := b.Set(bench.Settings("a", "good"))
	pass.Sync(b, good)
	if same, err := inventory.IsApplied(b.Ctx, b.Cluster, b.Record(), good); err != nil || !same {
		t.Errorf("applied: %t, %v", same, err)
	}
	beginApply(b, bench.Settings("a", "bad"))
	if same, err := inventory.IsApplied(b.Ctx, b.Cluster, b.Record(), good); err != nil || same {
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
			b := bench.New(t)
			job := func(image string) manifest.Set {
				return b.Set(bench.Join(strings.Replace(bench.Backfill("once", 1, "ttlSecondsAfterFinished: 0"), "backfill:1", image, 1), bench.Settings("beside", image)))
			}
			pass.Sync(b, job(ran))
			gone := func() bool { return b.Get(bench.Jobs, b.Namespace, "once") == nil }
			b.Eventually("the job is gone", gone)
			pass.Sync(b, job(ran))
			// Events have times in seconds: the events of the other Job begin in another second.
			written := b.Record().Status.Inventory[0].Written
			b.Eventually("it is another second", func() bool { return time.Since(written.Time) > 2*time.Second })
			for _, step := range c.steps {
				image, made := strings.CutSuffix(step, "!")
				if made {
					if _, err := apply.Carry(b.Ctx, b.Cluster, pass.Plan(b, job(image)), apply.Options{Spec: b.Spec()}); err != nil {
						t.Fatal(err)
					}
					b.Eventually("the other job is gone", gone)
				} else {
					_, _ = apply.Carry(b.Ctx, b.Cluster, pass.Plan(b, job(image)), apply.Options{Spec: b.Spec(), Confirm: killed})
				}
				b.Restart()
			}
			got := strings.Contains(bench.Actions(pass.Plan(b, job(ran)).Changes()), "Create Job/once")
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
			b := bench.New(t)
			pass.Sync(b, b.Set(bench.Settings("a", "1")))
			beginApply(b, bench.Settings("a", "2"))
			before := b.Get(bench.ConfigMaps, b.Namespace, "a").GetResourceVersion()
			var writes atomic.Int32
			b.Cluster = b.ConnectBy(func(config *rest.Config) {
				config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
					return bench.RoundTripper(func(req *http.Request) (*http.Response, error) {
						if req.Method != http.MethodPatch || req.URL.Query().Get("dryRun") != "" || !strings.Contains(req.URL.Path, "/configmaps/") {
							return inner.RoundTrip(req)
						}
						n := writes.Add(1)
						if n == c.written {
							b.Edit(bench.ConfigMaps, "a", `{"metadata":{"annotations":{"example.com/seen":"yes"}}}`)
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
			pass.Sync(b, b.Set(bench.Settings("a", "2")))
			live := b.Get(bench.ConfigMaps, b.Namespace, "a")
			if _, there := live.GetAnnotations()["syncer.dev/fence"]; there || live.GetResourceVersion() == before || writes.Load() < 2 {
				t.Errorf("after the fence: %v", live.Object["metadata"])
			}
			if planned := pass.Plan(b, b.Set(bench.Settings("a", "2"))); bench.Actions(planned.Changes()) != "" || planned.Unfinished() {
				t.Errorf("the next plan: %s", bench.Actions(planned.Changes()))
			}
		})
	}
}
