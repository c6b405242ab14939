package view

import "github.com/syncerdev/syncer/pkg/drift"

// History lists the deployments of one target, the newest first.
type History struct {
	Pipeline    string             `json:"pipeline"`
	Environment string             `json:"environment"`
	Deployments []drift.Deployment `json:"deployments"`
}

// History lists the deployments of a target; false: there is no such target.
func (v *View) History(pipeline, environment string) (History, bool) {
	t := v.Target(pipeline, environment)
	if t == nil {
		return History{}, false
	}
	return History{Pipeline: pipeline, Environment: environment, Deployments: t.Deployments}, true
}
