package view

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/record"
)

// EventKind names what happened.
type EventKind string

const (
	EventDeployed   EventKind = "Deployed"   // a commit was applied
	EventRolledBack EventKind = "RolledBack" // a commit was applied that returns to an earlier deployment
	EventHealthy    EventKind = "Healthy"    // a deployment became healthy
	EventHeld       EventKind = "Held"       // a change waits
	EventFailed     EventKind = "Failed"     // a commit could not be applied, or a deployment is not healthy
	EventDrifted    EventKind = "Drifted"    // the cluster was changed
	EventEnded      EventKind = "Ended"      // drift ended: syncer corrected it, or another client took it back
)

// Event is something that happened to a target, by its record.
type Event struct {
	Time        time.Time      `json:"time"`
	Kind        EventKind      `json:"kind"`
	Pipeline    string         `json:"pipeline"`
	Environment string         `json:"environment"`
	Commit      string         `json:"commit"` // empty: the event is about no commit
	Severity    drift.Severity `json:"severity"`
	Message     string         `json:"message"` // a sentence
}

// eventsOf lists the events of a target that its record keeps.
func eventsOf(t *Target) []Event {
	var out []Event
	add := func(at time.Time, kind EventKind, commit string, severity drift.Severity, message string) {
		out = append(out, Event{Time: at.UTC(), Kind: kind, Pipeline: t.Pipeline, Environment: t.Environment, Commit: commit, Severity: severity, Message: message})
	}
	for i, d := range t.Deployments {
		switch {
		case d.Outcome == record.Failed:
			message := d.Subject
			if i == 0 {
				message = t.Message
			}
			add(d.Time, EventFailed, d.Commit, drift.Critical, message)
		case d.Outcome == record.HeldInPart:
			add(d.Time, EventHeld, d.Commit, drift.Info, d.Subject)
		case d.RollbackOf != 0:
			add(d.Time, EventRolledBack, d.Commit, drift.Info, d.Subject)
		default:
			add(d.Time, EventDeployed, d.Commit, drift.Info, d.Subject)
		}
		if d.HealthyAt != nil {
			add(*d.HealthyAt, EventHealthy, d.Commit, drift.Info, "every object is healthy")
		}
	}
	ready := meta.FindStatusCondition(t.Conditions, v1alpha1.ConditionReady)
	if listed := len(t.Deployments) > 0 && t.Deployments[0].Outcome == record.Failed; ready != nil && t.State == drift.Failed && !listed {
		add(ready.LastTransitionTime.Time, EventFailed, "", drift.Critical, ready.Message)
	}
	for _, f := range t.Findings {
		if at := f.Since(); at != nil && f.Kind != drift.Held {
			add(*at, EventDrifted, "", f.Severity, f.Message)
		}
	}
	for _, p := range t.Past {
		if at := p.Since(); at != nil {
			add(*at, EventDrifted, "", p.Severity, p.Message)
		}
		message := "somebody took it back, or git follows: "
		if p.Ending == drift.Corrected {
			message = "put right: "
		}
		add(p.EndedAt, EventEnded, "", drift.Info, message+p.Message)
	}
	for _, h := range t.Held {
		add(h.Since.Time, EventHeld, "", drift.Info, h.Message)
	}
	return out
}
