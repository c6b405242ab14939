package pipeline

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// A field that is taken back this often within the window is contested: syncer leaves it to its rival for a while, which
// doubles each time that the rival is back at once.
const (
	contestTimes  = 3
	contestWindow = time.Minute
	truce         = 5 * time.Minute
	longestTruce  = 2 * time.Hour
)

// contested reports whether a field is left to a rival for now.
func contested(contests []v1alpha1.Contest, id manifest.ID, path string, now time.Time) bool {
	return slices.ContainsFunc(contests, func(c v1alpha1.Contest) bool {
		return c.Until != nil && now.Before(c.Until.Time) && c.Object == v1alpha1.ReferenceTo(id) && c.Path == path
	})
}

// contests counts the fields that a pass took back, and forgets what has been quiet since.
func contests(before []v1alpha1.Contest, changes []manifest.Change, at time.Time) []v1alpha1.Contest {
	now := metav1.NewTime(at.UTC().Truncate(time.Second))
	var out []v1alpha1.Contest
	for _, c := range before {
		if quiet := now.Sub(c.Last.Time); quiet < contestWindow || c.Until != nil && now.Sub(c.Until.Time) < truce {
			out = append(out, c)
		}
	}
	for _, change := range changes {
		if !change.Drifted {
			continue // git changed the object: that is a rollout
		}
		object := v1alpha1.ReferenceTo(change.ID)
		for _, taken := range slices.Concat(change.Taken, removed(change)) {
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

// removed are the fields of a correction that a rival took away as a whole: managed fields do not tell who.
func removed(change manifest.Change) []manifest.Taken {
	var out []manifest.Taken
	for _, field := range change.Fields {
		if change.Live != nil && field.From == nil && field.To != nil {
			out = append(out, manifest.Taken{Path: field.Path, Manager: "somebody"})
		}
	}
	return out
}

// again notes that a field was taken back once more.
func again(c v1alpha1.Contest, manager string, now metav1.Time) v1alpha1.Contest {
	switch {
	case c.Until != nil: // the rival was back as soon as the truce was over
		pause := min(2*c.Until.Sub(c.Last.Time), longestTruce)
		until := metav1.NewTime(now.Add(pause))
		c.Until = &until
	case now.Sub(c.First.Time) > contestWindow:
		c.Times, c.First = 0, now
	}
	c.Times, c.Manager, c.Last = c.Times+1, manager, now
	if c.Until == nil && c.Times >= contestTimes {
		until := metav1.NewTime(now.Add(truce))
		c.Until = &until
	}
	return c
}

// contestMessage names the rivals of the fields that are left to them for now.
func contestMessage(contests []v1alpha1.Contest, now time.Time) string {
	var parts []string
	for _, c := range contests {
		if c.Until != nil && now.Before(c.Until.Time) {
			parts = append(parts, fmt.Sprintf("%s keeps taking %s of %s/%s: syncer took it back %d times and leaves it alone until %s; end the fight with an ignore rule, or stop %s",
				c.Manager, c.Path, c.Object.Kind, c.Object.Name, c.Times, c.Until.UTC().Format(time.RFC3339), c.Manager))
		}
	}
	return manifest.Shorten(parts)
}
