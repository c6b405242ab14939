package view

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// View is what a daemon knows at one moment. It is made of the records, so that every replica shows the same. A view never
// changes after it is published, and its lists are not nil. Secret values are masked before they get here.
type View struct {
	At time.Time
	// Configuration is the name of the configuration, which owns the records.
	Configuration string
	Source        Source
	Environments  []Environment // in the order of the configuration
	// Commits are the newest ones in the fetched history of the source, the newest first.
	Commits []Commit
	// Targets are sorted by pipeline, and by environment as the configuration has them.
	Targets []Target
	// Events are the last ones, the newest first.
	Events  []Event
	Replica Replica
}

// Source is the repository that a daemon follows.
type Source struct {
	URL string `json:"url"` // without credentials
	// Follows is the branch, tag, range or commit of the configuration; empty: the remote's HEAD.
	Follows string `json:"follows"`
	// Commit is the newest one; empty: none was read yet.
	Commit string `json:"commit"`
	// FetchedAt is the time of the last fetch that succeeded.
	FetchedAt *time.Time `json:"fetchedAt"`
	// Error says why the repository cannot be read now; the last commit stays in force.
	Error string `json:"error"`
}

// Environment is an environment, and whether its cluster can be read.
type Environment struct {
	Name        string               `json:"name"`
	Drift       v1alpha1.DriftPolicy `json:"drift"`
	PromoteFrom string               `json:"promoteFrom"`
	Suspended   bool                 `json:"suspended"`
	// Error says why its records cannot be read now; its targets are shown as they were read last.
	Error string `json:"error"`
}

// Commit is one commit of the source.
type Commit struct {
	Hash    string    `json:"hash"`
	Author  string    `json:"author"` // Name <mail>
	Subject string    `json:"subject"`
	Time    time.Time `json:"time"` // of the committer
}

// Target is one pipeline in one environment.
type Target struct {
	// Target has the state, the commit, how far behind it is, what runs, and the last deployments. It is embedded, since a
	// page and the API show a target as a report does, with more: a copy of its fields would make a struct of 22.
	drift.Target
	// Owner is the contact in pipeline.yaml; empty: it names none.
	Owner string
	// Folder is the folder of the pipeline in the repository, which a rollback restores: pipelines/session-enrichment. If
	// the layout has the environment above the pipeline, it belongs to this target alone. Empty: not known.
	Folder string
	// LeftGit says that the newest commit does not have the target: Folder is where it was, and a rollback brings it back.
	LeftGit bool
	// Findings are those that the record keeps; Total counts all.
	Findings []drift.Finding
	Total    int
	// Past are findings that ended, the newest first.
	Past []drift.Past
	// Held are the changes that wait.
	Held []v1alpha1.HeldChange
	// Conditions are the record's.
	Conditions []metav1.Condition
	// Pins are the digests that references stand for.
	Pins []v1alpha1.PinnedImage
	// Objects names the applied objects. How they are is not part of a view: the cluster says it.
	Objects []manifest.ID
}

// Name returns the name of a target: session-enrichment@prod.
func (t *Target) Name() string {
	return v1alpha1.Target{Pipeline: t.Pipeline, Environment: t.Environment}.String()
}

// Drift counts the findings of a severity, without changes that wait.
func (t *Target) Drift(severity drift.Severity) int {
	n := 0
	for _, f := range t.Findings {
		if f.Severity == severity && f.Kind != drift.Held {
			n++
		}
	}
	return n
}

// Replica is the process that shows a view.
type Replica struct {
	Identity string `json:"identity"`
	Version  string `json:"version"`
	// Leads are the Leases that the process holds; without leader election, "all".
	Leads []string `json:"leads"`
}

// Target finds a target; nil: there is none.
func (v *View) Target(pipeline, environment string) *Target {
	for i := range v.Targets {
		if v.Targets[i].Pipeline == pipeline && v.Targets[i].Environment == environment {
			return &v.Targets[i]
		}
	}
	return nil
}

// Pipelines lists the pipelines that have a target, sorted.
func (v *View) Pipelines() []string {
	var names []string
	for _, t := range v.Targets {
		names = append(names, t.Pipeline)
	}
	return slices.Compact(names)
}

// Report returns a drift report of the last check of each target, by the records, which keep at most 50 findings each.
func (v *View) Report(selection v1alpha1.Selection) drift.Report {
	report := drift.Report{
		GeneratedAt: v.At, Source: drift.Source{URL: v.Source.URL, Branch: v.Source.Follows, Commit: v.Source.Commit},
		Findings: []drift.Finding{}, Skew: []drift.Skew{}, Targets: []drift.Target{}, Past: []drift.Past{}, Quiet: []drift.Quiet{},
	}
	for _, t := range v.Targets {
		if !selection.Has(v1alpha1.Target{Pipeline: t.Pipeline, Environment: t.Environment}) {
			continue
		}
		report.Targets = append(report.Targets, t.Target)
		report.Findings = append(report.Findings, t.Findings...)
		report.Past = append(report.Past, t.Past...)
	}
	report.Finish()
	return report
}
