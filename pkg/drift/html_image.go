package drift

import (
	"cmp"
	"slices"
)

// pageImage is a reference, and its digest in each environment.
type pageImage struct {
	Reference string
	Cells     [][]pageDigest // by environment; empty: not there
	Differs   bool
}

type pageDigest struct {
	Digest    string // empty: it runs by its tag
	Pipelines []string
}

// images lists which digests each reference runs by where: one in each environment, unless a tag moved between two
// deployments of pipelines, or between two containers of one.
func (p *pageData) images() {
	byReference := map[string]*pageImage{}
	for _, t := range p.Report.Targets {
		at := slices.Index(p.Environments, t.Environment)
		for _, image := range t.Images {
			row := byReference[image.Reference]
			if row == nil {
				row = &pageImage{Reference: image.Reference, Cells: make([][]pageDigest, len(p.Environments))}
				byReference[image.Reference] = row
			}
			cell := &row.Cells[at]
			n := slices.IndexFunc(*cell, func(d pageDigest) bool { return d.Digest == image.Digest })
			if n < 0 {
				*cell = append(*cell, pageDigest{Digest: image.Digest})
				n = len(*cell) - 1
			}
			if d := &(*cell)[n]; !slices.Contains(d.Pipelines, t.Pipeline) {
				d.Pipelines = append(d.Pipelines, t.Pipeline)
			}
		}
	}
	for _, row := range byReference {
		digests := map[string]bool{}
		for _, cell := range row.Cells {
			for _, d := range cell {
				if d.Digest != "" {
					digests[d.Digest] = true
				}
			}
		}
		row.Differs = len(digests) > 1
		p.Images = append(p.Images, *row)
	}
	slices.SortFunc(p.Images, func(a, b pageImage) int { return cmp.Compare(a.Reference, b.Reference) })
}
