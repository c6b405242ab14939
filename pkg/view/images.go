package view

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/record"
)

// Images compares the images in the environments of each pipeline.
type Images struct {
	Pipelines []PipelineImages `json:"pipelines"`
}

// PipelineImages are the images of one pipeline, a row for each repository.
type PipelineImages struct {
	Pipeline string     `json:"pipeline"`
	Images   []ImageRow `json:"images"`
	// Unpinned lists values that look like images and are not pinned, by environment.
	Unpinned []UnpinnedImage `json:"unpinned"`
}

// UnpinnedImage is a value in one environment that looks like an image and is not pinned.
type UnpinnedImage struct {
	Environment string `json:"environment"`
	drift.Unpinned
}

// ImageRow is one repository in every environment that runs it.
type ImageRow struct {
	Repository string `json:"repository"`
	// Differs says that one tag stands for different bytes in two environments.
	Differs      bool                 `json:"differs"`
	Environments map[string]ImageCell `json:"environments"`
}

// ImageCell is what one environment runs.
type ImageCell struct {
	Reference string     `json:"reference"`
	Digest    string     `json:"digest"`
	PinnedAt  *time.Time `json:"pinnedAt"`
	Commit    string     `json:"commit"`
}

// Images compares the images in the environments of each selected pipeline.
func (v *View) Images(selection v1alpha1.Selection) Images {
	var selected []Target
	for _, t := range v.Targets {
		if selection.Has(v1alpha1.Target{Pipeline: t.Pipeline, Environment: t.Environment}) {
			selected = append(selected, t)
		}
	}
	return ImagesOf(selected)
}

// ImagesOf compares the images in the environments of the pipelines of some targets.
func ImagesOf(targets []Target) Images {
	sorted := slices.SortedFunc(slices.Values(targets), func(a, b Target) int {
		return cmp.Or(strings.Compare(a.Pipeline, b.Pipeline), strings.Compare(a.Environment, b.Environment))
	})
	rows := imageTable{}
	for i := range sorted {
		rows.put(&sorted[i])
	}
	return rows.images()
}

// imageTable gathers the images of targets, which come sorted by pipeline.
type imageTable []PipelineImages

func (t *imageTable) put(of *Target) {
	if n := len(*t); n == 0 || (*t)[n-1].Pipeline != of.Pipeline {
		*t = append(*t, PipelineImages{Pipeline: of.Pipeline, Images: []ImageRow{}, Unpinned: []UnpinnedImage{}})
	}
	at := &(*t)[len(*t)-1]
	for _, u := range of.Unpinned {
		at.Unpinned = append(at.Unpinned, UnpinnedImage{of.Environment, u})
	}
	for _, image := range lastImages(of.Deployments) {
		at.Images = add(at.Images, of.Environment, of.Pins, image)
	}
}

func (t imageTable) images() Images {
	for i := range t {
		rows := t[i].Images
		slices.SortFunc(rows, func(a, b ImageRow) int { return strings.Compare(a.Repository, b.Repository) })
		mark(rows)
	}
	return Images{Pipelines: t}
}

// lastImages returns the images of the last deployment that was applied completely.
func lastImages(deployments []drift.Deployment) []drift.Image {
	for _, d := range deployments {
		if d.Outcome == record.Applied {
			return d.Images
		}
	}
	return nil
}

// add puts an image into its row. A repository that a target runs twice by different tags gets a row for each.
func add(rows []ImageRow, environment string, pins []v1alpha1.PinnedImage, deployed drift.Image) []ImageRow {
	if deployed.Digest == "" {
		return rows // a template, which another program completes
	}
	cell := ImageCell{Reference: image.WithTagOrDigest(deployed.Reference, deployed.Tag), Digest: deployed.Digest}
	for _, pin := range pins {
		if pin.Reference == deployed.Reference && pin.Digest == deployed.Digest {
			at := pin.ResolvedAt.UTC()
			cell.PinnedAt, cell.Commit = &at, pin.Commit
		}
	}
	repository := image.Repository(deployed.Reference)
	for i := range rows {
		if _, taken := rows[i].Environments[environment]; rows[i].Repository == repository && !taken {
			rows[i].Environments[environment] = cell
			return rows
		}
	}
	return append(rows, ImageRow{Repository: repository, Environments: map[string]ImageCell{environment: cell}})
}

// mark marks the rows with a tag that has two digests, in one row of its repository or in several. A reference by digest
// alone has no tag.
func mark(rows []ImageRow) {
	type tag struct{ repository, name string }
	digests := map[tag]string{}
	moved := map[tag]bool{}
	each := func(do func(row *ImageRow, of tag, digest string)) {
		for i := range rows {
			for _, cell := range rows[i].Environments {
				if name := image.TagName(cell.Reference); name != "" {
					do(&rows[i], tag{rows[i].Repository, name}, cell.Digest)
				}
			}
		}
	}
	each(func(_ *ImageRow, of tag, digest string) {
		if other, ok := digests[of]; ok && other != digest {
			moved[of] = true
		}
		digests[of] = digest
	})
	each(func(row *ImageRow, of tag, _ string) { row.Differs = row.Differs || moved[of] })
}
