package target

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/source"
)

func TestTrailersNameATarget(t *testing.T) {
	etl := v1alpha1.Target{Pipeline: "etl", Environment: "prod"}
	for message, want := range map[string]bool{
		"Clean up\n\nSyncer-Allow-Prune: etl":                                true,
		"Clean up\n\nSyncer-Allow-Prune: etl@prod\n":                         true,
		"Clean up\n\nsyncer-allow-prune:\tetl  \nSigned-off-by: Ada":         true,
		"Clean up\n\nSyncer-Allow-Prune: other\nSyncer-Allow-Prune: etl":     true,
		"Clean up\n\nSyncer-Allow-Prune: etl@dev":                            false,
		"Clean up\n\nSyncer-Allow-Prune: etl other":                          false,
		"Clean up\n\nSyncer-Allow-Promotion: etl":                            false,
		"Why `Syncer-Allow-Prune: etl` is not written here, but in the next": false,
	} {
		if got := hasTrailer(source.Commit{Message: message}, allowPrune, etl); got != want {
			t.Errorf("%q: %t", message, got)
		}
	}
}

// log is a repository with some commits, the newest first, which notes from where it was read.
type log struct {
	unread
	commits []source.Commit
	from    []string
}

func (l *log) Since(_ context.Context, from, _ string) ([]source.Commit, error) {
	l.from = append(l.from, from)
	return l.commits, l.err
}

// at is a target whose record has the commits that were applied and attempted last.
func at(name, applied, attempted string) *Desired {
	d := wanted(name)
	d.Snapshot.Commit = "new"
	d.Record = &v1alpha1.PipelineSync{Status: v1alpha1.PipelineSyncStatus{LastAppliedCommit: applied, LastAttemptedCommit: attempted}}
	return d
}

func TestTrailersOfTheCommitsThatAreNewToATarget(t *testing.T) {
	first := wanted("first")
	first.Snapshot.Commit = "new"
	for name, c := range map[string]struct {
		target *Desired
		from   string // "-": the history is not read
	}{
		"never deployed":             {first, ""},
		"at the commit":              {at("a", "new", "new"), "-"},
		"behind":                     {at("a", "old", "old"), "old"},
		"never applied, tried once":  {at("a", "", "old"), "old"},
		"never applied, tried again": {at("a", "", "new"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			repository := &log{commits: []source.Commit{
				{Author: "Ada", Message: "One\n\nSyncer-Allow-Promotion: " + c.target.Target.Pipeline},
				{Author: "Bob", Message: "Two\n\nSyncer-Allow-Prune: " + c.target.Target.String()},
			}}
			allowed := (&Planner{Source: repository}).Trailers(t.Context(), []*Desired{c.target})
			if c.from == "-" {
				if len(repository.from) > 0 || allowed.Any(c.target.Target) {
					t.Errorf("read from %q, and allowed %+v", repository.from, allowed)
				}
				return
			}
			if len(repository.from) != 1 || repository.from[0] != c.from {
				t.Errorf("read from %q, want %q", repository.from, c.from)
			}
			if of := c.target.Target; !allowed.Prunes[of] || allowed.Promotions[of] != "Ada" || !allowed.Any(of) {
				t.Errorf("allowed: %+v", allowed)
			}
		})
	}
}

func TestHistoryIsReadOnceForManyTargetsAndItsFaultAllowsNothing(t *testing.T) {
	var said bytes.Buffer
	repository := &log{unread: unread{errors.New("no such commit")}}
	p := &Planner{Source: repository, Log: slog.New(slog.NewTextHandler(&said, nil))}
	allowed := p.Trailers(t.Context(), []*Desired{at("a", "old", ""), at("b", "old", "")})
	if len(repository.from) != 1 || len(allowed.Prunes)+len(allowed.Promotions) > 0 || !strings.Contains(said.String(), "no such commit") {
		t.Errorf("read from %q, allowed %+v, logged %s", repository.from, allowed, &said)
	}
}
