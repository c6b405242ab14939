package source

import (
	"time"

	"github.com/go-git/go-billy/v5"
)

// LimitPacks sets after how many packs a cache is fetched anew.
func LimitPacks(r *Repository, n int) { r.origin.(*remote).mostPacks = n }

// LimitListing sets how long a server may take to tell its refs.
func LimitListing(r *Repository, d time.Duration) { r.origin.(*remote).server.Limits.List = d }

// LimitSilence sets how long a server may send nothing.
func LimitSilence(r *Repository, d time.Duration) { r.origin.(*remote).server.Limits.Silence = d }

// WrapDisk puts something between a cache and its folder.
func WrapDisk(r *Repository, wrap func(billy.Filesystem) billy.Filesystem) {
	shelf := r.origin.(*remote).shelf
	disk := shelf.disk
	shelf.disk = func(folder string) billy.Filesystem { return wrap(disk(folder)) }
}
