package plan

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// The rules that ask the API server, each with objects that are really there.

// waitingOn returns a plan of some steps on an API server.
func waitingOn(b *bench.Bench, steps ...*Step) *waiting {
	c := &Comparer{cluster: b.Cluster, request: Request{Target: b.Target}, recorded: map[manifest.Key]v1alpha1.InventoryEntry{}}
	return &waiting{plan: &Plan{comparer: c, steps: steps, Members: inventory.Members{}}, users: map[string]*podUsers{}}
}

// prune is the step of a live object that left git.
func prune(live *unstructured.Unstructured) *Step {
	return &Step{Change: manifest.Change{ID: manifest.IDOf(live), Action: manifest.Prune, Live: live}}
}

// wantWait checks the message of a verdict; $NS is the namespace of the target.
func wantWait(t *testing.T, b *bench.Bench, name string, got Verdict, err error, reason manifest.HoldReason, want string) {
	t.Helper()
	want = strings.ReplaceAll(want, "$NS", b.Namespace)
	if err != nil || messageOf(got) != want || got.Held != nil && (got.Held.Reason != reason || len(got.Held.For) != 1) {
		t.Errorf("%s: %q (%+v), want %q; %v", name, messageOf(got), got.Held, want, err)
	}
}

func TestObjectsWaitForWhatTheyNeedOutsideTheSet(t *testing.T) {
	b := bench.New(t)
	b.Create(bench.ConfigMaps, bench.Settings("there", "1"))
	others := b.Other("others")
	gone := func(name string, failed bool) v1alpha1.InventoryEntry {
		return v1alpha1.InventoryEntry{APIVersion: "batch/v1", Kind: "Job", Namespace: b.Namespace, Name: name, Ephemeral: true, Completed: true, Failed: failed}
	}
	others.Deploy(nil)
	others.Save([]v1alpha1.InventoryEntry{gone("ended", false), gone("failed", true)})
	id := func(api, kind, name string) manifest.ID {
		return manifest.ID{APIVersion: api, Kind: kind, Namespace: b.Namespace, Name: name}
	}
	for name, c := range map[string]struct {
		on   []manifest.ID
		want string
	}{
		"nothing":                            {nil, ""},
		"an object that is there":            {[]manifest.ID{id("v1", "ConfigMap", "there")}, ""},
		"a missing one":                      {[]manifest.ID{id("v1", "ConfigMap", "missing")}, "ConfigMap/$NS/missing is not in the cluster"},
		"the second is missing":              {[]manifest.ID{id("v1", "ConfigMap", "there"), id("v1", "ConfigMap", "missing")}, "ConfigMap/$NS/missing is not in the cluster"},
		"a run of another target":            {[]manifest.ID{id("batch/v1", "Job", "ended")}, ""},
		"a run of another target that fails": {[]manifest.ID{id("batch/v1", "Job", "failed")}, "Job/$NS/failed failed before it removed itself, by the record of others@prod"},
	} {
		s := stepOf(t, settingsInGit, "")
		s.Order.Outside = c.on
		got, err := dependsOutside(b.Ctx, waitingOn(b, s), s)
		wantWait(t, b, name, got, err, manifest.HeldDependency, c.want)
	}
	unknown := stepOf(t, settingsInGit, "")
	unknown.Order.Outside = []manifest.ID{id("none.example.com/v1", "None", "x")}
	if got, err := dependsOutside(b.Ctx, waitingOn(b, unknown), unknown); err != nil || !strings.HasPrefix(messageOf(got), "None/"+b.Namespace+"/x cannot be read: ") {
		t.Errorf("a kind that is not served: %q, %v", messageOf(got), err)
	}
	leaves := pruneOf(t, settingsInGit)
	leaves.Order.Outside = []manifest.ID{id("v1", "ConfigMap", "missing")}
	got, err := dependsOutside(b.Ctx, waitingOn(b, leaves), leaves)
	wantWait(t, b, "a prune", got, err, "", "")
}

func TestSchedulesWaitForTheirRuns(t *testing.T) {
	b := bench.New(t)
	schedule := func(name string) *unstructured.Unstructured {
		return b.Create(bench.CronJobs, "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: "+name+", namespace: $NS}\nspec: {suspend: true, schedule: \"0 3 1 1 *\", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: m, image: x}]}}}}}\n")
	}
	// run is a Job of a schedule whose controller is the test.
	run := func(of *unstructured.Unstructured, status string) {
		name := of.GetName() + "-1"
		owner := fmt.Sprintf("namespace: $NS, ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: %s, uid: %s}]", of.GetName(), of.GetUID())
		b.Create(bench.Jobs, strings.Replace(bench.Backfill(name, 1, "managedBy: example.com/test"), "namespace: $NS", owner, 1))
		b.Status(bench.Jobs, name, status)
	}
	const begun = `"startTime":"2026-01-01T00:00:00Z"`
	idle, busy, ended := schedule("idle"), schedule("busy"), schedule("ended")
	run(busy, `{"status":{`+begun+`,"active":1,"ready":1}}`)
	run(ended, `{"status":{`+begun+`,"succeeded":1,"completionTime":"2026-01-01T00:00:01Z","uncountedTerminatedPods":{},"conditions":[{"type":"SuccessCriteriaMet","status":"True"},{"type":"Complete","status":"True"}]}}`)
	const goesOn = "its run Job/$NS/busy-1 goes on and would be deleted with it"
	for name, c := range map[string]struct {
		live   *unstructured.Unstructured
		action manifest.Action
		policy v1alpha1.OnRunning
		want   string
	}{
		"it has no run":                      {idle, manifest.Prune, "", ""},
		"its run goes on":                    {busy, manifest.Prune, "", goesOn},
		"its run goes on, and it is skipped": {busy, manifest.Prune, v1alpha1.Skip, goesOn},
		"its run may be deleted":             {busy, manifest.Prune, v1alpha1.Replace, ""},
		"its run has ended":                  {ended, manifest.Prune, "", ""},
		"it is replaced":                     {busy, manifest.Replace, "", goesOn},
		"it is updated":                      {busy, manifest.Update, "", ""},
	} {
		s := prune(c.live)
		s.Change.Action = c.action
		w := waitingOn(b, s)
		w.plan.comparer.request.Policies.OnRunning = c.policy
		got, err := startsRuns(b.Ctx, w, s)
		wantWait(t, b, name, got, err, manifest.HeldRunning, c.want)
	}
	wrong := prune(busy.DeepCopy())
	wrong.Change.Live.SetAnnotations(map[string]string{v1alpha1.AnnotationOnRunning: "stop"})
	_, err := startsRuns(b.Ctx, waitingOn(b, wrong), wrong)
	bench.WantError(t, err, "CronJob/"+b.Namespace+"/busy: ", `"stop" is not a policy`)
	other := prune(b.Create(bench.ConfigMaps, bench.Settings("plain", "1")))
	got, err := startsRuns(b.Ctx, waitingOn(b, other), other)
	wantWait(t, b, "it starts no runs", got, err, "", "")
}

func TestObjectsOfPodsWaitForThem(t *testing.T) {
	b := bench.New(t)
	pod := func(name, settings, phase string) {
		b.Create(bench.Pods, "apiVersion: v1\nkind: Pod\nmetadata: {name: "+name+", namespace: $NS}\nspec: {restartPolicy: Never, schedulerName: nobody, containers: [{name: m, image: x, envFrom: [{configMapRef: {name: "+settings+"}}]}]}\n")
		b.Status(bench.Pods, name, `{"status":{"phase":"`+phase+`"}}`)
	}
	pod("runs", "used", "Running")
	pod("ended", "ended", "Succeeded")
	b.Create(bench.Jobs, strings.Replace(bench.Backfill("run", 1, "managedBy: example.com/test"), "image: \"backfill:1\"", "image: x, envFrom: [{configMapRef: {name: named}}]", 1))
	b.Status(bench.Jobs, "run", `{"status":{"startTime":"2026-01-01T00:00:00Z","active":1,"ready":1}}`)
	b.Create(bench.Deployments, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: $NS}\nspec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {schedulerName: nobody, containers: [{name: m, image: x, envFrom: [{configMapRef: {name: served}}]}]}}}\n")
	b.Eventually("the Deployment has a pod", func() bool {
		list, err := b.Admin.Resource(bench.Pods).Namespace(b.Namespace).List(b.Ctx, metav1.ListOptions{LabelSelector: "app=web"})
		return err == nil && len(list.Items) > 0
	})
	for name, c := range map[string]struct {
		settings, want string
		change         func(*Step)
	}{
		"nothing uses it":            {settings: "free"},
		"a pod of others uses it":    {settings: "used", want: "Pod/$NS/runs needs it and is not part of orders@prod"},
		"the pod has ended":          {settings: "ended"},
		"a run of others names it":   {settings: "named", want: "Job/$NS/run needs it and is not part of orders@prod"},
		"a rollout is not complete":  {settings: "served", want: "Deployment/$NS/web is not rolled out yet, and its pods use it"},
		"it does not leave git":      {settings: "used", change: func(s *Step) { s.Change.Action = manifest.Update }},
		"no pod names its kind":      {settings: "used", change: func(s *Step) { s.Change.ID.Kind = "Service" }},
		"it is a namespace":          {settings: "used", change: func(s *Step) { s.Change.ID.Kind = "Namespace" }},
		"it is in another namespace": {settings: "used", change: func(s *Step) { s.Change.ID.Namespace = b.Records }},
	} {
		s := prune(b.Object(bench.Settings(c.settings, "1")))
		if c.change != nil {
			c.change(s)
		}
		got, err := inUseByPods(b.Ctx, waitingOn(b, s), s)
		wantWait(t, b, name, got, err, manifest.HeldInUse, c.want)
		if rollout := c.settings == "served"; got.Held != nil && got.Held.Rollout != rollout {
			t.Errorf("%s: it waits for a rollout: %t", name, got.Held.Rollout)
		}
	}
}

func TestDefinitionsWaitForTheirObjects(t *testing.T) {
	b := bench.New(t)
	definition := b.Create(bench.CRDs, bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer}"))
	widget := b.Object(bench.Custom(b.Group(), "v1", "Widget", b.Namespace, "one", "size: 3"))
	resource := bench.CRDs
	resource.Group, resource.Version, resource.Resource = b.Group(), "v1", "widgets"
	b.Eventually("the kind is served", func() bool {
		_, err := b.Admin.Resource(resource).List(b.Ctx, metav1.ListOptions{})
		return err == nil
	})
	s := prune(definition)
	check := func(name, want string, beside *Step, members inventory.Members) {
		t.Helper()
		w := waitingOn(b, s)
		if beside != nil {
			w.plan.steps = append(w.plan.steps, beside)
		}
		w.plan.Members = members
		got, err := definesKind(b.Ctx, w, s)
		wantWait(t, b, name, got, err, manifest.HeldInUse, want)
	}
	const goes = "Widget/$NS/one would go with it"
	check("it has no objects", "", nil, nil)
	live := b.Create(resource, bench.Custom(b.Group(), "v1", "Widget", b.Namespace, "one", "size: 3"))
	check("an object of others", goes, nil, nil)
	check("an object that is deleted as well", "", prune(live), inventory.Members{manifest.IDOf(live).Key(): live})
	stays := prune(live)
	stays.Change.Hold(manifest.HeldInUse, "it is in use")
	check("an object that waits", goes, stays, inventory.Members{manifest.IDOf(live).Key(): live})
	applied := &Step{Change: manifest.Change{ID: manifest.IDOf(widget), Action: manifest.Create, Want: widget}, Rendered: widget}
	check("an object of git", goes, applied, inventory.Members{manifest.IDOf(live).Key(): live})
	s.Change.Action = manifest.Update
	check("it stays in git", "", nil, nil)
}

func TestNamespacesWaitForObjectsOfOthers(t *testing.T) {
	b := bench.New(t)
	claims := func(name string) *unstructured.Unstructured {
		return b.Object("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: " + name + "}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n")
	}
	namespace := func(name string) *unstructured.Unstructured {
		name = b.Namespace + "-" + name
		b.CreateNamespace(name)
		return b.Get(bench.Namespaces, "", name)
	}
	empty, claimed, shared, recorded := namespace("empty"), namespace("claimed"), namespace("shared"), namespace("recorded")
	claim := claims(claimed.GetName())
	for _, each := range []*unstructured.Unstructured{claim, claims(shared.GetName())} {
		if _, err := b.Admin.Resource(bench.Claims).Namespace(each.GetNamespace()).Create(b.Ctx, each, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	others := b.Other("others")
	others.Deploy(others.Set(strings.Replace(bench.Settings("theirs", "1"), "$NS", recorded.GetName(), 1)))
	for name, c := range map[string]struct {
		live    *unstructured.Unstructured
		members inventory.Members
		want    string
	}{
		"it is empty":                 {live: empty},
		"a claim that others made":    {live: shared, want: "PersistentVolumeClaim/$NS-shared/data would go with it"},
		"a claim of the target":       {live: claimed, members: inventory.Members{manifest.IDOf(claim).Key(): claim}},
		"an object of another target": {live: recorded, want: "ConfigMap/$NS-recorded/theirs would go with it"},
	} {
		s := prune(c.live)
		w := waitingOn(b, s)
		w.plan.Members = c.members
		got, err := containsObjects(b.Ctx, w, s)
		wantWait(t, b, name, got, err, manifest.HeldInUse, c.want)
	}
	own := prune(recorded)
	w := waitingOn(others, own)
	got, err := containsObjects(b.Ctx, w, own)
	wantWait(t, b, "an object of the target's own record", got, err, "", "")
}
