package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestInstall runs the scripts below testdata/install one after the other, on an API server of their own: they install
// and remove what a cluster has once.
func TestInstall(t *testing.T) {
	p := startParts(t)
	params := p.params(t, "testdata/install")
	testscript.RunT(inTurn{t}, params)
}

// inTurn runs scripts one at a time.
type inTurn struct{ *testing.T }

func (t inTurn) Parallel()     {}
func (t inTurn) Verbose() bool { return testing.Verbose() }

func (t inTurn) Run(name string, script func(testscript.T)) {
	t.T.Run(name, func(t *testing.T) { script(inTurn{t}) })
}
