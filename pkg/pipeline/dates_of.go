package pipeline

import "github.com/syncerdev/syncer/pkg/target"

// dates are the clocks of the process.
func (r *Runner) dates() target.Dates { return target.Dates{Now: r.now, Wall: r.wall} }
