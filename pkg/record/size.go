package record

import (
	"encoding/json"
	"fmt"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Sizes in bytes of a record as the API server stores it. The largest record has mostWhileChanging and the parts that
// can be cut, which leaves 150 KiB below etcd's limit.
const (
	// mostAtRest is for the necessary parts of a target: pins in use, inventory, and the deployment that runs.
	mostAtRest = 1024 << 10
	// mostWhileChanging is the same while the objects of two commits are in the inventory.
	mostWhileChanging = 1216 << 10
	// leastOptional is the size that history, findings and the like may always have together.
	leastOptional = 160 << 10
	// most is a whole record at rest.
	most = mostAtRest + leastOptional
)

// TooLargeError says that a target does not fit into one record.
type TooLargeError struct {
	Objects, Images int
	Size, Most      int // bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("its record would have %d KiB for %d objects and %d images, and may have %d KiB; nothing was written; "+
		"split the pipeline into several, shorten the names of its objects, or carry a change of most names out in two commits",
		(e.Size+1023)>>10, e.Objects, e.Images, e.Most>>10)
}

// Demand is the data that a target needs in its record.
type Demand struct {
	Before v1alpha1.PipelineSync    // the record as it is; zero: there is none
	Set    []manifest.ID            // the objects of git
	Pins   []v1alpha1.PinnedImage   // in use or not
	Images []v1alpha1.DeployedImage // of the deployment to come
}

// Fit returns the pins that the record is to hold, in their earlier order: the pins in use, and, while there is room,
// the pins that were unused for the shortest time. The error is a TooLargeError if the rest alone does not fit. A target
// that takes no more room than before is never refused, so that it can always become smaller.
func (d Demand) Fit() ([]v1alpha1.PinnedImage, error) {
	inUse, _ := split(d.Pins)
	fixed := pinsSize(inUse) + 2*imagesSize(d.Images)
	after, during, objects := d.inventory()
	before := inventorySize(d.Before.Status.Inventory) + pinsSize(d.Before.Spec.Images) + 2*newestSize(d.Before.Status.History)
	grows := max(after, during)+fixed > before
	switch {
	case grows && after+fixed > mostAtRest:
		return nil, &TooLargeError{Objects: len(d.Set), Images: len(inUse), Size: after + fixed, Most: mostAtRest}
	case grows && during+fixed > mostWhileChanging:
		return nil, &TooLargeError{Objects: objects, Images: len(inUse), Size: during + fixed, Most: mostWhileChanging}
	}
	return keepPins(d.Pins, mostAtRest-fixed-after), nil
}

// inventory is the size of the inventory that the set will have, and of one that has the objects of both.
func (d Demand) inventory() (after, during, objects int) {
	known := make(map[manifest.Key]int, len(d.Before.Status.Inventory))
	for _, entry := range d.Before.Status.Inventory {
		id := entry.ID()
		known[id.Key()] = entrySize(entry)
		during += known[id.Key()]
	}
	objects = len(known)
	for _, id := range d.Set {
		if old, ok := known[id.Key()]; ok {
			after += old
			continue
		}
		expected := expectedSize(id)
		after, during, objects = after+expected, during+expected, objects+1
	}
	return after, during, objects
}

const (
	hashLength   = len("hmac-sha256:") + 64
	fieldsLength = 32
	uidLength    = 36
)

// expectedSize is the size of the entry of an object that is not in the inventory yet.
func expectedSize(id manifest.ID) int {
	entry := v1alpha1.InventoryEntry{
		APIVersion: id.APIVersion, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name,
	}
	expected := size(entry) + len(`"hash":"","fields":"",`) + hashLength + fieldsLength
	if mayRun(id) {
		expected += len(`"completed":true,"ephemeral":true,"uid":"","spec":"",`) + uidLength + hashLength
	}
	return expected
}

// mayRun reports whether objects of a kind may run to completion: the inventory keeps more of these. It is false for the
// kinds of most objects.
func mayRun(id manifest.ID) bool {
	switch id.Kind {
	case "ConfigMap", "Secret", "Service", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy":
		return false
	}
	return !health.KindOf(id.GroupKind()).Is(health.NeverRuns)
}

// entrySize is the size of an entry without the fields of others, which can be cut to their first names.
func entrySize(entry v1alpha1.InventoryEntry) int {
	entry.Others = nil
	return size(entry)
}

func inventorySize(entries []v1alpha1.InventoryEntry) int {
	sum := 0
	for _, entry := range entries {
		sum += entrySize(entry)
	}
	return sum
}

// newestSize is the size of the images of the newest deployment.
func newestSize(history []v1alpha1.Deployment) int {
	if len(history) == 0 {
		return 0
	}
	return imagesSize(history[0].Images)
}

func imagesSize(images []v1alpha1.DeployedImage) int {
	sum := 0
	for _, image := range images {
		sum += size(image)
	}
	return sum
}

// size is the size of a value as JSON, with the comma after it.
func size(value any) int {
	doc, err := json.Marshal(value)
	if err != nil {
		return 0 // the types of a record always have a form
	}
	return len(doc) + 1
}
