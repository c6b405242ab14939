package inventory_test

import (
	"fmt"
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/inventory"
)

// The objects of many targets cost one list of each kind.
func TestManyTargetsAreListedOnce(t *testing.T) {
	b := bench.New(t)
	var targets []*bench.Bench
	var wanted []inventory.Wanted
	for i := range 10 {
		other := b.Other(fmt.Sprintf("pipeline-%d", i))
		other.Deploy(other.Set(bench.Settings(fmt.Sprintf("settings-%d", i), "1")))
		targets = append(targets, other)
		wanted = append(wanted, inventory.Wanted{Cluster: b.Cluster, Record: other.Record()})
	}
	var listed *inventory.Listing
	requests := b.Requests(func() {
		listed = inventory.ListOnce(b.Ctx, wanted)
		for i, w := range wanted {
			members, err := inventory.FindShown(b.Ctx, b.Cluster, listed, targets[i].Target, w.Record)
			if err != nil || namesOf(members) != fmt.Sprintf("ConfigMap/settings-%d", i) {
				t.Errorf("target %d: %s, %v", i, namesOf(members), err)
			}
		}
	})
	if len(requests) != 1 {
		t.Errorf("requests: %s", bench.Shortly(requests))
	}
	few := inventory.ListOnce(b.Ctx, wanted[:2])
	if _, ok := few.Members(b.Cluster, targets[0].Target, inventory.Kinds(wanted[0].Record, nil)[0], b.Namespace); ok {
		t.Error("all objects of the cluster were listed for two targets")
	}
}
