package plan

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// objectOf reads one YAML document.
func objectOf(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	content, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = obj.UnmarshalJSON(content)
	}
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return obj
}

// silent returns a comparer of a cluster that answers no request. A rule that uses it decides by the step alone.
func silent(t testing.TB, entry v1alpha1.InventoryEntry, key manifest.Key) *Comparer {
	t.Helper()
	server, err := cluster.With(&rest.Config{Host: "https://127.0.0.1:1"}, connect.DefaultLimits, cluster.Options{Namespace: "records"})
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[manifest.Key]v1alpha1.InventoryEntry{}
	if entry.Name != "" {
		recorded[key] = entry
	}
	return &Comparer{cluster: server, recorded: recorded, salt: func() []byte { return nil }}
}

const (
	jobInGit   = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: once, namespace: data}\nspec: {template: {spec: {containers: [{name: a, image: a}]}}}\n"
	jobRunning = jobInGit + "status: {active: 1, startTime: \"2026-01-02T03:04:05Z\"}\n"
	jobEnded   = jobInGit + "status: {succeeded: 1, startTime: \"2026-01-02T03:04:05Z\", conditions: [{type: Complete, status: \"True\"}]}\n"
)

// stepOf returns the step of an object of git and its live state; an empty text: the object is not in the cluster.
func stepOf(t testing.TB, git, live string) *Step {
	t.Helper()
	obj := objectOf(t, git)
	s := &Step{Change: manifest.Change{ID: manifest.IDOf(obj), Action: manifest.Create, Want: obj}, Rendered: obj, Sent: obj, Hash: "sha256:git"}
	if live != "" {
		s.Change.Live, s.Change.Action = objectOf(t, live), manifest.Update
	}
	return s
}

func disable(obj *unstructured.Unstructured) {
	obj.SetAnnotations(map[string]string{v1alpha1.AnnotationReconcile: v1alpha1.Disabled})
}

// apply makes syncer the owner of a field of a live object.
func apply(live *unstructured.Unstructured) {
	live.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: manifest.FieldManager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: live.GetAPIVersion(),
		FieldsType: "FieldsV1", FieldsV1: fieldsV1(`{"f:spec":{"f:template":{}}}`),
	}})
}

func TestObjectsThatNeedNoComparison(t *testing.T) {
	spec := manifest.SpecHash(objectOf(t, jobInGit))
	deleted := func(s *Step) {
		now := metav1.Now()
		s.Change.Live.SetDeletionTimestamp(&now)
	}
	for name, c := range map[string]struct {
		live   string
		entry  v1alpha1.InventoryEntry
		change func(*Step)
		full   bool
		want   State
	}{
		"a new object":                              {want: Judged},
		"disabled in git":                           {change: func(s *Step) { disable(s.Rendered) }, want: LeftAlone},
		"disabled in the cluster":                   {live: jobRunning, change: func(s *Step) { disable(s.Change.Live) }, want: LeftAlone},
		"it ran and removed itself":                 {entry: v1alpha1.InventoryEntry{Ephemeral: true, Hash: "sha256:git"}, want: Ran},
		"it ended and was deleted":                  {entry: v1alpha1.InventoryEntry{Completed: true, Hash: "sha256:git"}, want: Ran},
		"only its labels changed since it ran":      {entry: v1alpha1.InventoryEntry{Completed: true, Hash: "sha256:before", Spec: spec}, want: Ran},
		"its spec changed since it ran":             {entry: v1alpha1.InventoryEntry{Completed: true, Hash: "sha256:before", Spec: "sha256:x"}, want: Judged},
		"it was deleted while it ran":               {entry: v1alpha1.InventoryEntry{Ephemeral: true, Deleted: true, Hash: "sha256:git"}, want: Judged},
		"it does not remove itself, and is gone":    {entry: v1alpha1.InventoryEntry{Hash: "sha256:git"}, want: Judged},
		"it ran, in an unconfirmed apply":           {entry: v1alpha1.InventoryEntry{Completed: true, Hash: "sha256:git", Unconfirmed: true}, want: Judged},
		"it ended and is being deleted":             {live: jobEnded, entry: v1alpha1.InventoryEntry{Hash: "sha256:git"}, change: deleted, want: Ran},
		"it runs and is being deleted":              {live: jobRunning, entry: v1alpha1.InventoryEntry{Hash: "sha256:git"}, change: deleted, want: Judged},
		"its change was left for the next run":      {live: jobRunning, entry: v1alpha1.InventoryEntry{Skipped: "sha256:git"}, want: NextRun},
		"the run of a change for the next run ends": {live: jobEnded, entry: v1alpha1.InventoryEntry{Skipped: "sha256:git"}, want: LeftAlone},
		"another change was left for the next run":  {live: jobRunning, entry: v1alpha1.InventoryEntry{Skipped: "sha256:before"}, want: Judged},
		"it is as applied":                          {live: jobRunning, entry: v1alpha1.InventoryEntry{Hash: "sha256:git"}, want: AtRest},
		"it is as applied; all objects are tried":   {live: jobRunning, entry: v1alpha1.InventoryEntry{Hash: "sha256:git"}, full: true, want: Judged},
		"its apply is not confirmed":                {live: jobRunning, entry: v1alpha1.InventoryEntry{Hash: "sha256:git", Unconfirmed: true}, want: Judged},
		"git changed it":                            {live: jobRunning, entry: v1alpha1.InventoryEntry{Hash: "sha256:before"}, want: Judged},
		"another manager changed it":                {live: jobRunning, entry: v1alpha1.InventoryEntry{Hash: "sha256:git", Fields: "other"}, want: Judged},
	} {
		t.Run(name, func(t *testing.T) {
			s := stepOf(t, jobInGit, c.live)
			if c.change != nil {
				c.change(s)
			}
			c.entry.Name = "once"
			if s.Change.Live != nil {
				apply(s.Change.Live)
			}
			if s.Change.Live != nil && c.entry.Fields == "" {
				c.entry.Fields = manifest.OwnedState(s.Change.Live, manifest.FieldManager, nil)
			}
			comparer := silent(t, c.entry, s.Key())
			comparer.request.Full = c.full
			decided, err := decide(t.Context(), comparer, s, withoutComparison)
			if err != nil || s.State != c.want || decided != (c.want != Judged) {
				t.Errorf("state %d (decided: %t), want %d; %v", s.State, decided, c.want, err)
			}
			if decided != (s.Change.Action == manifest.None) {
				t.Errorf("the action is %s", s.Change.Action)
			}
		})
	}
}

func TestChangesOfRunningWork(t *testing.T) {
	const image = "spec.template.spec.containers[name=\"a\"].image"
	for name, c := range map[string]struct {
		live   string
		action manifest.Action
		path   string
		policy v1alpha1.OnRunning
		rerun  v1alpha1.Rerun
		ended  bool // the record says that this run had ended before the last change
		want   manifest.Action
		state  State
	}{
		"a new job":                              {action: manifest.Create, want: manifest.Create},
		"a running job waits":                    {live: jobRunning, action: manifest.Replace, path: image, want: manifest.Hold},
		"a running job is replaced":              {live: jobRunning, action: manifest.Replace, path: image, policy: v1alpha1.Replace, want: manifest.Replace},
		"a running job keeps its run":            {live: jobRunning, action: manifest.Replace, path: image, policy: v1alpha1.Skip, want: manifest.None, state: NextRun},
		"a label does not disturb a running job": {live: jobRunning, action: manifest.Update, path: "metadata.labels.team", want: manifest.Update},
		"an ended job is replaced":               {live: jobEnded, action: manifest.Replace, path: image, want: manifest.Replace},
		"an ended job is not run again":          {live: jobEnded, action: manifest.Update, path: "metadata.labels.team", rerun: v1alpha1.OnChange, want: manifest.Update},
		"an ended job was changed before":        {live: jobEnded, action: manifest.None, rerun: v1alpha1.OnChange, ended: true, want: manifest.Replace},
		"it was, and runs are not repeated":      {live: jobEnded, action: manifest.None, ended: true, want: manifest.None},
		"a running job is not run again":         {live: jobRunning, action: manifest.Replace, path: image, rerun: v1alpha1.OnChange, want: manifest.Hold},
		"nothing changes":                        {live: jobEnded, action: manifest.None, want: manifest.None},
	} {
		t.Run(name, func(t *testing.T) {
			s := stepOf(t, jobInGit, c.live)
			s.Change.Action = c.action
			if c.path != "" {
				s.Change.Fields = []manifest.FieldChange{{Path: c.path, From: "a", To: "b"}}
			}
			entry := v1alpha1.InventoryEntry{Name: "once"}
			if c.ended {
				entry.EndedRun = (*health.Judge)(nil).Run(s.Change.Live).ID
			}
			comparer := silent(t, entry, s.Key())
			comparer.request.Policies = Policies{OnRunning: c.policy, Rerun: c.rerun}
			if _, err := decide(t.Context(), comparer, s, runs); err != nil {
				t.Fatal(err)
			}
			if s.Change.Action != c.want || s.State != c.state {
				t.Errorf("%s, state %d; want %s, state %d", s.Change.Action, s.State, c.want, c.state)
			}
			if s.Change.Action == manifest.Hold && s.Change.Held.Reason != manifest.HeldRunning {
				t.Errorf("held: %+v", s.Change.Held)
			}
		})
	}
}

// The operator of Spark runs an application again itself after most changes of its spec; it is replaced where git asks for it.
func TestChangedApplicationThatEndedIsRunAgain(t *testing.T) {
	const app = "apiVersion: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication\nmetadata: {name: once, namespace: data}\nspec: {image: a}\n"
	const ended = app + "status: {applicationState: {state: COMPLETED}, submissionID: x}\n"
	for rerun, want := range map[v1alpha1.Rerun]manifest.Action{"": manifest.Update, v1alpha1.OnChange: manifest.Replace} {
		s := stepOf(t, app, ended)
		s.Change.Fields = []manifest.FieldChange{{Path: "spec.image", From: "a", To: "b"}}
		comparer := silent(t, v1alpha1.InventoryEntry{}, s.Key())
		comparer.request.Policies.Rerun = rerun
		if _, err := decide(t.Context(), comparer, s, runs); err != nil {
			t.Fatal(err)
		}
		if noted := s.Runs.Ended != ""; s.Change.Action != want || noted != (want == manifest.Update) {
			t.Errorf("rerun %q: %s, want %s; the run before is noted: %t", rerun, s.Change.Action, want, noted)
		}
	}
}

func TestUnknownPolicyForRunningWork(t *testing.T) {
	s := stepOf(t, jobInGit, jobRunning)
	s.Change.Action = manifest.Replace
	s.Rendered.SetAnnotations(map[string]string{v1alpha1.AnnotationOnRunning: "stop"})
	const want = `Job/data/once: annotation syncer.dev/on-running: "stop" is not a policy; use wait, replace or skip`
	if _, err := decide(t.Context(), silent(t, v1alpha1.InventoryEntry{}, s.Key()), s, runs); err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

const settingsInGit = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: data}\n"

// pruneOf returns the step of an object that left git.
func pruneOf(t *testing.T, live string) *Step {
	t.Helper()
	obj := objectOf(t, live)
	return &Step{Change: manifest.Change{ID: manifest.IDOf(obj), Action: manifest.Prune, Live: obj}}
}

func TestPrunesWaitForTheSteps(t *testing.T) {
	const user = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: user, namespace: data}\nspec: {jobTemplate: {spec: {template: {spec: {volumes: [{configMap: {name: settings}}]}}}}}\n"
	held := func(reason manifest.HoldReason) func(*Step) {
		return func(s *Step) { s.Change.Hold(reason, "it waits", s.Change.ID) }
	}
	state := func(state State) func(*Step) {
		return func(s *Step) { s.State, s.Change.Action = state, manifest.None }
	}
	for name, c := range map[string]struct {
		rule   wait
		change func(*Step)
		want   string
	}{
		"no run goes on":                      {inUseByRun, state(AtRest), ""},
		"a run goes on":                       {inUseByRun, held(manifest.HeldRunning), "CronJob/data/user runs and may need it"},
		"a run goes on, and its change waits": {inUseByRun, state(NextRun), "CronJob/data/user runs and may need it"},
		"a dependency is waited for":          {inUseByRun, held(manifest.HeldDependency), ""},
		"the user is applied":                 {inUseByUnchanged, func(s *Step) { s.Change.Action = manifest.Update }, ""},
		"the user waits":                      {inUseByUnchanged, held(manifest.HeldDependency), "CronJob/data/user is not changed yet and needs it"},
		"the user is left alone":              {inUseByUnchanged, state(LeftAlone), "CronJob/data/user is not changed yet and needs it"},
		"the user cannot be compared":         {inUseByUnchanged, state(Uncompared), "CronJob/data/user is not changed yet and needs it"},
	} {
		t.Run(name, func(t *testing.T) {
			other, prune := stepOf(t, user, user), pruneOf(t, settingsInGit)
			c.change(other)
			w := &waiting{plan: &Plan{comparer: silent(t, v1alpha1.InventoryEntry{}, other.Key()), steps: []*Step{other, prune}}}
			got, err := c.rule(t.Context(), w, prune)
			if err != nil || messageOf(got) != c.want {
				t.Errorf("%q, want %q; %v", messageOf(got), c.want, err)
			}
		})
	}
}

func messageOf(v Verdict) string {
	if v.Held == nil {
		return ""
	}
	return v.Held.Message
}

func TestNamespacesWaitForTheirContents(t *testing.T) {
	const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: data}\n"
	gone := func(s *Step) {
		now := metav1.Now()
		s.Change.Action = manifest.None
		s.Change.Live.SetDeletionTimestamp(&now)
	}
	for name, c := range map[string]struct {
		change func(*Step)
		want   manifest.ID
	}{
		"its object is deleted as well": {func(*Step) {}, manifest.ID{}},
		"its object waits":              {func(s *Step) { s.Change.Hold(manifest.HeldInUse, "it is in use") }, manifest.IDOf(objectOf(t, settingsInGit))},
		"its object is being deleted":   {gone, manifest.ID{}},
		"its object is in another one":  {func(s *Step) { s.Change.ID.Namespace = "other"; s.Change.Action = manifest.None }, manifest.ID{}},
	} {
		t.Run(name, func(t *testing.T) {
			content, prune := pruneOf(t, settingsInGit), pruneOf(t, namespace)
			c.change(content)
			w := &waiting{plan: &Plan{steps: []*Step{content, prune}}}
			if got := w.ownContent(prune.Change.Live); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestDependentsWaitForPredecessors(t *testing.T) {
	const pod = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: first, namespace: data}\n"
	for name, c := range map[string]struct {
		change func(*Step)
		failed bool
		live   bool
		want   string
	}{
		"the plan applies it":         {change: func(s *Step) { s.Change.Action = manifest.Update }},
		"it is ready":                 {change: func(s *Step) { s.Change.Action = manifest.None }, live: true},
		"it is not in the cluster":    {change: func(s *Step) { s.Change.Action = manifest.None }, want: "ConfigMap/data/first is not in the cluster"},
		"it waits itself":             {change: func(s *Step) { s.Change.Hold(manifest.HeldRunning, "it runs") }, want: "ConfigMap/data/first waits itself: it runs"},
		"it cannot be read":           {change: func(s *Step) { s.Change.Action, s.State, s.Err = manifest.None, Unread, errForbidden }, want: "ConfigMap/data/first cannot be read: forbidden"},
		"it ran and removed itself":   {change: func(s *Step) { s.Change.Action, s.State = manifest.None, Ran }},
		"it failed and is gone since": {change: func(s *Step) { s.Change.Action, s.State = manifest.None, Ran }, failed: true, want: "ConfigMap/data/first failed before it removed itself"},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := stepOf(t, pod, ""), stepOf(t, settingsInGit, "")
			second.Order.After = []manifest.Key{first.Key()}
			c.change(first)
			p := &Plan{comparer: silent(t, v1alpha1.InventoryEntry{Name: "first", Failed: c.failed}, first.Key()), steps: []*Step{first, second}, Members: inventory.Members{}}
			if c.live {
				p.Members[first.Key()] = first.Rendered
			}
			got, err := dependsInside(t.Context(), &waiting{plan: p}, second)
			if err != nil || messageOf(got) != c.want {
				t.Errorf("%q, want %q; %v", messageOf(got), c.want, err)
			}
		})
	}
}

var errForbidden = errors.New("forbidden")

func fieldsV1(raw string) *metav1.FieldsV1 {
	fields := &metav1.FieldsV1{}
	fields.SetRawBytes([]byte(raw))
	return fields
}

// BenchmarkObjectAtRest measures the judgement of an object of git that nobody changed. It asks the API server nothing.
func BenchmarkObjectAtRest(b *testing.B) {
	s := stepOf(b, jobInGit, jobInGit)
	owned := map[string]any{"manager": manifest.FieldManager, "operation": "Apply", "time": "2026-01-02T03:04:05Z", "fieldsV1": map[string]any{
		"f:spec": map[string]any{"f:template": map[string]any{"f:spec": map[string]any{"f:containers": map[string]any{"k:{\"name\":\"a\"}": map[string]any{".": map[string]any{}, "f:name": map[string]any{}, "f:image": map[string]any{}}}}}},
	}}
	live := s.Change.Live
	live.Object["metadata"].(map[string]any)["managedFields"] = []any{owned}
	hash, err := manifest.Hash(s.Rendered, nil)
	if err != nil {
		b.Fatal(err)
	}
	entry := v1alpha1.InventoryEntry{Name: "once", Hash: hash, Fields: manifest.OwnedState(live, manifest.FieldManager, nil)}
	c := silent(b, entry, s.Key())
	for b.Loop() {
		step := *s
		if step.Hash, err = manifest.Hash(s.Rendered, nil); err != nil {
			b.Fatal(err)
		}
		if _, err := decide(b.Context(), c, &step, withoutComparison); err != nil || step.State != AtRest {
			b.Fatal(step.State, err)
		}
	}
}
