package commands

import (
	"slices"

	"github.com/syncerdev/syncer/pkg/follow"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/source"
)

// Pass is what a sync did, or what a diff says that one would do.
type Pass struct {
	Commit  string             `json:"commit"`
	Targets []reconcile.Result `json:"targets"`

	// Rewound is the commit where the branch stood before a force push, when this pass was the one to see it.
	Rewound string `json:"-"`
	// Refused are the environments that would not follow the commit of a diff.
	Refused []*follow.Refusal `json:"-"`
	Subject string            `json:"-"`
	Author  string            `json:"-"`
}

func newPass(snap source.Snapshot) *Pass {
	return &Pass{Commit: snap.Commit, Targets: []reconcile.Result{}, Rewound: snap.Rewound, Subject: snap.Subject, Author: snap.Author}
}

// Failures counts the targets that failed.
func (p *Pass) Failures() int {
	n := 0
	for _, t := range p.Targets {
		if t.Result == reconcile.Failed {
			n++
		}
	}
	return n
}

// Differs reports whether any target would change.
func (p *Pass) Differs() bool {
	return slices.ContainsFunc(p.Targets, func(t reconcile.Result) bool { return len(t.Changes) > 0 })
}

// overtaken reports whether a target was left to another syncer.
func (p *Pass) overtaken() bool {
	return p != nil && slices.ContainsFunc(p.Targets, func(t reconcile.Result) bool { return reconcile.IsOvertaken(t.Detail.Failure) })
}

// then joins a pass with a later one, which is about the same targets or newer ones. The result of the first one stays where
// the later one found nothing left to do.
func (p *Pass) then(later *Pass) *Pass {
	if p == nil || later == nil {
		return later
	}
	for i := range later.Targets {
		t := &later.Targets[i]
		at := slices.IndexFunc(p.Targets, func(before reconcile.Result) bool { return before.Target() == t.Target() })
		if at >= 0 && t.Result == reconcile.Unchanged && p.Targets[at].Result != reconcile.Failed {
			*t = p.Targets[at]
		}
	}
	if later.Rewound == "" {
		later.Rewound = p.Rewound
	}
	return later
}
