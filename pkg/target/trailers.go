package target

import (
	"context"
	"regexp"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/source"
)

// allowPromotion allows references that the other environment never deployed.
var allowPromotion = regexp.MustCompile(`(?mi)^Syncer-Allow-Promotion:[ \t]*(\S+)[ \t]*$`)

// allowPrune allows one commit to delete more than the limits allow.
var allowPrune = regexp.MustCompile(`(?mi)^Syncer-Allow-Prune:[ \t]*(\S+)[ \t]*$`)

// Allowed holds the permissions of commit trailers.
type Allowed struct {
	// Prunes are the targets that may delete more than the limits allow.
	Prunes map[v1alpha1.Target]bool
	// Promotions are the targets whose new references need no promotion, with the author of the trailer.
	Promotions map[v1alpha1.Target]string
}

// Any reports whether a trailer names a target.
func (a Allowed) Any(target v1alpha1.Target) bool {
	return a.Prunes[target] || a.Promotions[target] != ""
}

// Trailers reads the permissions of the commits that are new to targets, as far as the fetched history reaches. Commits
// that cannot be read allow nothing.
func (p *Planner) Trailers(ctx context.Context, targets []*Desired) Allowed {
	since := map[string][]source.Commit{} // by the commit applied last
	out := Allowed{Prunes: map[v1alpha1.Target]bool{}, Promotions: map[v1alpha1.Target]string{}}
	for _, d := range targets {
		from := ""
		if d.Record != nil {
			from = d.Record.Status.LastAppliedCommit
		}
		if from == d.Snapshot.Commit {
			continue
		}
		if attempted := lastAttempted(d.Record); from == "" && attempted != d.Snapshot.Commit {
			from = attempted // it was never applied: the commits since it was last tried count
		}
		commits, ok := since[from]
		if !ok {
			var err error
			if commits, err = p.trail.since(ctx, p.Source, from, d.Snapshot.Commit); err != nil {
				p.Log.Warn("reading the commit messages since the last applied commit", "from", from, "error", err)
			}
			since[from] = commits
		}
		for _, commit := range commits {
			if !hasTrailer(commit, allowPrune, d.Target) && !hasTrailer(commit, allowPromotion, d.Target) || !p.Trust.Signs(ctx, p.Source, d.Environment.Name, commit.Hash) {
				continue
			}
			if hasTrailer(commit, allowPrune, d.Target) {
				out.Prunes[d.Target] = true
			}
			if hasTrailer(commit, allowPromotion, d.Target) {
				out.Promotions[d.Target] = commit.Author
			}
		}
	}
	return out
}

func lastAttempted(record *v1alpha1.PipelineSync) string {
	if record == nil {
		return ""
	}
	return record.Status.LastAttemptedCommit
}

// hasTrailer reports whether a commit has a trailer that names a target.
func hasTrailer(commit source.Commit, trailer *regexp.Regexp, target v1alpha1.Target) bool {
	for _, match := range trailer.FindAllStringSubmatch(commit.Message, -1) {
		if match[1] == target.Pipeline || match[1] == target.String() {
			return true
		}
	}
	return false
}
