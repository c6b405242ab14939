package record

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// A field that is corrected this often within the window has an ownership conflict: syncer leaves it to the other manager for a
// back-off, which doubles each time that the other manager is back at once.
const (
	conflictTimes  = 3
	conflictWindow = time.Minute
	firstBackOff   = 5 * time.Minute
	longestBackOff = 2 * time.Hour
)

// IsContested reports whether a field is left to another manager for now.
func IsContested(conflicts []v1alpha1.Contest, id manifest.ID, path string, now time.Time) bool {
	return slices.ContainsFunc(conflicts, func(c v1alpha1.Contest) bool {
		return c.Until != nil && now.Before(c.Until.Time) && c.Object == v1alpha1.ReferenceTo(id) && c.Path == path
	})
}

// contests returns the ownership conflicts after the pass.
func (p *pass) contests() []v1alpha1.Contest {
	switch {
	case p.Apply == nil, p.Apply.Removal && p.Failure != nil:
		return p.before.Contested
	case p.Apply.Removal:
		return nil
	}
	return conflicts(p.before.Contested, p.Apply.Changes, stamp(p.now))
}

// conflicts counts the fields that a pass corrected, and drops conflicts that have ended.
func conflicts(before []v1alpha1.Contest, changes []manifest.Change, now metav1.Time) []v1alpha1.Contest {
	var out []v1alpha1.Contest
	for _, c := range before {
		if quiet := now.Sub(c.Last.Time); quiet < conflictWindow || c.Until != nil && now.Sub(c.Until.Time) < firstBackOff {
			out = append(out, c)
		}
	}
	for _, change := range changes {
		if !change.Drifted {
			continue // git changed the object: that is a rollout
		}
		object := v1alpha1.ReferenceTo(change.ID)
		for _, taken := range slices.Concat(change.Taken, removedFields(change)) {
			i := slices.IndexFunc(out, func(c v1alpha1.Contest) bool { return c.Object == object && c.Path == taken.Path })
			if i < 0 {
				out = append(out, v1alpha1.Contest{Object: object, Path: taken.Path, First: now})
				i = len(out) - 1
			}
			out[i] = corrected(out[i], taken.Manager, now)
		}
	}
	return out
}

// removedFields returns the corrected fields that another manager removed. Managed fields do not name that manager.
func removedFields(change manifest.Change) []manifest.Taken {
	var out []manifest.Taken
	for _, field := range change.Fields {
		if change.Live != nil && field.From == nil && field.To != nil {
			out = append(out, manifest.Taken{Path: field.Path, Manager: "somebody"})
		}
	}
	return out
}

// corrected counts one more correction of a field.
func corrected(c v1alpha1.Contest, manager string, now metav1.Time) v1alpha1.Contest {
	switch {
	case c.Until != nil: // the other manager was back right after the back-off
		pause := min(2*c.Until.Sub(c.Last.Time), longestBackOff)
		until := metav1.NewTime(now.Add(pause))
		c.Until = &until
	case now.Sub(c.First.Time) > conflictWindow:
		c.Times, c.First = 0, now
	}
	c.Times, c.Manager, c.Last = c.Times+1, manager, now
	if c.Until == nil && c.Times >= conflictTimes {
		until := metav1.NewTime(now.Add(firstBackOff))
		c.Until = &until
	}
	return c
}

// conflictMessage names the fields that are left to other managers for now.
func conflictMessage(conflicts []v1alpha1.Contest, now time.Time) string {
	var parts []string
	for _, c := range conflicts {
		if c.Until != nil && now.Before(c.Until.Time) {
			parts = append(parts, fmt.Sprintf("%s keeps taking %s of %s/%s: syncer took it back %d times and leaves it alone until %s; end the fight with an ignore rule, or stop %s",
				c.Manager, c.Path, c.Object.Kind, c.Object.Name, c.Times, c.Until.UTC().Format(time.RFC3339), c.Manager))
		}
	}
	return manifest.Shorten(parts)
}
