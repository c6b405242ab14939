package source

import "time"

// LimitPacks sets after how many packs a cache is fetched anew.
func LimitPacks(r *Repository, n int) { r.origin.(*remote).mostPacks = n }

// LimitListing sets how long a server may take to tell its refs.
func LimitListing(r *Repository, d time.Duration) { r.origin.(*remote).server.Limits.List = d }

// LimitSilence sets how long a server may send nothing.
func LimitSilence(r *Repository, d time.Duration) { r.origin.(*remote).server.Limits.Silence = d }
