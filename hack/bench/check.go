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
	{firstTime + ", x RAW", "", 8},
	{everyTime + ", x RAW", "", 20},
	{commitRequests, "", 36},
	{"at rest, requests a minute", "", 0},
}

// goals are what the project wants to reach.
var goals = map[string]string{
	firstTime + ", x RAW":               "3",
	everyTime + ", x RAW":               "3",
	"at rest, requests a minute":        "0",
	commitTime(50):                      "0.3 s",
	commitTime(100):                     "0.6 s",
	commitRequests:                      "30",
	commitCPU:                           "0.15 CPU-s",
	editTime("in the record", 50):       "0.1 s",
	editTime("put right", 50):           "0.15 s",
	"status of all":                     "1 s",
	"diff of all":                       "2 s",
	"drift of all":                      "4 s",
	"status of one pipeline":            "0.3 s",
	"diff of one pipeline":              "0.3 s",
	"drift of one pipeline":             "0.3 s",
	"render of one target, x kustomize": "0.8",
	"memory, RSS":                       "50 MB, 120 MB for 1,002",
	"memory, RSS at its peak":           "300 MB",
	"restart, all targets compared":     "5 s",
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
