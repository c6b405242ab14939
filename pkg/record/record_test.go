package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

var noon = metav1.NewTime(time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC))

// configMaps are n objects with names of some length.
func configMaps(prefix string, n, length int) []manifest.ID {
	ids := make([]manifest.ID, n)
	for i := range ids {
		name := fmt.Sprintf("%s-%05d-", prefix, i)
		ids[i] = manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "data", Name: name + strings.Repeat("n", max(0, length-len(name)))}
	}
	return ids
}

// applied is the inventory of objects that were applied.
func applied(ids []manifest.ID) []v1alpha1.InventoryEntry {
	entries := make([]v1alpha1.InventoryEntry, len(ids))
	for i, id := range ids {
		entries[i] = v1alpha1.InventoryEntry{
			APIVersion: id.APIVersion, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name,
			Hash: "sha256:" + strings.Repeat("a", 64), Fields: strings.Repeat("b", 32),
		}
	}
	return entries
}

func pins(n, length int, unused *metav1.Time) []v1alpha1.PinnedImage {
	out := make([]v1alpha1.PinnedImage, n)
	for i := range out {
		out[i] = v1alpha1.PinnedImage{
			Reference: fmt.Sprintf("%s:%05d", strings.Repeat("r", length), i), Digest: "sha256:" + strings.Repeat("d", 64),
			ResolvedAt: noon, Commit: strings.Repeat("c", 40), UnusedSince: unused,
		}
	}
	return out
}

func deployed(pins []v1alpha1.PinnedImage) []v1alpha1.DeployedImage {
	out := make([]v1alpha1.DeployedImage, len(pins))
	for i, pin := range pins {
		out[i] = v1alpha1.DeployedImage{Reference: pin.Reference, Digest: pin.Digest}
	}
	return out
}

func holding(ids []manifest.ID, pins []v1alpha1.PinnedImage) v1alpha1.PipelineSync {
	return v1alpha1.PipelineSync{
		Spec:   v1alpha1.PipelineSyncSpec{Images: pins},
		Status: v1alpha1.PipelineSyncStatus{Inventory: applied(ids), History: []v1alpha1.Deployment{{Images: deployed(pins)}}},
	}
}

func TestWhatFitsIsKnownBeforehand(t *testing.T) {
	long, many := configMaps("a", 4501, 206), pins(3000, 200, nil)
	for name, c := range map[string]struct {
		Demand
		fits bool
	}{
		"a common target":                        {Demand{Set: configMaps("a", 50, 30), Pins: pins(20, 60, nil)}, true},
		"3,500 objects with common names":        {Demand{Set: configMaps("a", 3500, 40)}, true},
		"objects with long names":                {Demand{Set: long}, false},
		"very many images":                       {Demand{Pins: many, Images: deployed(many)}, false},
		"another name for half of the objects":   {Demand{Before: holding(configMaps("a", 2000, 40), nil), Set: configMaps("b", 2000, 40)}, true},
		"another name for all of very many":      {Demand{Before: holding(configMaps("a", 3500, 40), nil), Set: configMaps("b", 3500, 40)}, false},
		"as large as it was before this limit":   {Demand{Before: holding(long, nil), Set: long}, true},
		"smaller than it was before this limit":  {Demand{Before: holding(long, nil), Set: long[:4000]}, true},
		"one object more than before this limit": {Demand{Before: holding(long, nil), Set: append(configMaps("b", 1, 40), long...)}, false},
		"one image more than before this limit":  {Demand{Before: holding(long, nil), Set: long, Pins: pins(1, 60, nil), Images: deployed(pins(1, 60, nil))}, false},
		"pins that nothing uses beside a target": {Demand{Set: configMaps("a", 3500, 40), Pins: pins(5000, 60, &noon)}, true},
	} {
		_, err := c.Fit()
		if large, ok := errors.AsType[*TooLargeError](err); ok == c.fits || (err == nil) != c.fits {
			t.Errorf("%s: %v (%+v)", name, err, large)
		}
	}
}

// The expected size of an object's entry is at least its real size.
func TestEntriesAreNotUnderestimated(t *testing.T) {
	for _, id := range []manifest.ID{
		{APIVersion: "v1", Kind: "Secret", Namespace: "data", Name: "s"},
		{APIVersion: "batch/v1", Kind: "Job", Namespace: "data", Name: "j"},
	} {
		entry := v1alpha1.InventoryEntry{
			APIVersion: id.APIVersion, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name,
			Hash: "hmac-sha256:" + strings.Repeat("a", 64), Fields: strings.Repeat("b", 32),
		}
		if id.Kind == "Job" {
			entry.Hash = "sha256:" + strings.Repeat("a", 64)
			entry.Spec, entry.UID, entry.Completed, entry.Ephemeral = entry.Hash, "6dc5e9c4-8d8e-4a86-8d8c-0a9fd2c5cb0d", true, true
		}
		if got := expectedSize(id); got < size(entry) {
			t.Errorf("%s: %d bytes are expected, and there are %d", id, got, size(entry))
		}
	}
}

// Those in use all stay, and of the others the ones that were used last.
func TestUnusedPinsGiveWay(t *testing.T) {
	inUse := pins(100, 60, nil)
	old := pins(mostUnused+200, 50, nil)
	for i := range old {
		since := metav1.NewTime(noon.Add(-time.Duration(i) * time.Minute))
		old[i].UnusedSince = &since
	}
	for name, c := range map[string]struct {
		objects int
		kept    func(int) bool
	}{
		"beside few objects":  {10, func(n int) bool { return n == mostUnused }},
		"beside many objects": {3300, func(n int) bool { return n > 50 && n < mostUnused }},
	} {
		all := append(append([]v1alpha1.PinnedImage{}, old...), inUse...)
		got, err := Demand{Set: configMaps("a", c.objects, 40), Pins: all, Images: deployed(inUse)}.Fit()
		if n := len(got) - len(inUse); err != nil || !c.kept(n) || !reflect.DeepEqual(got[:n], old[:n]) || !reflect.DeepEqual(got[n:], inUse) {
			t.Errorf("%s: %d unused pins are kept, %v", name, n, err)
		}
	}
}

// largest is a status in which everything is too much.
func largest(objects, images int) v1alpha1.PipelineSyncStatus {
	text := func(n int) string { return strings.Repeat("é", n/2) }
	status := v1alpha1.PipelineSyncStatus{Inventory: applied(configMaps("a", objects, 40)), Drift: &v1alpha1.DriftSummary{Total: 50}}
	for i := range status.Inventory {
		for n := range 5 {
			status.Inventory[i].Others = append(status.Inventory[i].Others, fmt.Sprintf("data.%s%d", strings.Repeat("k", 200), n))
		}
	}
	for i := range 100 {
		status.History = append(status.History, v1alpha1.Deployment{
			Number: int64(100 - i), Outcome: "Applied", Subject: text(2000), Author: text(2000), AllowedBy: text(2000),
			Images: deployed(pins(images, 200, nil)), Time: noon,
		})
	}
	status.History[0].Subject = text(2 << 20)
	finding := v1alpha1.Finding{Kind: "Modified", Path: text(500), Message: text(500), Live: &apiextensionsv1.JSON{Raw: []byte(`"` + text(500) + `"`)}}
	for range 21 {
		status.Warnings = append(status.Warnings, text(4000))
	}
	message := manifest.Cut(text(1<<20), MostMessage)
	for range 50 {
		status.Drift.Findings = append(status.Drift.Findings, finding)
		status.Drift.Past = append(status.Drift.Past, v1alpha1.PastFinding{Finding: finding, EndedAt: noon})
	}
	var waiting []v1alpha1.HeldChange
	for i := range objects {
		waiting = append(waiting, v1alpha1.HeldChange{ObjectReference: v1alpha1.ObjectReference{Kind: "Job", Name: fmt.Sprint(i)}, Message: text(1000), Since: noon})
		status.Contested = append(status.Contested, v1alpha1.Contest{Path: text(200), Manager: "kubectl"})
	}
	status.Held = keptHeld(waiting)
	for _, kind := range []string{"Ready", "Reconciling", "Stalled", "Held", "Drifted", "PromotionPending"} {
		status.Conditions = append(status.Conditions, metav1.Condition{Type: kind, Message: message})
	}
	return status
}

func TestStatusFits(t *testing.T) {
	for _, c := range []struct{ objects, images int }{{1, 0}, {100, 200}, {3500, 0}, {2000, 300}} {
		inUse := pins(c.images, 200, nil)
		all, err := Demand{Set: configMaps("a", c.objects, 40), Pins: append(pins(1000, 60, &noon), inUse...), Images: deployed(inUse)}.Fit()
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		given := largest(c.objects, c.images)
		got := Trim(all, given)
		if n := size(got) + pinsSize(all); n > most+64<<10 {
			t.Errorf("%+v: the record has %d KiB", c, n>>10)
		}
		if again := Trim(all, got); !reflect.DeepEqual(again, got) {
			t.Errorf("%+v: a status that fits is cut again", c)
		}
		if !reflect.DeepEqual(given, largest(c.objects, c.images)) {
			t.Errorf("%+v: what was given is changed", c)
		}
		newest := got.History[0]
		if len(newest.Subject) > MostSubject || !strings.HasSuffix(newest.Subject, "...") || len(newest.Images) != c.images {
			t.Errorf("%+v: the newest deployment is %.200v", c, newest)
		}
		if len(got.Inventory) != c.objects || len(got.Held) != min(c.objects, mostHeld) || got.Drift.Total != 50 || len(got.Drift.Findings) == 0 {
			t.Errorf("%+v: %d objects, %d held, %d of %d findings", c, len(got.Inventory), len(got.Held), len(got.Drift.Findings), got.Drift.Total)
		}
	}
}

// A status of common size stays as it is.
func TestCommonStatusIsNotCut(t *testing.T) {
	inUse := pins(20, 60, nil)
	status := v1alpha1.PipelineSyncStatus{Inventory: applied(configMaps("a", 50, 40)), Drift: &v1alpha1.DriftSummary{Total: 1, Findings: []v1alpha1.Finding{{Kind: "Modified", Message: "changed"}}}}
	status.Inventory[0].Others = []string{"metadata.labels.team"}
	for i := range 100 {
		status.History = append(status.History, v1alpha1.Deployment{Number: int64(i), Subject: "Raise the memory", Author: "Jane <jane@example.com>", Images: deployed(inUse)})
	}
	status.Contested = []v1alpha1.Contest{{Path: "spec.replicas"}}
	if got := Trim(inUse, status); !reflect.DeepEqual(got, status) {
		want, _ := json.Marshal(status)
		is, _ := json.Marshal(got)
		t.Errorf("of %d bytes %d are left", len(want), len(is))
	}
}

// The running deployment is the newest one that is not held in part.
func TestDeploymentThatRunsStays(t *testing.T) {
	var all []v1alpha1.Deployment
	for i := range 30 {
		all = append(all, v1alpha1.Deployment{Number: int64(30 - i), Outcome: HeldInPart, Images: deployed(pins(10, 60, nil))})
	}
	all[20].Outcome = "Applied"
	got := trimHistory(all, 3*size(all[0]))
	if len(got) != 5 || got[0].Number != 30 || got[3].Number != 27 || got[4].Number != 10 {
		t.Errorf("kept: %+v", got)
	}
}
