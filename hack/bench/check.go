package main

import (
	"fmt"
	"strings"
)

// limit is the worst value that a figure may have in a kind of run. Limits are ratios and counts, which hold on every
// machine, with slack for noise.
type limit struct {
	figure string
	mode   string // part of the name of the run; empty: every run
	most   float64
}

var limits = []limit{
	{firstTime + ", x RAW", "", 12},
	{everyTime + ", x RAW", "", 14},
	{commitRequests, "settled", 90},
	{"at rest, requests a minute", "settled", 0},
}

// check names the figures that are worse than their limits.
func check(all []*result) error {
	var worse []string
	for _, r := range all {
		for _, l := range limits {
			if !strings.Contains(r.name, l.mode) {
				continue
			}
			value, ok := r.value(l.figure)
			switch {
			case !ok:
				worse = append(worse, fmt.Sprintf("%s: %s was not measured", r.name, l.figure))
			case value > l.most:
				worse = append(worse, fmt.Sprintf("%s: %s is %s, and may be %s", r.name, l.figure, short(value), short(l.most)))
			}
		}
	}
	if len(worse) > 0 {
		return fmt.Errorf("worse than the limits:\n%s", strings.Join(worse, "\n"))
	}
	return nil
}
