package view

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
)

const (
	shownCommits = 100
	shownEvents  = 500
)

// Facts is what a daemon knows at one moment. New makes a view of it.
type Facts struct {
	At      time.Time
	Config  *v1alpha1.Config
	Source  Source
	Replica Replica
	// Commits are the newest ones of the source, the newest first.
	Commits []Commit
	// Records are those of each environment, by its name; none: they were not read yet.
	Records map[string]Records
	// Settings come from the newest commit.
	Settings map[v1alpha1.Target]Settings
	// Behind counts how many commits a target is behind; without an entry it is not known.
	Behind map[v1alpha1.Target]int
	// Underway returns the message of a target that a commit is on its way to; empty: there is none.
	Underway func(v1alpha1.Target) string
	// Kept has the views of records that New made before. Optional.
	Kept *Kept
	// Guard calls a function, and returns its panic as an error. Every user of the cluster may have written a record.
	Guard func(v1alpha1.Target, func() error) error
}

// Records are the records of one environment.
type Records struct {
	List []*v1alpha1.PipelineSync // nil: they were not read yet
	Err  error                    // why they cannot be read now; List has what was read last
}

// Settings is what the repository says of a target.
type Settings struct {
	Owner   string // of pipeline.yaml
	Folder  string // of the pipeline, or where it was
	LeftGit bool   // the newest commit does not have it
}

// New makes the view of some facts. It does not change them, and the view shares no list with them that changes later.
func New(f Facts) *View {
	v := &View{
		At: f.At.UTC(), Configuration: f.Config.Name, Source: f.Source, Replica: f.Replica,
		Environments: []Environment{}, Commits: append([]Commit{}, f.Commits[:min(len(f.Commits), shownCommits)]...),
		Targets: []Target{}, Events: []Event{},
	}
	place := map[string]int{}
	for i := range f.Config.Environments {
		e := &f.Config.Environments[i]
		place[e.Name] = i
		v.Environments = append(v.Environments, environmentOf(e, f.Records[e.Name]))
		for _, record := range f.Records[e.Name].List {
			if record.Spec.Owner == f.Config.Name && record.Spec.Environment == e.Name && record.Status.RemovedAt == nil {
				t, events := f.shown(record)
				v.Targets, v.Events = append(v.Targets, t), append(v.Events, events...)
			}
		}
	}
	f.Kept.forget(v.Targets)
	slices.SortFunc(v.Targets, func(x, y Target) int {
		return cmp.Or(strings.Compare(x.Pipeline, y.Pipeline), cmp.Compare(place[x.Environment], place[y.Environment]))
	})
	slices.SortStableFunc(v.Events, func(x, y Event) int { return y.Time.Compare(x.Time) })
	v.Events = v.Events[:min(len(v.Events), shownEvents)]
	return v
}

func environmentOf(e *v1alpha1.Environment, records Records) Environment {
	out := Environment{Name: e.Name, Drift: e.Drift, PromoteFrom: e.Images.PromoteFrom, Suspended: e.Suspend}
	switch {
	case records.Err != nil:
		out.Error = records.Err.Error()
	case records.List == nil:
		out.Error = "its records are being read"
	}
	return out
}

// Kept has the views of records, so that New makes only those of targets that changed. The zero value is ready. One New uses
// it at a time.
type Kept struct {
	byTarget map[v1alpha1.Target]keptTarget
}

// keptTarget is the view of a target, with all that it was made of.
type keptTarget struct {
	inputs targetInputs
	target Target
	events []Event
}

// targetInputs is what the view of a target is made of.
type targetInputs struct {
	record   *v1alpha1.PipelineSync // which is not changed
	behind   int
	underway string
	settings Settings
}

// shown returns the view of a record's target, and its events. It makes them only if something of them changed.
func (f *Facts) shown(record *v1alpha1.PipelineSync) (Target, []Event) {
	of := v1alpha1.Target{Pipeline: record.Spec.Pipeline, Environment: record.Spec.Environment}
	in := targetInputs{record: record, behind: -1, underway: f.Underway(of), settings: f.Settings[of]}
	if behind, known := f.Behind[of]; known {
		in.behind = behind
	}
	if f.Kept == nil {
		return f.target(of, in)
	}
	if last, ok := f.Kept.byTarget[of]; ok && last.inputs == in {
		return last.target, last.events
	}
	t, events := f.target(of, in)
	if f.Kept.byTarget == nil {
		f.Kept.byTarget = map[v1alpha1.Target]keptTarget{}
	}
	f.Kept.byTarget[of] = keptTarget{in, t, events}
	return t, events
}

// forget drops the views of targets that are not shown any more.
func (k *Kept) forget(shown []Target) {
	if k == nil || len(k.byTarget) == len(shown) {
		return
	}
	there := map[v1alpha1.Target]bool{}
	for i := range shown {
		there[v1alpha1.Target{Pipeline: shown[i].Pipeline, Environment: shown[i].Environment}] = true
	}
	maps.DeleteFunc(k.byTarget, func(of v1alpha1.Target, _ keptTarget) bool { return !there[of] })
}

// target makes the view of a record's target, and its events. A record that causes a panic gives a failed target.
func (f *Facts) target(of v1alpha1.Target, in targetInputs) (t Target, events []Event) {
	err := f.Guard(of, func() error {
		t = OfRecord(in.record, in.behind)
		if in.underway != "" && t.State == drift.Ready { // the record may not say yet what is underway
			t.State, t.Message = drift.Progressing, in.underway
		}
		events = eventsOf(&t)
		return nil
	})
	if err != nil {
		empty := v1alpha1.PipelineSyncSpec{Pipeline: of.Pipeline, Environment: of.Environment}
		t, events = OfRecord(&v1alpha1.PipelineSync{Spec: empty}, -1), nil
		t.State, t.Message = drift.Failed, err.Error()
	}
	t.Owner, t.Folder, t.LeftGit = in.settings.Owner, in.settings.Folder, in.settings.LeftGit
	return t, events
}
