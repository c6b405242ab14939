package drift

import (
	"slices"
	"time"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Kind is the kind of a difference between the cluster and git.
type Kind string

const (
	Modified Kind = "Modified" // a field that git sets has another value, or is gone; without a path, the object was recreated
	Added    Kind = "Added"    // a field, a map key or a list item that git does not have
	Missing  Kind = "Missing"  // an object that git sets is not in the cluster
	Orphaned Kind = "Orphaned" // an object that syncer applied, or that carries its label, is not in git

	NotRerun Kind = "NotRerun" // a run ended, its spec was changed since, and its operator has not run it again
	Held     Kind = "Held"     // a change that git made waits

	NotCompared Kind = "NotCompared" // the API server does not say whether an object is as git says

	TagMoved     Kind = "TagMoved"     // a tag stands for other bytes now than it did when it was deployed
	ImageMissing Kind = "ImageMissing" // a deployed digest is not in its registry any more
)

// Severity is the importance of a finding.
type Severity string

const (
	Critical Severity = "critical"
	Warning  Severity = "warning"
	Info     Severity = "info"
)

// rank orders severities: the higher, the worse.
func (s Severity) rank() int { return slices.Index([]Severity{Info, Warning, Critical}, s) }

// AtLeast reports whether a severity is as bad as another one, or worse.
func (s Severity) AtLeast(other Severity) bool { return s.rank() >= other.rank() }

// Report is the result of `syncer drift`. Its lists are sorted and never nil, so that equal reports print the same bytes.
type Report struct {
	GeneratedAt time.Time `json:"generatedAt"`
	Source      Source    `json:"source"`
	Findings    []Finding `json:"findings"`
	Skew        []Skew    `json:"skew"`
	// Targets are the compared targets, those without findings included.
	Targets []Target `json:"targets"`
	// Past are findings that are no more.
	Past []Past `json:"past"`
	// Quiet counts the differences that a rule kept out of Findings.
	Quiet []Quiet `json:"quiet"`
}

// Fails reports whether anything is at least as bad as a severity: a finding that is not only waiting, or a difference
// between environments that git does not declare, which counts as a warning.
func (r Report) Fails(at Severity) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind != Held && f.Severity.AtLeast(at) }) ||
		Warning.AtLeast(at) && slices.ContainsFunc(r.Skew, func(s Skew) bool { return !s.Declared && !s.Expected })
}

// unknown counts the targets that could not be compared.
func (r Report) unknown() int {
	n := 0
	for _, t := range r.Targets {
		if t.Error != "" {
			n++
		}
	}
	return n
}

// Within leaves out older entries: findings first seen before a time, and past findings that ended before it. A finding
// of unknown age stays.
func (r Report) Within(age time.Duration) Report {
	from := r.GeneratedAt.Add(-age)
	r.Findings = slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Since() != nil && f.Since().Before(from) })
	r.Past = slices.DeleteFunc(slices.Clone(r.Past), func(p Past) bool { return p.EndedAt.Before(from) })
	return r
}

// Finish sorts a report and fills in ages.
func (r *Report) Finish() {
	Sort(r.Findings)
	for i := range r.Findings {
		if at := r.Findings[i].Since(); at != nil {
			r.Findings[i].AgeSeconds = int64(max(0, r.GeneratedAt.Sub(*at)).Seconds())
		}
	}
	slices.SortStableFunc(r.Past, func(a, b Past) int { return b.EndedAt.Compare(a.EndedAt) })
}

// Source is where the desired state comes from.
type Source struct {
	URL    string `json:"url"`
	Branch string `json:"branch"`
	Commit string `json:"commit"`
}

// Finding is one difference between a cluster and the commit last applied there. Values that may not be shown are
// masked before they get here.
type Finding struct {
	Pipeline    string      `json:"pipeline"`
	Environment string      `json:"environment"`
	Kind        Kind        `json:"kind"`
	Severity    Severity    `json:"severity"`
	Object      manifest.ID `json:"object"`
	// Path is empty where the finding is about the whole object.
	Path    string `json:"path"`
	Desired any    `json:"desired"` // nil: git does not have it
	Live    any    `json:"live"`    // nil: the cluster does not have it
	// Manager is the client that wrote the live value, such as kubectl-edit: a program and not a person. Empty: not known.
	Manager     string `json:"manager"`
	Operation   string `json:"operation"` // Apply or Update
	Subresource string `json:"subresource"`
	// User is the author by the API server's audit log; empty without a log or an entry.
	User string `json:"user"`
	// Time is when the manager wrote last; nil: not known.
	Time *time.Time `json:"time"`
	// FirstSeen is when syncer noticed it; nil in a comparison whose result is not kept.
	FirstSeen *time.Time `json:"firstSeen"`
	// AgeSeconds is how old it is, by Time or else by FirstSeen; 0 where neither is known.
	AgeSeconds int64 `json:"ageSeconds"`
	// File and Line are where git sets the desired value, File as a path in the repository; empty and 0: not known.
	File    string `json:"file"`
	Line    int    `json:"line"`
	Message string `json:"message"`
}

// Since is when a finding came to be, as far as that is known.
func (f Finding) Since() *time.Time {
	if f.Time != nil {
		return f.Time
	}
	return f.FirstSeen
}

// Ending is the way in which a finding ended.
type Ending string

const (
	Corrected Ending = "Corrected" // syncer restored git's value
	Gone      Ending = "Gone"      // another writer restored it, or git follows the cluster now
)

// Past is a finding that is no more.
type Past struct {
	Finding
	EndedAt time.Time `json:"endedAt"`
	Ending  Ending    `json:"ending"`
}

// Quiet is a rule that kept differences out of a report, because another manager decides those fields by design.
type Quiet struct {
	Rule   string `json:"rule"`   // "HorizontalPodAutoscaler", or where the configuration has it
	Reason string `json:"reason"` // one clause for a person
	Count  int    `json:"count"`
}

// State is how a target is, in one word.
type State string

const (
	Ready       State = "Ready"       // as git says, and healthy
	Progressing State = "Progressing" // becoming healthy
	Waiting     State = "Held"        // the newest commit waits
	Failed      State = "Failed"      // it could not be carried out, or is not healthy
	Unknown     State = "Unknown"     // it cannot be read
)

// Target is one pipeline in one environment, with its deployment.
type Target struct {
	Pipeline    string `json:"pipeline"`
	Environment string `json:"environment"`
	State       State  `json:"state"`
	Message     string `json:"message"`
	// Error says why the target could not be compared; then it has no findings, which means nothing.
	Error string `json:"error"`
	// Commit is the one last applied; empty: none was.
	Commit  string `json:"commit"`
	Author  string `json:"author"`
	Subject string `json:"subject"`
	// DeployedAt is the time of the running deployment.
	DeployedAt *time.Time `json:"deployedAt"`
	// Behind counts the newer commits, where the newest one changes the target; 0: it does not; -1: not known.
	Behind int     `json:"behind"`
	Images []Image `json:"images"`
	// Unpinned lists values that look like images and are not pinned.
	Unpinned []Unpinned `json:"unpinned"`
	// Deployments are the last ones, the newest first.
	Deployments Deployments `json:"deployments"`
}

// Skew is one field in which two environments of a pipeline differ.
type Skew struct {
	Pipeline     string      `json:"pipeline"`
	Environments []string    `json:"environments"` // two
	Object       manifest.ID `json:"object"`       // as the first environment names it
	Path         string      `json:"path"`         // empty: only one of them has the object
	// Values by environment; nil where an environment does not have the field. Masked where they may not be shown.
	Values map[string]any `json:"values"`
	// Declared says that the overlays differ so; else the clusters do although git does not.
	Declared bool `json:"declared"`
	// Expected says that a difference of this kind belongs to environments, such as a count of replicas.
	Expected bool   `json:"expected"`
	Message  string `json:"message"`
}
