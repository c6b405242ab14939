package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The names of figures that others refer to.
const (
	rawCreate      = "RAW: all objects created"
	rawChange      = "RAW: all objects changed"
	firstTime      = "first rollout"
	everyTime      = "commit to all"
	commitRequests = "commit to one pipeline, requests"
	commitCPU      = "commit to one pipeline, CPU"
)

func commitTime(p int) string { return "commit to one pipeline, " + percentileName(p) }

func editTime(until string, p int) string { return "hand edit " + until + ", " + percentileName(p) }

func percentileName(p int) string {
	if p == 100 {
		return "max"
	}
	return fmt.Sprintf("p%d", p)
}

// figure is one measured value.
type figure struct {
	name, unit string
	value      float64
}

// result is what one run measured.
type result struct {
	name     string
	figures  []figure
	asked    []table
	versions []string
}

// table has the requests of one part.
type table struct {
	part     string
	per      float64 // how many commits or minutes the requests are of
	requests counts
}

func (r *result) add(name, unit string, value float64) {
	r.figures = append(r.figures, figure{name, unit, value})
}

func (r *result) seconds(name string, d time.Duration) { r.add(name, "s", d.Seconds()) }

func (r *result) cpu(name string, d time.Duration) { r.add(name, "CPU-s", d.Seconds()) }

func (r *result) number(name string, value float64) { r.add(name, "", value) }

func (r *result) megabytes(name string, bytes float64) { r.add(name, "MB", bytes/1e6) }

// ratio adds a time, and what it is of the time of the plain client, where that was measured.
func (r *result) ratio(name string, d time.Duration, raw string) {
	r.seconds(name, d)
	if of, ok := r.value(raw); ok {
		r.number(name+", x RAW", d.Seconds()/of)
	}
}

func (r *result) requests(part string, c counts, per float64) {
	r.asked = append(r.asked, table{part, per, c})
}

func (r *result) value(name string) (float64, bool) {
	for _, f := range r.figures {
		if f.name == name {
			return f.value, true
		}
	}
	return 0, false
}

// percentile is the smallest value that is not exceeded by a percentage of the values.
func percentile(values []time.Duration, p int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

func mean(values []time.Duration) time.Duration {
	var sum time.Duration
	for _, v := range values {
		sum += v
	}
	return sum / time.Duration(max(1, len(values)))
}

func (f figure) String() string { return strings.TrimSpace(short(f.value) + " " + f.unit) }

// short writes a number with about three digits.
func short(value float64) string {
	switch {
	case value == 0:
		return "0"
	case value >= 100:
		return fmt.Sprintf("%.0f", value)
	case value >= 10:
		return fmt.Sprintf("%.1f", value)
	case value >= 0.1:
		return fmt.Sprintf("%.2f", value)
	}
	return fmt.Sprintf("%.3f", value)
}
