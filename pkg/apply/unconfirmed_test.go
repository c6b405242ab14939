package apply_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// key is the value of a ConfigMap of settings; nil if it does not exist.
func settingOf(b *bench.Bench, name string) any {
	b.T.Helper()
	obj := b.Get(bench.ConfigMaps, b.Namespace, name)
	if obj == nil {
		return nil
	}
	return bench.Value(obj, "data", "key")
}

// begin applies a set as a process that ends before it saves its result.
func beginApply(b *bench.Bench, docs ...string) {
	b.T.Helper()
	if _, err := apply.Carry(b.Ctx, b.Cluster, pass.Plan(b, b.Set(bench.Join(docs...))), apply.Options{Spec: b.Spec()}); err != nil {
		b.T.Fatal(err)
	}
}

// A revert is applied after any unconfirmed write of an earlier apply.
func TestRevertAfterAnApplyThatWasNotConfirmed(t *testing.T) {
	secret := func(text string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: $NS}\nstringData: {key: " + text + "}\n"
	}
	for name, c := range map[string]struct{ good, bad string }{
		"a value":             {bench.Settings("a", "good"), bench.Settings("a", "bad")},
		"a key more":          {bench.Settings("a", "good"), strings.Replace(bench.Settings("a", "good"), "{key", "{more: x, key", 1)},
		"a key less":          {strings.Replace(bench.Settings("a", "good"), "{key", "{more: x, key", 1), bench.Settings("a", "good")},
		"an object more":      {bench.Settings("a", "good"), bench.Join(bench.Settings("a", "good"), bench.Settings("b", "bad"))},
		"an object less":      {bench.Join(bench.Settings("a", "good"), bench.Settings("b", "good")), bench.Settings("a", "good")},
		"a value of a Secret": {secret("good"), secret("bad")},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			good := b.Set(c.good)
			pass.Sync(b, good)
			beginApply(b, c.bad)
			b.Restart() // another process finds the objects
			planned := pass.Plan(b, good)
			if left := planned.Leave(func(manifest.Change, *manifest.FieldChange) bool { return true }); len(left) != 0 {
				t.Errorf("taken for somebody's drift: %s", bench.Actions(left))
			}
			pass.Sync(b, good)
			if got := bench.Actions(pass.Plan(b, good, pass.Full).Changes()); got != "" {
				t.Errorf("after the revert, git and the cluster differ: %s", got)
			}
			if requests := b.Requests(func() { pass.Plan(b, good) }); slices.ContainsFunc(requests, bench.IsDryRun) {
				t.Errorf("what is confirmed again is compared at each pass:%s", bench.Shortly(requests))
			}
		})
	}
}

// A process that applies an older state under syncer's own field manager does not count as another owner whose change is
// kept.
func TestWriteUnderTheOwnNameIsPutRight(t *testing.T) {
	for name, older := range map[string]string{
		"another value": `{"key":"old"}`,
		"a key less":    `{}`,
		"a key more":    `{"key":"new","more":"x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			set := b.Set(bench.Settings("a", "new"))
			pass.Sync(b, set)
			body := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":{"` + v1alpha1.LabelMember + `":"` + v1alpha1.ApplySetID(b.Records, b.Target) + `"}},"data":` + older + `}`
			force := true
			// The API server dates writes to the second, and a person is slower than that.
			b.Eventually("the write has another date", func() bool {
				written := b.Record().Status.Inventory[0].Written
				_, err := b.Admin.Resource(bench.ConfigMaps).Namespace(b.Namespace).Patch(b.Ctx, "a", types.ApplyPatchType, []byte(body),
					metav1.PatchOptions{FieldManager: manifest.FieldManager, Force: &force})
				if err != nil {
					t.Fatal(err)
				}
				at, _ := manifest.LastWrite(b.Get(bench.ConfigMaps, b.Namespace, "a"), manifest.FieldManager)
				if at.Equal(written.Time) {
					pass.Sync(b, set)
				}
				return !at.Equal(written.Time)
			})
			planned := pass.Plan(b, set)
			planned.Leave(func(manifest.Change, *manifest.FieldChange) bool { return true })
			if got := bench.Actions(planned.Pending()); got != "Update ConfigMap/a (drifted)" {
				t.Errorf("to do, and to report: %q", got)
			}
			pass.Sync(b, set)
			if got := settingOf(b, "a"); got != "new" {
				t.Errorf("it is %v", got)
			}
		})
	}
}

// A syncer that was paused between its record and its objects does not overwrite the writes of another syncer in the
// meantime.
func TestLateWritesAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ before, late, newer string }{
		"both change it":                     {bench.Settings("a", "0"), bench.Settings("a", "late"), bench.Settings("a", "newer")},
		"the newer one changes it back":      {bench.Settings("a", "newer"), bench.Settings("a", "late"), bench.Settings("a", "newer")},
		"both create it":                     {bench.Settings("b", "0"), bench.Join(bench.Settings("b", "0"), bench.Settings("a", "late")), bench.Join(bench.Settings("b", "0"), bench.Settings("a", "newer"))},
		"the late one deletes it":            {bench.Join(bench.Settings("a", "newer"), bench.Settings("b", "0")), bench.Settings("b", "0"), bench.Join(bench.Settings("a", "newer"), bench.Settings("b", "0"))},
		"the newer one deletes and makes it": {bench.Join(bench.Settings("a", "0"), bench.Settings("b", "0")), bench.Join(bench.Settings("a", "late"), bench.Settings("b", "0")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			pass.Sync(b, b.Set(c.before))
			var newer *bench.Bench
			pause := func(context.Context) error {
				other := *b
				other.Restart()
				newer = &other
				if c.newer == "" {
					pass.Sync(newer, newer.Set(bench.Settings("b", "0")))
					pass.Sync(newer, newer.Set(bench.Join(bench.Settings("a", "newer"), bench.Settings("b", "0"))))
					return nil
				}
				pass.Sync(newer, newer.Set(c.newer))
				return nil
			}
			planned := pass.Plan(b, b.Set(c.late))
			_, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec(), Confirm: pause})
			if !errors.As(err, new(*answer.OvertakenError)) || !answer.IsPassing(err) {
				t.Errorf("the late apply ends with %v", err)
			}
			if got := settingOf(newer, "a"); got != "newer" {
				t.Errorf("the object is %v", got)
			}
			if got := bench.Actions(pass.Plan(newer, newer.Set(bench.Join(bench.Settings("a", "newer"), bench.Settings("b", "0")))).Changes()); strings.Contains(got, "ConfigMap/a") {
				t.Errorf("the newer one finds: %s", got)
			}
			for _, entry := range newer.Record().Status.Inventory {
				if entry.Unconfirmed {
					t.Errorf("%s is not confirmed", entry.Name)
				}
			}
			if annotations := newer.Get(bench.ConfigMaps, b.Namespace, "a").GetAnnotations(); len(annotations) != 0 {
				t.Errorf("a fence is left behind: %v", annotations)
			}
		})
	}
}

// If the API server executes a write and its answer is lost, the next try finds its own work.
func TestLostAnswerOfAWrite(t *testing.T) {
	for _, before := range []string{"", "1"} {
		t.Run("value "+before, func(t *testing.T) {
			b := bench.New(t)
			if before != "" {
				pass.Sync(b, b.Set(bench.Settings("a", before)))
			}
			var lost atomic.Int32
			b.Cluster = b.ConnectBy(func(config *rest.Config) {
				config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
					return bench.RoundTripper(func(req *http.Request) (*http.Response, error) {
						resp, err := inner.RoundTrip(req)
						write := req.Method == http.MethodPatch && req.URL.Query().Get("dryRun") == "" && strings.Contains(req.URL.Path, "/configmaps/")
						if err == nil && write && lost.Add(1) == 1 {
							_ = resp.Body.Close() // the answer is dropped
							return nil, syscall.ECONNRESET
						}
						return resp, err
					})
				})
			})
			applied := pass.Sync(b, b.Set(bench.Settings("a", "2")))
			want := "Create ConfigMap/a"
			if before != "" {
				want = "Update ConfigMap/a"
			}
			if got := bench.Actions(applied.Changes); got != want || lost.Load() == 0 {
				t.Errorf("applied: %s", got)
			}
			if got := bench.Actions(pass.Plan(b, b.Set(bench.Settings("a", "2"))).Changes()); got != "" {
				t.Errorf("the next plan: %s", got)
			}
		})
	}
}

// A delete and a write that are refused permanently are reported, and the record keeps its doubt until the object was
// compared.
func TestFailedWriteIsNotTrusted(t *testing.T) {
	b := bench.New(t)
	good := b.Set(bench.Settings("a", "good"))
	pass.Sync(b, good)
	b.Cluster = b.ConnectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return bench.RoundTripper(func(req *http.Request) (*http.Response, error) {
				resp, err := inner.RoundTrip(req)
				if err == nil && req.Method == http.MethodPatch && req.URL.Query().Get("dryRun") == "" && strings.Contains(req.URL.Path, "/configmaps/") {
					_ = resp.Body.Close() // the answer is dropped
					return nil, errors.New("the line is dead")
				}
				return resp, err
			})
		})
	})
	planned := pass.Plan(b, b.Set(bench.Settings("a", "bad")))
	applied, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()})
	if err == nil {
		t.Fatal("it did not fail")
	}
	b.Restart()
	b.Save(applied.Inventory)
	if entry := b.Record().Status.Inventory[0]; !entry.Unconfirmed {
		t.Error("the outcome of the write is taken for known")
	}
	pass.Sync(b, good)
	if got := settingOf(b, "a"); got != "good" {
		t.Errorf("after the revert it is %v", got)
	}
}
