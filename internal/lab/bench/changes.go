package bench

import (
	"fmt"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Actions describes the actions of changes. It leaves out changes without an action.
func Actions(changes []manifest.Change) string {
	var out []string
	for _, change := range changes {
		if change.Action != manifest.None {
			name := fmt.Sprintf("%s %s/%s", change.Action, change.ID.Kind, change.ID.Name)
			if change.Drifted {
				name += " (drifted)"
			}
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

// Held lists changes that wait, with the reason in one word.
func Held(changes []manifest.Change) string {
	var out []string
	for _, change := range changes {
		out = append(out, string(change.Held.Reason)+" "+change.ID.Kind+"/"+change.ID.Name)
	}
	return strings.Join(out, ", ")
}

// Names lists the objects of an inventory.
func Names(entries []v1alpha1.InventoryEntry) string {
	var out []string
	for _, e := range entries {
		out = append(out, e.Kind+"/"+e.Name)
	}
	return strings.Join(out, ", ")
}
