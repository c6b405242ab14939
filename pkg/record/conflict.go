package record

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// A field that another manager takes again this often within the window is in conflict: syncer leaves it alone for a while.
// The back-off doubles each time that the other manager takes the field again at once.
const (
	conflictTimes   = 3
	conflictWindow  = time.Minute
	conflictBackoff = 5 * time.Minute
	longestBackoff  = 2 * time.Hour
)

// InConflict reports whether a field is left to another manager for now.
func InConflict(contests []v1alpha1.Contest, id manifest.ID, path string, now time.Time) bool {
	return slices.ContainsFunc(contests, func(c v1alpha1.Contest) bool {
		return c.Until != nil && now.Before(c.Until.Time) && c.Object == v1alpha1.ReferenceTo(id) && c.Path == path
	})
}

// Conflicts counts the fields that a reconcile took back, and drops the ones that were not taken again since.
func Conflicts(before []v1alpha1.Contest, changes []manifest.Change, at time.Time) []v1alpha1.Contest {
	now := metav1.NewTime(at.UTC().Truncate(time.Second))
	var out []v1alpha1.Contest
	for _, c := range before {
		if quiet := now.Sub(c.Last.Time); quiet < conflictWindow || c.Until != nil && now.Sub(c.Until.Time) < conflictBackoff {
			out = append(out, c)
		}
	}
	for _, change := range changes {
		if !change.Drifted {
			continue // git changed the object: that is a rollout
		}
		object := v1alpha1.ReferenceTo(change.ID)
		for _, taken := range slices.Concat(change.Taken, withdrawn(change)) {
			i := slices.IndexFunc(out, func(c v1alpha1.Contest) bool { return c.Object == object && c.Path == taken.Path })
			if i < 0 {
				out = append(out, v1alpha1.Contest{Object: object, Path: taken.Path, First: now})
				i = len(out) - 1
			}
			out[i] = again(out[i], taken.Manager, now)
		}
	}
	return out
}

// withdrawn returns the fields of a correction that another manager removed as a whole: managed fields do not say which one.
func withdrawn(change manifest.Change) []manifest.Taken {
	var out []manifest.Taken
	for _, field := range change.Fields {
		if change.Live != nil && field.From == nil && field.To != nil {
			out = append(out, manifest.Taken{Path: field.Path, Manager: "somebody"})
		}
	}
	return out
}

// again counts that a field was taken back once more.
func again(c v1alpha1.Contest, manager string, now metav1.Time) v1alpha1.Contest {
	switch {
	case c.Until != nil: // the field was taken again as soon as the back-off was over
		pause := min(2*c.Until.Sub(c.Last.Time), longestBackoff)
		until := metav1.NewTime(now.Add(pause))
		c.Until = &until
	case now.Sub(c.First.Time) > conflictWindow:
		c.Times, c.First = 0, now
	}
	c.Times, c.Manager, c.Last = c.Times+1, manager, now
	if c.Until == nil && c.Times >= conflictTimes {
		until := metav1.NewTime(now.Add(conflictBackoff))
		c.Until = &until
	}
	return c
}

// conflictMessage names the managers of the fields that are left to them for now.
func conflictMessage(contests []v1alpha1.Contest, now time.Time) string {
	var parts []string
	for _, c := range contests {
		if c.Until != nil && now.Before(c.Until.Time) {
			parts = append(parts, fmt.Sprintf("%s keeps taking %s of %s/%s: syncer took it back %d times and leaves it alone until %s; end the fight with an ignore rule, or stop %s",
				c.Manager, c.Path, c.Object.Kind, c.Object.Name, c.Times, c.Until.UTC().Format(time.RFC3339), c.Manager))
		}
	}
	return manifest.Shorten(parts)
}
