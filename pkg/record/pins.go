package record

import (
	"cmp"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// mostUnused bounds the pins that no deployment uses now.
const mostUnused = 1000

// managedPin is what the API server keeps of a pin's fields in metadata.managedFields, beside its keys.
const managedPin = len(`"k:{\"reference\":\"\",\"refresh\":\"\",\"semver\":\"\"}":{".":{},"f:commit":{},"f:digest":{},"f:lastDeployment":{},` +
	`"f:promotedFrom":{},"f:reference":{},"f:refresh":{},"f:resolvedAt":{},"f:seen":{},"f:semver":{},"f:tag":{},"f:unusedSince":{}},`)

func pinSize(pin v1alpha1.PinnedImage) int {
	return size(pin) + managedPin + len(pin.Reference) + len(pin.Refresh) + len(pin.Semver)
}

func pinsSize(pins []v1alpha1.PinnedImage) int {
	sum := 0
	for _, pin := range pins {
		sum += pinSize(pin)
	}
	return sum
}

// split tells the pins in use from the others, of which the ones that were used last come first.
func split(pins []v1alpha1.PinnedImage) (inUse, unused []v1alpha1.PinnedImage) {
	for _, pin := range pins {
		if pin.UnusedSince == nil {
			inUse = append(inUse, pin)
		} else {
			unused = append(unused, pin)
		}
	}
	slices.SortFunc(unused, func(a, b v1alpha1.PinnedImage) int {
		return cmp.Or(b.UnusedSince.Compare(a.UnusedSince.Time), cmp.Compare(b.LastDeployment, a.LastDeployment), strings.Compare(a.Reference, b.Reference),
			strings.Compare(a.Refresh, b.Refresh), strings.Compare(a.Semver, b.Semver))
	})
	return inUse, unused
}

// keepPins drops the pins that are unused for longest, where they take more than room bytes.
func keepPins(pins []v1alpha1.PinnedImage, room int) []v1alpha1.PinnedImage {
	_, unused := split(pins)
	kept := firstWithin(unused[:min(len(unused), mostUnused)], room, pinSize)
	if kept == len(unused) {
		return pins
	}
	dropped := map[[3]string]bool{}
	for _, pin := range unused[kept:] {
		dropped[[3]string{pin.Reference, pin.Refresh, pin.Semver}] = true
	}
	return slices.DeleteFunc(slices.Clone(pins), func(pin v1alpha1.PinnedImage) bool {
		return dropped[[3]string{pin.Reference, pin.Refresh, pin.Semver}]
	})
}

// firstWithin is how many of the first elements take at most room bytes together.
func firstWithin[T any](list []T, room int, size func(T) int) int {
	for i, element := range list {
		if room -= size(element); room < 0 {
			return i
		}
	}
	return len(list)
}
