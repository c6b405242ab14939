package main

import (
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/reconcile"
)

// A person with the right to commit chooses the name of a folder. The name must not control the terminal of the person
// who deploys.
func TestProgressShowsEscapeSequences(t *testing.T) {
	var out strings.Builder
	p := newProgress(&out)
	p.step(commands.Progress{Target: v1alpha1.Target{Pipeline: "ev\x1b[31mil", Environment: "dev"}, Total: 1, Result: &reconcile.Result{Result: reconcile.Failed}})
	if want := "syncer: 1/1 ev\\u001b[31mil@dev Failed\n"; out.String() != want {
		t.Errorf("it is %q; want %q", out.String(), want)
	}
}
