package view

import (
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/record"
)

// ArrivalKind names what became of a commit in one target.
type ArrivalKind string

const (
	Arrived   ArrivalKind = "Arrived"   // the target runs it
	Replaced  ArrivalKind = "Replaced"  // it ran, and a newer deployment took its place
	Untouched ArrivalKind = "Untouched" // it changes nothing there, or a newer commit was deployed in its place
	Awaited   ArrivalKind = "Awaited"   // it is held
	Refused   ArrivalKind = "Refused"   // it could not be applied
	Pending   ArrivalKind = "Pending"   // it is still to come
)

// Arrival is what became of a commit in one target, and why.
type Arrival struct {
	Pipeline    string            `json:"pipeline"`
	Environment string            `json:"environment"`
	Arrival     ArrivalKind       `json:"arrival"`
	Message     string            `json:"message"`
	Deployment  *drift.Deployment `json:"deployment"` // of the commit; nil: none
}

// Arrivals lists for each target what became of a commit, by its full hash.
func (v *View) Arrivals(commit string) []Arrival {
	place := map[string]int{} // the smaller, the newer
	for i, c := range v.Commits {
		place[c.Hash] = i
	}
	out := make([]Arrival, len(v.Targets))
	for i := range v.Targets {
		out[i] = arrivalOf(&v.Targets[i], commit, place)
	}
	return out
}

func arrivalOf(t *Target, commit string, place map[string]int) Arrival {
	a := Arrival{Pipeline: t.Pipeline, Environment: t.Environment}
	if n := slices.IndexFunc(t.Deployments, func(d drift.Deployment) bool { return d.Commit == commit }); n >= 0 {
		a.Deployment = &t.Deployments[n]
	}
	at, listed := place[commit]
	applied, known := place[t.Commit]
	newer := listed && known && applied < at // the target applied a newer commit last
	switch {
	case a.Deployment != nil && a.Deployment.Outcome == record.HeldInPart:
		a.Arrival, a.Message = Awaited, t.Message
	case a.Deployment != nil && a.Deployment.Outcome == record.Failed && !newer:
		a.Arrival, a.Message = Refused, t.Message
	case a.Deployment != nil && t.Deployments[0].Number == a.Deployment.Number:
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
	return a
}

// Commit finds a commit of the source, or one that was deployed, by its hash or by the first digits of it. It returns nil
// if there is none, or more than one.
func (v *View) Commit(prefix string) *Commit {
	const shortest = 4
	if len(prefix) < shortest {
		return nil
	}
	byHash := map[string]*Commit{}
	for i, c := range v.Commits {
		if strings.HasPrefix(c.Hash, prefix) {
			byHash[c.Hash] = &v.Commits[i]
		}
	}
	for _, t := range v.Targets {
		for _, d := range t.Deployments {
			if strings.HasPrefix(d.Commit, prefix) && byHash[d.Commit] == nil {
				byHash[d.Commit] = &Commit{Hash: d.Commit, Author: d.Author, Subject: d.Subject, Time: d.Time}
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
