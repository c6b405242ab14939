package target

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// orderByDependency gives each target the length of the longest chain of targets that it depends on. A dependency that
// does not exist, or that is circular, is an error of its targets.
func (c *Commit) orderByDependency() {
	levels := map[v1alpha1.Target]int{}
	for _, d := range c.All() {
		if level, err := c.level(d, levels, nil); err != nil {
			d.Err = errors.Join(d.Err, err)
		} else {
			d.Level = level
		}
	}
}

// level returns the level of a target. The trail holds the pipelines on the way to it.
func (c *Commit) level(d *Desired, levels map[v1alpha1.Target]int, trail []string) (int, error) {
	if level, ok := levels[d.Target]; ok {
		return level, nil
	}
	name := d.Target.Pipeline
	if at := slices.Index(trail, name); at >= 0 {
		return 0, fmt.Errorf("%s: dependsOn goes in a circle: %s", SettingsFile, strings.Join(append(trail[at:len(trail):len(trail)], name), " on "))
	}
	trail = append(trail[:len(trail):len(trail)], name)
	level := 0
	for _, dependency := range d.Settings.DependsOn {
		other := c.Find(v1alpha1.Target{Pipeline: dependency, Environment: d.Environment.Name})
		if other == nil || other.Overlay == "" {
			return 0, fmt.Errorf("%s: dependsOn: there is no pipeline %s in environment %s", SettingsFile, dependency, d.Environment.Name)
		}
		below, err := c.level(other, levels, trail)
		if err != nil {
			return 0, err
		}
		level = max(level, below+1)
	}
	levels[d.Target] = level
	return level, nil
}
