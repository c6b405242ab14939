package target

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/neighbour"
)

// Where every target brings a namespace, nothing of that is looked through for each pair of them.
func BenchmarkNeeds(b *testing.B) {
	config := &v1alpha1.Config{Environments: []v1alpha1.Environment{{Name: "staging"}, {Name: "prod", Images: v1alpha1.ImagePolicy{PromoteFrom: "staging"}}}}
	a := &Commit{}
	server := &cluster.Cluster{}
	for i := range 1000 {
		w := &Desired{Target: v1alpha1.Target{Pipeline: fmt.Sprintf("pipeline-%d", i), Environment: "dev"}, Environment: &config.Environments[i%2], Cluster: server}
		namespace := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": fmt.Sprintf("namespace-%d", i)},
		}}
		w.Rendered.Provides = neighbour.ProvidedBy(manifest.Set{namespace})
		a.Targets = append(a.Targets, w)
	}
	for b.Loop() {
		a.needs(a.Targets, config)
	}
}

func TestInOrder(t *testing.T) {
	config := &v1alpha1.Config{Environments: []v1alpha1.Environment{
		{Name: "staging"}, {Name: "prod", Images: v1alpha1.ImagePolicy{PromoteFrom: "staging"}},
	}}
	targets := func() []*Desired {
		var all []*Desired
		for i := range config.Environments {
			for _, name := range []string{"a", "b", "c"} {
				w := &Desired{Target: v1alpha1.Target{Pipeline: name, Environment: config.Environments[i].Name}, Environment: &config.Environments[i]}
				if name == "c" {
					w.Settings.DependsOn, w.Level = []string{"a"}, 1
				}
				all = append(all, w)
			}
		}
		return all
	}
	t.Run("each target waits for what it needs and for nothing else", func(t *testing.T) {
		a := &Commit{Targets: targets()}
		ends := map[string]func(){}
		var mu sync.Mutex
		synctest.Test(t, func(t *testing.T) {
			all := make(chan struct{})
			go func() {
				defer close(all)
				a.InOrder(t.Context(), a.Targets, config, func(w *Desired, finished func()) {
					mu.Lock()
					defer mu.Unlock()
					ends[w.Target.String()] = finished
				})
			}()
			begun := func(want ...string) {
				t.Helper()
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if len(ends) != len(want) {
					t.Errorf("%d have begun, want %q", len(ends), want)
				}
				for _, name := range want {
					if ends[name] == nil {
						t.Errorf("%s has not begun", name)
					}
				}
			}
			begun("a@staging", "b@staging")
			ends["b@staging"]()
			begun("a@staging", "b@staging", "b@prod") // a hangs, and delays only the targets that need it
			ends["a@staging"]()
			begun("a@staging", "b@staging", "b@prod", "a@prod", "c@staging")
			ends["c@staging"]()
			begun("a@staging", "b@staging", "b@prod", "a@prod", "c@staging")
			ends["a@prod"]()
			begun("a@staging", "b@staging", "b@prod", "a@prod", "c@staging", "c@prod")
			ends["b@prod"]()
			ends["c@prod"]()
			<-all
		})
	})
	t.Run("it is not waited for what has begun when the context ends", func(t *testing.T) {
		a := &Commit{Targets: targets()}
		ctx, cancel := context.WithCancel(t.Context())
		a.InOrder(ctx, a.Targets, config, func(*Desired, func()) { cancel() })
	})
}
