package apply_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/plan"
)

const kindsAnnotation = "applyset.kubernetes.io/contains-group-kinds"

func pinned(b *bench.Bench) v1alpha1.PipelineSyncSpec {
	spec := b.Spec()
	spec.Images = []v1alpha1.PinnedImage{{
		Reference: "registry.example.com/orders:1.4", Digest: "sha256:" + strings.Repeat("ab", 32),
		ResolvedAt: metav1.NewTime(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)), Commit: "c0ffee",
	}}
	return spec
}

// dying is a transport that ends a context, as a kill does, at the first real write of a kind. After that it passes nothing.
type dying struct {
	inner    http.RoundTripper
	resource string
	cancel   context.CancelFunc
	dead     atomic.Bool
}

func (d *dying) RoundTrip(req *http.Request) (*http.Response, error) {
	write := req.Method == http.MethodPatch && req.URL.Query().Get("dryRun") == ""
	if d.dead.Load() || write && strings.Contains(req.URL.Path, "/"+d.resource+"/") {
		d.dead.Store(true)
		d.cancel()
		return nil, context.Canceled
	}
	return d.inner.RoundTrip(req)
}

func TestPinsAreWrittenBeforeTheFirstObject(t *testing.T) {
	b := bench.New(t)
	first := b.Set(bench.Settings("old", "1"))
	pass.Sync(b, first)
	ctx, kill := context.WithCancel(b.Ctx)
	mortal := b.ConnectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return &dying{inner: inner, resource: "configmaps", cancel: kill}
		})
	})
	set := b.Set(bench.Join(bench.Settings("a", "1"), "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner, namespace: $NS}\n"))
	planned, err := plan.Make(ctx, mortal, pass.RequestOf(b, set, b.Record()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apply.Carry(ctx, mortal, planned, apply.Options{Spec: pinned(b)}); !errors.Is(err, context.Canceled) {
		t.Fatalf("the apply was not cut: %v", err)
	}
	if b.Get(bench.ConfigMaps, b.Namespace, "a") != nil {
		t.Fatal("the object was written")
	}
	record := b.Record()
	if diff := cmp.Diff(pinned(b).Images, record.Spec.Images); diff != "" {
		t.Errorf("the pins (-want +got):\n%s", diff)
	}
	if got := record.Annotations[kindsAnnotation]; got != "ConfigMap,ServiceAccount" {
		t.Errorf("the record names the kinds %s", got)
	}
	if got := bench.Names(record.Status.Inventory); got != "ConfigMap/old" {
		t.Errorf("the inventory: %s", got)
	}

	// The next pass finds the objects that this one wrote, including a kind that the inventory does not name.
	planned = pass.Plan(b, first)
	if got := bench.Actions(planned.Changes()); got != "Prune ServiceAccount/runner" {
		t.Errorf("the way back: %s", got)
	}
	planned = pass.Plan(b, set)
	if got := bench.Actions(planned.Changes()); got != "Create ConfigMap/a, Prune ConfigMap/old" {
		t.Errorf("the way on: %s", got)
	}
}

// If two syncers read one record, the second to write finds out, and changes no decision of the first.
func TestTwoWritersOfOneRecord(t *testing.T) {
	for name, first := range map[string]bool{"a first deployment": true, "a later one": false} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			if !first {
				pass.Sync(b, b.Set(bench.Settings("one", "0")))
			}
			ours, theirs := pass.Plan(b, b.Set(bench.Settings("one", "1"))), pass.Plan(b, b.Set(bench.Settings("one", "2")))
			if _, err := apply.Carry(b.Ctx, b.Cluster, theirs, apply.Options{Spec: pinned(b)}); err != nil {
				t.Fatal(err)
			}
			_, err := apply.Carry(b.Ctx, b.Cluster, ours, apply.Options{Spec: b.Spec()})
			bench.WantError(t, err, "writing the record of orders@prod: another syncer wrote it in the meantime")
			if !answer.IsPassing(err) {
				t.Error("the error does not pass")
			}
			if got := b.Record().Spec.Images; len(got) != len(pinned(b).Images) {
				t.Errorf("the pins are %v", got)
			}
			if got := bench.Value(b.Get(bench.ConfigMaps, b.Namespace, "one"), "data", "key"); got != "2" {
				t.Errorf("the object has %v", got)
			}
		})
	}
}
