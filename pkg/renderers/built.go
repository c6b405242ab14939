// Package renderers builds overlays for those who need many of them: in this process, or in worker processes that cannot
// hurt it. It does not know what a target is. What an overlay renders to is pkg/render's.
package renderers

import (
	"context"
	"io/fs"
	"runtime"
	"time"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/origin"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/render"
)

// Built is the result of one build of an overlay.
type Built struct {
	Set    manifest.Set
	Packed manifest.Packed // the same set
	// Warnings name the values that the cluster gets in another form than git writes them, a line for each object.
	Warnings []string
	// Reads are the reads of the build, also of one that failed.
	Reads render.ReadSet
	Err   error
	// Again is the time after which the build may succeed although no file has changed; 0: nothing is known of such a time.
	Again time.Duration
}

// Builder builds one overlay of files. Many goroutines may call it at once.
type Builder func(ctx context.Context, files fs.FS, overlay string) Built

// Local returns a Builder that builds in this process, one overlay on each processor at a time.
func (l Limits) Local() Builder {
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	return func(ctx context.Context, files fs.FS, overlay string) Built {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return Built{Err: ctx.Err()}
		}
		defer func() { <-slots }()
		return l.Here(files, overlay)
	}
}

// Here builds an overlay in this process. It bounds neither the memory nor the time.
func (l Limits) Here(files fs.FS, overlay string) (built Built) {
	err := panics.Try(func() error {
		built.Set, built.Reads, built.Err = l.Render.BuildReading(files, overlay)
		if built.Err == nil {
			built.Warnings = origin.Warnings(files, overlay, built.Set, built.Reads)
			built.Packed = manifest.Pack(built.Set)
		}
		return nil
	})
	if err != nil {
		return Built{Err: err}
	}
	return built
}
