package main

import (
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/reconcile"
)

// Who may commit names a folder, and must not reach the terminal of whoever deploys.
func TestProgressShowsEscapeSequences(t *testing.T) {
	var out strings.Builder
	p := newProgress(&out)
	p.step(commands.Progress{Target: v1alpha1.Target{Pipeline: "ev\x1b[31mil", Environment: "dev"}, Total: 1, Result: &reconcile.Result{Result: reconcile.Failed}})
	if want := "syncer: 1/1 ev\\u001b[31mil@dev Failed\n"; out.String() != want {
		t.Errorf("it is %q; want %q", out.String(), want)
	}
}
