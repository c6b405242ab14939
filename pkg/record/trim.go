package record

import (
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// The longest texts of a record, in bytes.
const (
	MostSubject = 256
	MostAuthor  = 256
	MostMessage = 4096 // of a condition
	mostReason  = 512  // of one held change, or of a warning
)

// Trim cuts a status to the size that fits beside the pins. It cuts its own result no further, so that a record at rest stays
// as it is.
//
// Earlier deployments, findings and ownership conflicts share the room that pins and inventory leave. The newest deployment
// and the one that runs stay. The inventory stays too: Demand checks before the apply that it fits.
func Trim(pins []v1alpha1.PinnedImage, status v1alpha1.PipelineSyncStatus) v1alpha1.PipelineSyncStatus {
	status.Warnings = cutAll(status.Warnings)
	status.History = shortTexts(status.History)
	status.Inventory = shortOthers(status.Inventory)
	room := most - pinsSize(pins) - size(status.Inventory) - 2*newestSize(status.History) - size(status.Conditions) - size(status.Held) - size(status.Warnings) - size(status.Unpinned)
	room = max(room, leastOptional-size(status.Conditions)-size(status.Held)-size(status.Warnings), 0)
	status.History = trimHistory(status.History, room/2)
	status.Drift = trimDrift(status.Drift, room*3/8)
	kept := firstWithin(status.Contested, room/8, func(c v1alpha1.Contest) int { return size(c) })
	status.Contested = status.Contested[:kept:kept]
	if kept == 0 {
		status.Contested = nil
	}
	return status
}

func cutAll(texts []string) []string {
	short := slices.Clone(texts)
	for i := range short {
		short[i] = manifest.Cut(short[i], mostReason)
	}
	return short
}

func shortTexts(history []v1alpha1.Deployment) []v1alpha1.Deployment {
	short := slices.Clone(history)
	for i := range short {
		d := &short[i]
		d.Author, d.Subject, d.AllowedBy = manifest.Cut(d.Author, MostAuthor), manifest.Cut(d.Subject, MostSubject), manifest.Cut(d.AllowedBy, MostAuthor)
	}
	return short
}

// trimHistory keeps the newest deployment and the one that runs, and of the others the newest ones that fit into room bytes.
func trimHistory(all []v1alpha1.Deployment, room int) []v1alpha1.Deployment {
	running := slices.IndexFunc(all, func(d v1alpha1.Deployment) bool { return d.Outcome != HeldInPart })
	var kept []v1alpha1.Deployment
	full := false
	for i, d := range all {
		if i == 0 || i == running {
			kept = append(kept, d)
			continue
		}
		if room -= size(d); room < 0 {
			full = true
		}
		if !full {
			kept = append(kept, d)
		}
	}
	return kept
}

// trimDrift keeps the first findings, and the newest of the past findings.
func trimDrift(all *v1alpha1.DriftSummary, room int) *v1alpha1.DriftSummary {
	if all == nil {
		return nil
	}
	short := *all
	n := firstWithin(short.Findings, room*2/3, func(f v1alpha1.Finding) int { return size(f) })
	short.Findings = short.Findings[:n:n]
	n = firstWithin(short.Past, room/3, func(f v1alpha1.PastFinding) int { return size(f) })
	short.Past = short.Past[:n:n]
	return &short
}

// mostOthers bounds the fields of other managers in the inventory, in bytes.
const mostOthers = 64 << 10

// shortOthers replaces the fields of other managers by the part of the object that has them, where the inventory lists too
// many. Then no field that others set in the whole part is reported.
func shortOthers(inventory []v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry {
	for _, depth := range []int{2, 1} {
		sum := 0
		for _, entry := range inventory {
			if len(entry.Others) > 0 {
				sum += size(entry.Others)
			}
		}
		if sum <= mostOthers {
			break
		}
		inventory = slices.Clone(inventory)
		for i := range inventory {
			inventory[i].Others = prefixes(inventory[i].Others, depth)
		}
	}
	return inventory
}

func prefixes(paths []string, depth int) []string {
	var out []string
	for _, text := range paths {
		if path, err := manifest.ParsePath(text); err == nil {
			text = path[:min(depth, len(path))].String()
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
