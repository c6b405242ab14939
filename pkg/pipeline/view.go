package pipeline

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
)

// View is what a daemon knows at one moment, for whoever wants to see it. It is built from the records, so that every
// replica shows the same; a view is never changed once it is published, and its lists are never nil. Values that may not
// be shown are masked before they get here.
type View struct {
	At time.Time `json:"at"`
	// Configuration is its name, which owns the records.
	Configuration string            `json:"configuration"`
	Source        SourceView        `json:"source"`
	Environments  []EnvironmentView `json:"environments"` // in the order of the configuration
	// Commits are the newest ones of the source, the newest first, as far as the fetched history reaches.
	Commits []CommitView `json:"commits"`
	// Targets are sorted by pipeline, and by environment as the configuration has them.
	Targets []TargetView `json:"targets"`
	// Events are the last ones, the newest first.
	Events  []EventView `json:"events"`
	Replica ReplicaView `json:"replica"`
}

// SourceView is the repository that a daemon follows.
type SourceView struct {
	URL string `json:"url"` // without credentials
	// Follows is what of it: a branch, a tag, a range or a commit, as the configuration has it; empty: the remote's HEAD.
	Follows string `json:"follows"`
	// Commit is the newest one; empty: none was read yet.
	Commit string `json:"commit"`
	// FetchedAt is when the repository was last asked with success.
	FetchedAt *time.Time `json:"fetchedAt"`
	// Error says why the repository cannot be read now; the last commit stays in force.
	Error string `json:"error"`
}

// EnvironmentView is an environment, and whether its cluster can be read.
type EnvironmentView struct {
	Name        string               `json:"name"`
	Drift       v1alpha1.DriftPolicy `json:"drift"`
	PromoteFrom string               `json:"promoteFrom"`
	Suspended   bool                 `json:"suspended"`
	// Error says why its records cannot be read now; its targets are shown as they were read last.
	Error string `json:"error"`
}

// CommitView is one commit of the source.
type CommitView struct {
	Hash    string    `json:"hash"`
	Author  string    `json:"author"` // Name <mail>
	Subject string    `json:"subject"`
	Time    time.Time `json:"time"` // of the committer
}

// TargetView is one pipeline in one environment.
type TargetView struct {
	// Target has its state, its commit, how far behind it is, and what runs.
	drift.Target
	// Owner is who pipeline.yaml says to call; empty: it does not say.
	Owner string `json:"owner"`
	// Folder is the pipeline's in the repository, which a rollback restores: pipelines/session-enrichment. Where the
	// layout has the environment above the pipeline, it is this target's alone. Empty: not known.
	Folder string `json:"folder"`
	// Findings are at most those that a record keeps; Total counts the rest too.
	Findings []drift.Finding `json:"findings"`
	Total    int             `json:"total"`
	// Past are findings that are no more, the newest first.
	Past []drift.Past `json:"past"`
	// Held are the changes that wait.
	Held []v1alpha1.HeldChange `json:"held"`
	// Conditions are the record's.
	Conditions []metav1.Condition `json:"conditions"`
	// History lists the last deployments, the newest first, with their images.
	History []HistoryDeployment `json:"history"`
	// Pins are the digests that references stand for.
	Pins []v1alpha1.PinnedImage `json:"pins"`
	// Objects are those that were applied, without a word of how they are; Runner.Objects says that.
	Objects []manifest.ID `json:"objects"`
}

// Name is how a target is written: session-enrichment@prod.
func (t *TargetView) Name() string {
	return v1alpha1.Target{Pipeline: t.Pipeline, Environment: t.Environment}.String()
}

// Drift counts the findings of a severity that are not only waiting.
func (t *TargetView) Drift(severity drift.Severity) int {
	n := 0
	for _, f := range t.Findings {
		if f.Severity == severity && f.Kind != drift.Held {
			n++
		}
	}
	return n
}

// news is what Runner.Status says of a target: nothing where it is ready and nobody changed it.
func (t *TargetView) news() string {
	var parts, touched []string
	if t.State != drift.Ready && t.Message != "" {
		parts = append(parts, t.Message)
	}
	for _, f := range t.Findings {
		switch f.Kind {
		case drift.Held: // the message of the state has it
		case drift.Modified:
			if object := f.Object.String(); !slices.Contains(touched, object) {
				touched = append(touched, object)
			}
		default:
			parts = append(parts, f.Message)
		}
	}
	if len(touched) > 0 {
		parts = append(parts, "changed by hand: "+manifest.Shorten(touched))
	}
	return strings.Join(parts, "; ")
}

// EventKind says what happened.
type EventKind string

const (
	EventDeployed   EventKind = "Deployed"   // a commit was applied
	EventRolledBack EventKind = "RolledBack" // a commit was applied that returns to an earlier deployment
	EventHealthy    EventKind = "Healthy"    // a deployment became healthy
	EventHeld       EventKind = "Held"       // a change waits
	EventFailed     EventKind = "Failed"     // a commit could not be applied, or a deployment is not healthy
	EventDrifted    EventKind = "Drifted"    // somebody changed the cluster
	EventEnded      EventKind = "Ended"      // drift is no more: it was corrected, or somebody else took it back
)

// EventView is something that happened to a target, as its record tells it.
type EventView struct {
	Time        time.Time      `json:"time"`
	Kind        EventKind      `json:"kind"`
	Pipeline    string         `json:"pipeline"`
	Environment string         `json:"environment"`
	Commit      string         `json:"commit"` // empty: it is about none
	Severity    drift.Severity `json:"severity"`
	Message     string         `json:"message"` // a sentence
}

// ReplicaView is the process that shows this.
type ReplicaView struct {
	Identity string `json:"identity"`
	Version  string `json:"version"`
	// Leads are the Leases that it holds; with leader election off, "all".
	Leads []string `json:"leads"`
}

// Target finds a target; nil where there is none.
func (v *View) Target(pipeline, environment string) *TargetView {
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

// Report is the drift report of what the view knows: the findings of the last look at each target, by the records, which
// keep at most 50 of each.
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

// Status is what runs where, by the records.
func (v *View) Status(selection v1alpha1.Selection) Status {
	out := Status{Targets: []TargetStatus{}}
	for _, t := range v.Targets {
		if !selection.Has(v1alpha1.Target{Pipeline: t.Pipeline, Environment: t.Environment}) {
			continue
		}
		s := TargetStatus{
			Pipeline: t.Pipeline, Environment: t.Environment, Commit: t.Commit, Ready: t.State == drift.Ready, Held: t.State == drift.Waiting,
			Message: t.news(), Images: []v1alpha1.DeployedImage{}, DeployedAt: t.DeployedAt,
			Drifted: t.Drift(drift.Critical)+t.Drift(drift.Warning)+t.Drift(drift.Info) > 0,
		}
		if t.DeployedAt != nil {
			s.Age = duration.HumanDuration(max(0, v.At.Sub(*t.DeployedAt)))
		}
		for _, image := range t.Images {
			s.Images = append(s.Images, v1alpha1.DeployedImage{Reference: image.Reference, Tag: chosenTag(t.Pins, HistoryImage(image)), Digest: image.Digest})
		}
		out.Targets = append(out.Targets, s)
	}
	slices.SortFunc(out.Targets, func(a, b TargetStatus) int { // as the command does
		return v1alpha1.Target{Pipeline: a.Pipeline, Environment: a.Environment}.Compare(v1alpha1.Target{Pipeline: b.Pipeline, Environment: b.Environment})
	})
	return out
}

// History lists the deployments of a target; false where there is no such target.
func (v *View) History(pipeline, environment string) (History, bool) {
	t := v.Target(pipeline, environment)
	if t == nil {
		return History{}, false
	}
	return History{Pipeline: pipeline, Environment: environment, Deployments: t.History}, true
}

// Arrival is what has become of a commit in one target.
type Arrival string

const (
	Arrived   Arrival = "Arrived"   // the target runs it
	Replaced  Arrival = "Replaced"  // it ran, and a newer deployment took its place
	Untouched Arrival = "Untouched" // it changes nothing there, or a newer commit was deployed in its place
	Awaited   Arrival = "Awaited"   // it is held
	Refused   Arrival = "Refused"   // it could not be applied
	Pending   Arrival = "Pending"   // it has not come that far
)

// ArrivalView is what has become of a commit in one target, and why.
type ArrivalView struct {
	Pipeline    string             `json:"pipeline"`
	Environment string             `json:"environment"`
	Arrival     Arrival            `json:"arrival"`
	Message     string             `json:"message"`
	Deployment  *HistoryDeployment `json:"deployment"` // that carried it out; nil: none
}

// Commit finds a commit by its hash, or by the beginning of one: among those of the source, and among those that were
// deployed. nil where there is none, or more than one.
func (v *View) Commit(prefix string) *CommitView {
	const shortest = 4
	if len(prefix) < shortest {
		return nil
	}
	byHash := map[string]*CommitView{}
	for i, c := range v.Commits {
		if strings.HasPrefix(c.Hash, prefix) {
			byHash[c.Hash] = &v.Commits[i]
		}
	}
	for _, t := range v.Targets {
		for _, d := range t.History {
			if strings.HasPrefix(d.Commit, prefix) && byHash[d.Commit] == nil {
				byHash[d.Commit] = &CommitView{Hash: d.Commit, Author: d.Author, Subject: d.Subject, Time: d.Time}
			}
		}
	}
	if len(byHash) != 1 {
		return nil
	}
	for _, c := range byHash {
		return c
	}
	return nil
}

// Arrivals says of each target what has become of a commit, by the full hash.
func (v *View) Arrivals(commit string) []ArrivalView {
	place := map[string]int{} // the smaller, the newer
	for i, c := range v.Commits {
		place[c.Hash] = i
	}
	at, listed := place[commit]
	out := make([]ArrivalView, 0, len(v.Targets))
	for i := range v.Targets {
		t := &v.Targets[i]
		a := ArrivalView{Pipeline: t.Pipeline, Environment: t.Environment}
		for n := range t.History {
			if t.History[n].Commit == commit {
				a.Deployment = &t.History[n]
				break
			}
		}
		applied, known := place[t.Commit]
		newer := listed && known && applied < at // what was applied last comes after it
		switch {
		case a.Deployment != nil && a.Deployment.Outcome == record.HeldInPart:
			a.Arrival, a.Message = Awaited, t.Message
		case a.Deployment != nil && a.Deployment.Outcome == record.Failed && !newer:
			a.Arrival, a.Message = Refused, t.Message
		case a.Deployment != nil && len(t.History) > 0 && t.History[0].Number == a.Deployment.Number:
			a.Arrival, a.Message = Arrived, t.Message
		case a.Deployment != nil:
			a.Arrival, a.Message = Replaced, "a later deployment took its place"
		case newer || t.Behind == 0:
			a.Arrival, a.Message = Untouched, "it changes nothing here, or a newer commit came in its place"
		case !listed:
			a.Arrival, a.Message = Untouched, "it is not among the deployments that the record keeps"
		case t.State == drift.Waiting:
			a.Arrival, a.Message = Awaited, t.Message
		case t.State == drift.Failed:
			a.Arrival, a.Message = Refused, t.Message
		default:
			a.Arrival, a.Message = Pending, "it has not been carried out here yet"
		}
		out = append(out, a)
	}
	return out
}
