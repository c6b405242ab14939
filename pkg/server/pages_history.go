package server

import (
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/drift"
)

// historyDay are the deployments of one day.
type historyDay struct {
	Day     string
	Entries []historyEntry
}

// historyEntry is one deployment of one target.
type historyEntry struct {
	drift.Deployment
	Environment string
	Runs        bool // it is the running deployment
	Changed     []drift.Image
	Back        string // the command that returns to it; empty: there is none
}

// historyOf lists the deployments of some targets, the newest first.
func historyOf(targets []*targetSection) []historyDay {
	var entries []historyEntry
	for _, t := range targets {
		runs := slices.IndexFunc(t.Deployments, func(d drift.Deployment) bool { return d.Outcome == "Applied" })
		for i, d := range t.Deployments {
			e := historyEntry{Deployment: d, Environment: t.Environment, Runs: i == runs, Changed: d.Images}
			if i+1 < len(t.Deployments) {
				e.Changed = newIn(d.Images, t.Deployments[i+1].Images)
			}
			if d.Outcome == "Applied" && (!e.Runs || t.LeftGit) {
				e.Back = rollback(t.Folder, t.Pipeline, d.Commit)
			}
			entries = append(entries, e)
		}
	}
	slices.SortStableFunc(entries, func(a, b historyEntry) int { return b.Time.Compare(a.Time) })
	var days []historyDay
	for _, e := range entries {
		day := e.Time.UTC().Format("Monday, 2 January 2006")
		if n := len(days); n == 0 || days[n-1].Day != day {
			days = append(days, historyDay{Day: day})
		}
		days[len(days)-1].Entries = append(days[len(days)-1].Entries, e)
	}
	return days
}

// newIn lists the images that the deployment before did not run.
func newIn(images, before []drift.Image) []drift.Image {
	return slices.DeleteFunc(slices.Clone(images), func(i drift.Image) bool {
		return slices.ContainsFunc(before, func(b drift.Image) bool { return b.Reference == i.Reference && b.Digest == i.Digest })
	})
}

// rollback is the command that gives a pipeline's folder the files of an earlier commit, as a commit of its own: the
// pipelines beside it stay as they are, which a revert of all commits since would not leave them. Empty: there is none
// that can be given with certainty.
func rollback(folder, name, commit string) string {
	if folder == "" || !isHash(commit) || drift.VisibleLines(folder) != folder || strings.Contains(folder, "\n") {
		return ""
	}
	if strings.HasPrefix(folder, ":") || strings.ContainsAny(folder, `*?[\`) {
		folder = ":(literal)" + folder // git would take it for a pattern
	}
	return "git restore --source=" + commit + " --staged --worktree -- " + quoted(folder) + " &&\n" +
		"git commit -m " + quoted("Roll back "+drift.VisibleLines(name)+" to "+commit[:min(len(commit), 8)])
}

func isHash(text string) bool {
	return len(text) >= 40 && strings.Trim(text, "0123456789abcdef") == ""
}

// quoted is a text as one word of a shell.
func quoted(text string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./@%+=,"
	if text != "" && strings.Trim(text, plain) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
