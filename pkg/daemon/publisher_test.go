package daemon

import (
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
)

// A view costs something for every target. So none is made where nobody asks, and each change has one made while somebody
// does.
func TestViewsAreMadeWhileSomebodyReadsThem(t *testing.T) {
	d, _ := newTestDaemon()
	made, names := 0, []string{"a"}
	change := func(changed ...string) map[v1alpha1.Target]bool {
		shown := cluster.Shown{Read: true, List: func() (all []*v1alpha1.PipelineSync) {
			made++
			for _, name := range names {
				all = append(all, recordIn(name))
			}
			return all
		}}
		for _, name := range changed {
			shown.Changed = append(shown.Changed, recordIn(name))
		}
		told, _ := d.publisher.read([]string{"dev"}, shown)
		return told
	}
	publish := func() {
		t.Helper()
		before := d.Changed()
		d.publisher.publish(t.Context())
		select {
		case <-before:
		default:
			t.Error("a reader that waits is not told of a change")
		}
	}

	if changed := change("a"); len(changed) != 1 || !changed[v1alpha1.Target{Pipeline: "a", Environment: "dev"}] {
		t.Errorf("changed: %v", changed)
	}
	publish()
	publish()
	if made != 0 {
		t.Errorf("%d views were made for nobody", made)
	}
	if v := d.View(); len(v.Targets) != 1 || d.View() != v || made != 1 {
		t.Errorf("the first reader gets %d targets; %d views were made", len(v.Targets), made)
	}
	names = append(names, "b")
	change("b")
	publish()
	if v := d.View(); len(v.Targets) != 2 || made != 2 {
		t.Errorf("a reader gets %d targets; %d views were made", len(v.Targets), made)
	}
	d.publisher.asked = time.Now().Add(-2 * readTime)
	change()
	publish()
	if made != 2 {
		t.Errorf("%d views were made, the last ones for nobody", made)
	}
	names = append(names, "c")
	if v := d.View(); len(v.Targets) != 3 || made != 3 {
		t.Errorf("a reader after a while gets %d targets; %d views were made", len(v.Targets), made)
	}
}

// recordIn is the record of a pipeline in dev.
func recordIn(pipeline string) *v1alpha1.PipelineSync {
	record := &v1alpha1.PipelineSync{Spec: v1alpha1.PipelineSyncSpec{Owner: "test", Pipeline: pipeline, Environment: "dev"}}
	record.Name, record.ResourceVersion = pipeline+".dev", "1"
	return record
}
