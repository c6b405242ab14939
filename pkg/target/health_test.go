package target

import (
	"testing"

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

// unreachable is a cluster whose API server does not answer, with the judge of the built-in kinds.
func unreachable(t *testing.T) *cluster.Cluster {
	t.Helper()
	judge, err := health.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	server, err := cluster.With(&rest.Config{Host: "http://127.0.0.1:1"}, connect.Limits{}, cluster.Options{Namespace: "syncer-system", Judge: judge})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// liveSet reads live objects of the namespace shop.
func liveSet(t *testing.T, docs ...string) inventory.Members {
	t.Helper()
	live := inventory.Members{}
	for _, doc := range docs {
		obj := &unstructured.Unstructured{}
		content, err := yaml.YAMLToJSON([]byte(doc))
		if err == nil {
			err = obj.UnmarshalJSON(content)
		}
		if err != nil {
			t.Fatal(err)
		}
		live[manifest.IDOf(obj).Key()] = obj
	}
	return live
}

const (
	settingsLive = "{apiVersion: v1, kind: ConfigMap, metadata: {namespace: shop, name: settings}}"
	widgetWaits  = "{apiVersion: example.com/v1, kind: Widget, metadata: {namespace: shop, name: web}, status: {conditions: [{type: Reconciling, status: 'True', message: soon}]}}"
	widgetFailed = "{apiVersion: example.com/v1, kind: Widget, metadata: {namespace: shop, name: web}, status: {conditions: [{type: Stalled, status: 'True', message: broken}]}}"
	jobEnded     = "{apiVersion: batch/v1, kind: Job, metadata: {namespace: shop, name: load}, status: {startTime: '2026-01-02T03:04:00Z', succeeded: 1, completionTime: '2026-01-02T03:04:05Z', conditions: [{type: Complete, status: 'True'}]}}"
)

func TestHealthOfATarget(t *testing.T) {
	settings := v1alpha1.InventoryEntry{APIVersion: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "settings"}
	widget := v1alpha1.InventoryEntry{APIVersion: "example.com/v1", Kind: "Widget", Namespace: "shop", Name: "web"}
	job := v1alpha1.InventoryEntry{APIVersion: "batch/v1", Kind: "Job", Namespace: "shop", Name: "load"}
	with := func(entry v1alpha1.InventoryEntry, edit func(*v1alpha1.InventoryEntry)) v1alpha1.InventoryEntry {
		edit(&entry)
		return entry
	}
	server := unreachable(t)
	for name, c := range map[string]struct {
		entries []v1alpha1.InventoryEntry
		live    []string
		want    Health
		waits   int
	}{
		"all are healthy":       {[]v1alpha1.InventoryEntry{settings, job}, []string{settingsLive, jobEnded}, Health{Status: health.Healthy}, 0},
		"there is nothing":      {nil, nil, Health{Status: health.Healthy}, 0},
		"one is gone":           {[]v1alpha1.InventoryEntry{settings}, nil, Health{Status: health.Failed, Message: "ConfigMap/shop/settings is not in the cluster", Missing: true}, 0},
		"one ran and is gone":   {[]v1alpha1.InventoryEntry{with(job, func(e *v1alpha1.InventoryEntry) { e.Completed = true })}, nil, Health{Status: health.Healthy}, 0},
		"one failed, is gone":   {[]v1alpha1.InventoryEntry{with(job, func(e *v1alpha1.InventoryEntry) { e.Completed, e.Failed = true, true })}, nil, Health{Status: health.Failed, Message: "Job/shop/load: it failed, and is gone"}, 0},
		"one removed itself":    {[]v1alpha1.InventoryEntry{with(job, func(e *v1alpha1.InventoryEntry) { e.Ephemeral = true })}, nil, Health{Status: health.Healthy, Unseen: true}, 0},
		"one was deleted early": {[]v1alpha1.InventoryEntry{with(job, func(e *v1alpha1.InventoryEntry) { e.Ephemeral, e.Deleted = true, true })}, nil, Health{Status: health.Failed, Message: "Job/shop/load was deleted before its run had ended", Missing: true}, 0},
		"one is not ready yet":  {[]v1alpha1.InventoryEntry{widget, settings}, []string{widgetWaits, settingsLive}, Health{Status: health.InProgress, Message: "Widget/shop/web: soon"}, 1},
		"one failed":            {[]v1alpha1.InventoryEntry{widget, settings}, []string{widgetFailed}, Health{Status: health.Failed, Message: "Widget/shop/web: broken; ConfigMap/shop/settings is not in the cluster", Missing: true}, 0},
		"one has not run again": {[]v1alpha1.InventoryEntry{with(job, func(e *v1alpha1.InventoryEntry) { e.EndedRun = "2026-01-02T03:04:00Z" })}, []string{jobEnded}, Health{Status: health.InProgress, Message: "Job/shop/load: it was changed, and has not run again yet"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			got := HealthOf(t.Context(), server, c.entries, liveSet(t, c.live...))
			if got.Status != c.want.Status || got.Missing != c.want.Missing || got.Unseen != c.want.Unseen || len(got.Waiting) != c.waits {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if got.Message != c.want.Message {
				t.Errorf("it says %q, want %q", got.Message, c.want.Message)
			}
		})
	}
}

func TestStatesOfObjects(t *testing.T) {
	entries := []v1alpha1.InventoryEntry{
		{APIVersion: "example.com/v1", Kind: "Widget", Namespace: "shop", Name: "web"},
		{APIVersion: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "settings"},
		{APIVersion: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "gone"},
		{APIVersion: "batch/v1", Kind: "Job", Namespace: "shop", Name: "load", Completed: true},
	}
	got := map[string]string{}
	var order []string
	for _, o := range ObjectsOf(t.Context(), unreachable(t), entries, liveSet(t, settingsLive, widgetFailed)) {
		got[o.Object.Name] = o.Health
		order = append(order, o.Object.Name)
	}
	for name, want := range map[string]string{"web": string(health.Failed), "settings": string(health.Healthy), "gone": health.ObjectMissing, "load": health.ObjectCompleted} {
		if got[name] != want {
			t.Errorf("%s is %s, want %s", name, got[name], want)
		}
	}
	if len(order) != 4 || order[0] != "gone" {
		t.Errorf("the order is %q", order)
	}
}
