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

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// key is the value of a ConfigMap of settings; nil if it does not exist.
func (b *bench) key(name string) any {
	b.t.Helper()
	obj := b.get(configMaps, b.namespace, name)
	if obj == nil {
		return nil
	}
	return value(obj, "data", "key")
}

// begin applies a set as a process that ends before it saves its result.
func (b *bench) begin(docs ...string) {
	b.t.Helper()
	if _, err := apply.Carry(b.ctx, b.cluster, b.plan(b.set(join(docs...))), apply.Options{Spec: b.spec()}); err != nil {
		b.t.Fatal(err)
	}
}

// A revert is applied after any unconfirmed write of an earlier apply.
func TestRevertAfterAnApplyThatWasNotConfirmed(t *testing.T) {
	secret := func(text string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: $NS}\nstringData: {key: " + text + "}\n"
	}
	for name, c := range map[string]struct{ good, bad string }{
		"a value":             {settings("a", "good"), settings("a", "bad")},
		"a key more":          {settings("a", "good"), strings.Replace(settings("a", "good"), "{key", "{more: x, key", 1)},
		"a key less":          {strings.Replace(settings("a", "good"), "{key", "{more: x, key", 1), settings("a", "good")},
		"an object more":      {settings("a", "good"), join(settings("a", "good"), settings("b", "bad"))},
		"an object less":      {join(settings("a", "good"), settings("b", "good")), settings("a", "good")},
		"a value of a Secret": {secret("good"), secret("bad")},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			good := b.set(c.good)
			b.sync(good)
			b.begin(c.bad)
			b.restart() // another process finds the objects
			planned := b.plan(good)
			if left := planned.Leave(func(manifest.Change, *manifest.FieldChange) bool { return true }); len(left) != 0 {
				t.Errorf("taken for somebody's drift: %s", actions(left))
			}
			b.sync(good)
			if got := actions(b.plan(good, full).Changes()); got != "" {
				t.Errorf("after the revert, git and the cluster differ: %s", got)
			}
			if requests := b.requests(func() { b.plan(good) }); slices.ContainsFunc(requests, isDryRun) {
				t.Errorf("what is confirmed again is compared at each pass:%s", shortly(requests))
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
			b := newBench(t)
			set := b.set(settings("a", "new"))
			b.sync(set)
			body := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":{"` + partOf + `":"` + v1alpha1.ApplySetID(b.records, b.target) + `"}},"data":` + older + `}`
			force := true
			// The API server dates writes to the second, and a person is slower than that.
			b.eventually("the write has another date", func() bool {
				written := b.record().Status.Inventory[0].Written
				_, err := b.admin.Resource(configMaps).Namespace(b.namespace).Patch(b.ctx, "a", types.ApplyPatchType, []byte(body),
					metav1.PatchOptions{FieldManager: manifest.FieldManager, Force: &force})
				if err != nil {
					t.Fatal(err)
				}
				at, _ := manifest.LastWrite(b.get(configMaps, b.namespace, "a"), manifest.FieldManager)
				if at.Equal(written.Time) {
					b.sync(set)
				}
				return !at.Equal(written.Time)
			})
			planned := b.plan(set)
			planned.Leave(func(manifest.Change, *manifest.FieldChange) bool { return true })
			if got := actions(planned.Pending()); got != "Update ConfigMap/a (drifted)" {
				t.Errorf("to do, and to report: %q", got)
			}
			b.sync(set)
			if got := b.key("a"); got != "new" {
				t.Errorf("it is %v", got)
			}
		})
	}
}

// A syncer that was paused between its record and its objects does not overwrite the writes of another syncer in the
// meantime.
func TestLateWritesAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ before, late, newer string }{
		"both change it":                     {settings("a", "0"), settings("a", "late"), settings("a", "newer")},
		"the newer one changes it back":      {settings("a", "newer"), settings("a", "late"), settings("a", "newer")},
		"both create it":                     {settings("b", "0"), join(settings("b", "0"), settings("a", "late")), join(settings("b", "0"), settings("a", "newer"))},
		"the late one deletes it":            {join(settings("a", "newer"), settings("b", "0")), settings("b", "0"), join(settings("a", "newer"), settings("b", "0"))},
		"the newer one deletes and makes it": {join(settings("a", "0"), settings("b", "0")), join(settings("a", "late"), settings("b", "0")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.sync(b.set(c.before))
			var newer *bench
			pause := func(context.Context) error {
				other := *b
				other.restart()
				newer = &other
				if c.newer == "" {
					newer.sync(newer.set(settings("b", "0")))
					newer.sync(newer.set(join(settings("a", "newer"), settings("b", "0"))))
					return nil
				}
				newer.sync(newer.set(c.newer))
				return nil
			}
			planned := b.plan(b.set(c.late))
			_, err := apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec(), Confirm: pause})
			if !errors.As(err, new(*answer.OvertakenError)) || !answer.IsPassing(err) {
				t.Errorf("the late apply ends with %v", err)
			}
			if got := newer.key("a"); got != "newer" {
				t.Errorf("the object is %v", got)
			}
			if got := actions(newer.plan(newer.set(join(settings("a", "newer"), settings("b", "0")))).Changes()); strings.Contains(got, "ConfigMap/a") {
				t.Errorf("the newer one finds: %s", got)
			}
			for _, entry := range newer.record().Status.Inventory {
				if entry.Unconfirmed {
					t.Errorf("%s is not confirmed", entry.Name)
				}
			}
			if annotations := newer.get(configMaps, b.namespace, "a").GetAnnotations(); len(annotations) != 0 {
				t.Errorf("a fence is left behind: %v", annotations)
			}
		})
	}
}

// If the API server executes a write and its answer is lost, the next try finds its own work.
func TestLostAnswerOfAWrite(t *testing.T) {
	for _, before := range []string{"", "1"} {
		t.Run("value "+before, func(t *testing.T) {
			b := newBench(t)
			if before != "" {
				b.sync(b.set(settings("a", before)))
			}
			var lost atomic.Int32
			b.cluster = b.connectBy(func(config *rest.Config) {
				config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
					return roundTripper(func(req *http.Request) (*http.Response, error) {
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
			applied := b.sync(b.set(settings("a", "2")))
			want := "Create ConfigMap/a"
			if before != "" {
				want = "Update ConfigMap/a"
			}
			if got := actions(applied.Changes); got != want || lost.Load() == 0 {
				t.Errorf("applied: %s", got)
			}
			if got := actions(b.plan(b.set(settings("a", "2"))).Changes()); got != "" {
				t.Errorf("the next plan: %s", got)
			}
		})
	}
}

// A delete and a write that are refused permanently are reported, and the record keeps its doubt until the object was
// compared.
func TestFailedWriteIsNotTrusted(t *testing.T) {
	b := newBench(t)
	good := b.set(settings("a", "good"))
	b.sync(good)
	b.cluster = b.connectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				resp, err := inner.RoundTrip(req)
				if err == nil && req.Method == http.MethodPatch && req.URL.Query().Get("dryRun") == "" && strings.Contains(req.URL.Path, "/configmaps/") {
					_ = resp.Body.Close() // the answer is dropped
					return nil, errors.New("the line is dead")
				}
				return resp, err
			})
		})
	})
	planned := b.plan(b.set(settings("a", "bad")))
	applied, err := apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec()})
	if err == nil {
		t.Fatal("it did not fail")
	}
	b.restart()
	b.save(applied.Inventory)
	if entry := b.record().Status.Inventory[0]; !entry.Unconfirmed {
		t.Error("the outcome of the write is taken for known")
	}
	b.sync(good)
	if got := b.key("a"); got != "good" {
		t.Errorf("after the revert it is %v", got)
	}
}

// If two syncers read a record, only the first of them can write it.
func TestRecordIsDeletedAsItWasRead(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(settings("a", "1")))
	before := b.record()
	if _, err := b.cluster.Records().SaveStatus(b.ctx, b.target, v1alpha1.PipelineSyncStatus{LastAttemptedCommit: "beef"}, ""); err != nil {
		t.Fatal(err)
	}
	err := b.cluster.Records().Delete(b.ctx, b.target, before.UID, before.ResourceVersion)
	if !errors.As(err, new(*answer.OvertakenError)) || b.record() == nil || apierrors.IsNotFound(err) {
		t.Errorf("deleting a record that was written since: %v", err)
	}
}
