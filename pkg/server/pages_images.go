package server

import (
	"cmp"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/view"
)

// imageRow is a reference, and the digests that it runs by in each environment of a pipeline.
type imageRow struct {
	Reference string
	Cells     []imageCell // by target
	Differs   bool        // one tag, different bytes
}

type imageCell struct {
	Environment string
	Digests     []imageDigest // more than one: the tag moved between two containers
}

type imageDigest struct {
	Digest string                // empty: it runs by its tag
	Pin    *v1alpha1.PinnedImage // nil: the record has none
	Odd    bool                  // other environments run other bytes
}

// imagesOf lists the images of some targets of one pipeline with their digests, sorted by reference.
func imagesOf(targets []*view.Target) []imageRow {
	byReference := map[string]*imageRow{}
	for at, t := range targets {
		for _, image := range t.Images {
			row := byReference[image.Reference]
			if row == nil {
				row = &imageRow{Reference: image.Reference, Cells: make([]imageCell, len(targets))}
				for i, other := range targets {
					row.Cells[i].Environment = other.Environment
				}
				byReference[image.Reference] = row
			}
			cell := &row.Cells[at]
			if !slices.ContainsFunc(cell.Digests, func(d imageDigest) bool { return d.Digest == image.Digest }) {
				cell.Digests = append(cell.Digests, imageDigest{Digest: image.Digest, Pin: pinOf(t, image.Reference, image.Digest)})
			}
		}
	}
	rows := make([]imageRow, 0, len(byReference))
	for _, row := range byReference {
		row.compare()
		rows = append(rows, *row)
	}
	slices.SortFunc(rows, func(a, b imageRow) int { return cmp.Compare(a.Reference, b.Reference) })
	return rows
}

// compare marks the digests that differ from the most common one.
func (r *imageRow) compare() {
	places := map[string]int{}
	usual := ""
	for _, cell := range r.Cells {
		for _, d := range cell.Digests {
			if d.Digest == "" {
				continue
			}
			places[d.Digest]++
			if places[d.Digest] > places[usual] {
				usual = d.Digest
			}
		}
	}
	r.Differs = len(places) > 1
	for _, cell := range r.Cells {
		for i, d := range cell.Digests {
			cell.Digests[i].Odd = r.Differs && d.Digest != "" && (d.Digest != usual || places[usual] == 1)
		}
	}
}

func pinOf(t *view.Target, reference, digest string) *v1alpha1.PinnedImage {
	for i, pin := range t.Pins {
		if pin.Reference == reference && pin.Digest == digest {
			return &t.Pins[i]
		}
	}
	return nil
}

// pinsOf lists the pins that nothing runs by now, and that a rollback gets back.
func pinsOf(t *view.Target) []v1alpha1.PinnedImage {
	var out []v1alpha1.PinnedImage
	for _, pin := range t.Pins {
		if !slices.ContainsFunc(t.Images, func(i drift.Image) bool { return i.Reference == pin.Reference && i.Digest == pin.Digest }) {
			out = append(out, pin)
		}
	}
	return out
}
