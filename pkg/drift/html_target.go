package drift

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// pageRow is a pipeline.
type pageRow struct {
	Pipeline string
	Cells    []*pageTarget // by environment; nil: not there
}

// pageTarget is a target: short in the matrix, and whole in a section of its own.
type pageTarget struct {
	Target
	Now         time.Time
	Anchor      string
	Class, Sign string // of the state
	Objects     []ObjectFindings
	Totals      []pageTotal
	Count       int
	// Fold says that there are more findings on the page than a reader takes in; Open, that these are open all the same.
	Fold, Open bool
}

// ObjectFindings are the findings of one object, for the template "object" of Parts.
type ObjectFindings struct {
	ID       manifest.ID
	Findings []ShownFinding
}

// ShownFinding is a finding with the page's own text.
type ShownFinding struct {
	Finding
	Advice string    // the part of Message that the page does not show elsewhere
	Now    time.Time // to which its age counts
}

// states are the class and the sign of each state of a target.
var states = map[State][2]string{
	Ready: {"ok", "✓"}, Progressing: {"info", "…"}, Waiting: {"warning", "‖"}, Failed: {"critical", "✕"}, Unknown: {"info", "?"},
}

// unfolded is how many findings a page shows all at once.
const unfolded = 50

// targets places the targets in the matrix and, by how much they ask of a reader, in the lists of sections.
func (p *pageData) targets() {
	byAnchor := map[string]*pageTarget{}
	var order []*pageTarget
	find := func(t Target) *pageTarget {
		at := anchor(t.Pipeline, t.Environment)
		if byAnchor[at] == nil {
			state := states[t.State]
			byAnchor[at] = &pageTarget{Target: t, Now: p.Now, Anchor: at, Class: state[0], Sign: state[1]}
			order = append(order, byAnchor[at])
		}
		return byAnchor[at]
	}
	rows := map[string]int{}
	for _, t := range p.Report.Targets {
		if !slices.Contains(p.Environments, t.Environment) {
			p.Environments = append(p.Environments, t.Environment)
		}
		if _, ok := rows[t.Pipeline]; !ok {
			rows[t.Pipeline] = len(p.Rows)
			p.Rows = append(p.Rows, pageRow{Pipeline: t.Pipeline})
		}
		find(t)
	}
	for i := range p.Rows {
		p.Rows[i].Cells = make([]*pageTarget, len(p.Environments))
	}
	for _, t := range order {
		p.Rows[rows[t.Pipeline]].Cells[slices.Index(p.Environments, t.Environment)] = t
	}

	found := map[string][]Finding{}
	for _, f := range p.Report.Findings {
		t := find(Target{Pipeline: f.Pipeline, Environment: f.Environment}) // of a report without targets, too
		found[t.Anchor] = append(found[t.Anchor], f)
	}
	for _, t := range order {
		t.add(found[t.Anchor])
		t.Fold = len(p.Report.Findings) > unfolded
		switch {
		case t.Error != "":
			p.Errors = append(p.Errors, t)
		case t.Count > 0:
			p.Differing = append(p.Differing, t)
		case t.State != Ready:
			p.NotReady = append(p.NotReady, t)
		default:
			p.Calm = append(p.Calm, t)
		}
	}
}

func (t *pageTarget) add(findings []Finding) {
	t.Count, t.Totals = len(findings), totals(findings)
	t.Open = slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Critical })
	t.Objects = ByObject(t.Now, findings)
}

// ByObject groups sorted findings by object. Advice that is the same for all of an object is given once.
func ByObject(now time.Time, findings []Finding) []ObjectFindings {
	var objects []ObjectFindings
	said := map[string]bool{}
	for _, f := range findings {
		if n := len(objects); n == 0 || objects[n-1].ID != f.Object {
			objects = append(objects, ObjectFindings{ID: f.Object})
			clear(said)
		}
		shown := ShownFinding{Finding: f, Advice: advice(f), Now: now}
		if said[shown.Advice] {
			shown.Advice = ""
		}
		said[shown.Advice] = true
		object := &objects[len(objects)-1]
		object.Findings = append(object.Findings, shown)
	}
	return objects
}

// advice is the part of a message beyond the two values, the path and the object, which stand above it.
func advice(f Finding) string {
	what, more, ok := strings.Cut(f.Message, "; ")
	if !ok || f.Path == "" || !strings.Contains(what, f.Path) || !strings.Contains(what, f.Object.String()) {
		return f.Message
	}
	if more == "git sets it" || more == "git does not have it" {
		return "" // an empty side says so
	}
	return more
}

// anchor is an id for a target.
func anchor(pipeline, environment string) string {
	return "target-" + Fragment(pipeline) + "_at_" + Fragment(environment) // _at_ is never in a fragment: between two underscores stands a number
}

// Fragment is a name as a part of an id. A name may have characters that an id and a link may not, and two names must
// not give one id: all but a few characters are written as numbers.
func Fragment(name string) string {
	var out strings.Builder
	for _, r := range name {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			out.WriteRune(r)
		} else {
			fmt.Fprintf(&out, "_%x_", r)
		}
	}
	return out.String()
}
