package record

import (
	"cmp"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// mostUnused bounds the pins that no deployment uses now.
const mostUnused = 1000

// managedPin is the size of a pin's fields in metadata.managedFields, without its keys.
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

// split returns the pins in use, and the others with the last used ones first.
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

// keepPins drops the pins that are unused for the longest time, where they take more than room bytes.
func keepPins(pins []v1alpha1.PinnedImage, room int) []v1alpha1.PinnedImage {
	_, unused := split(pins)
	kept := firstWithin(unused[:min(len(unused), mostUnused)], room, pinSize)
	if kept == len(unused) {
		return pins
	}
	dropped := map[pinKey]bool{}
	for _, pin := range unused[kept:] {
		dropped[keyOf(pin)] = true
	}
	return slices.DeleteFunc(slices.Clone(pins), func(pin v1alpha1.PinnedImage) bool {
		return dropped[keyOf(pin)]
	})
}

// pinKey is the part of a pin that identifies it in a record.
type pinKey struct{ reference, refresh, semver string }

func keyOf(pin v1alpha1.PinnedImage) pinKey {
	return pinKey{reference: pin.Reference, refresh: pin.Refresh, semver: pin.Semver}
}

// firstWithin returns how many of the first elements take at most room bytes together.
func firstWithin[T any](list []T, room int, size func(T) int) int {
	for i, element := range list {
		if room -= size(element); room < 0 {
			return i
		}
	}
	return len(list)
}
