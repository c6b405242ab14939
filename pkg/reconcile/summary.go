package reconcile

import (
	"fmt"
	"strings"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
)

// summary is one line for a person. drifted counts the fields of drift that are left alone; kept are the references that keep
// their digest because they cannot be looked up.
func summary(result Result, drifted int, kept []string, o record.Outcome) string {
	parts := actionCounts(result.Changes)
	if held := len(o.Apply.Held); held > 0 {
		parts = append(parts, manifest.Plural(held, "change")+" held")
	}
	if uncompared := result.Detail.Uncompared; uncompared != nil {
		parts = append(parts, manifest.Shorten(strings.Split(uncompared.Error(), "\n")))
	}
	if drifted > 0 {
		parts = append(parts, manifest.Plural(drifted, "drifted field")+" left alone")
	}
	if len(kept) > 0 {
		parts = append(parts, "kept the digest of "+strings.Join(kept, ", ")+", which cannot be looked up now")
	}
	parts = append(parts, o.Health.Notes...)
	if result.Result != Unchanged && o.Health.Message != "" {
		parts = append(parts, o.Health.Message)
	}
	return strings.Join(parts, "; ")
}

// actionCounts says how many objects were changed in which way.
func actionCounts(changes []Change) []string {
	counts := map[manifest.Action]int{}
	for _, change := range changes {
		counts[change.Action]++
	}
	var out []string
	for _, each := range []struct {
		action manifest.Action
		word   string
	}{{manifest.Create, "created"}, {manifest.Update, "updated"}, {manifest.Replace, "replaced"}, {manifest.Prune, "pruned"}} {
		if n := counts[each.action]; n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, each.word))
		}
	}
	return out
}
