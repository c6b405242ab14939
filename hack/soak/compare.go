package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// digests reports whether an image reference in the cluster may have a digest.
type digests func(reference, digest string) bool

// differences compares an object in git with the live one. Fields that git does not set may have any value, except for
// the keys of a ConfigMap and a Secret.
func differences(want, live object, allowed digests) []string {
	if live == nil {
		return []string{"is not there"}
	}
	var found []string
	compare("", want, live, allowed, &found)
	for _, field := range []string{"data"} {
		wanted, ok := want[field].(object)
		if !ok {
			continue
		}
		has, _ := live[field].(object)
		for _, name := range slices.Sorted(maps.Keys(has)) {
			if _, ok := wanted[name]; !ok {
				found = append(found, fmt.Sprintf("%s.%s is there and not in git", field, name))
			}
		}
	}
	return found
}

func compare(path string, want, live any, allowed digests, found *[]string) {
	switch want := want.(type) {
	case object:
		has, ok := live.(object)
		if !ok {
			*found = append(*found, fmt.Sprintf("%s is %v", path, live))
			return
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			compare(strings.TrimPrefix(path+"."+name, "."), want[name], has[name], allowed, found)
		}
	case []any:
		has, _ := live.([]any)
		if len(has) != len(want) {
			*found = append(*found, fmt.Sprintf("%s has %d items, in git %d", path, len(has), len(want)))
			return
		}
		for i := range want {
			compare(fmt.Sprintf("%s[%d]", path, i), want[i], has[i], allowed, found)
		}
	case string:
		if strings.HasPrefix(want, registryHost+"/") {
			has, _ := live.(string)
			reference, digest, _ := strings.Cut(has, "@")
			if reference != want || !allowed(want, digest) {
				*found = append(*found, fmt.Sprintf("%s is %v, in git %s", path, live, want))
			}
			return
		}
		if live != want {
			*found = append(*found, fmt.Sprintf("%s is %v, in git %v", path, live, want))
		}
	default:
		if fmt.Sprint(live) != fmt.Sprint(want) {
			*found = append(*found, fmt.Sprintf("%s is %v, in git %v", path, live, want))
		}
	}
}
