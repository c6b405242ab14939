package trust

import (
	"fmt"
	"regexp"
	"time"
)

// Entry is a commit object in a history.
type Entry struct {
	Hash    string
	Parents []string
	Raw     []byte
}

// History has the commits that are new since a trusted one, with the newest as the first.
type History struct {
	Commits []Entry
	// Missing is a parent that could not be read; empty: there is none.
	Missing string
	// More says that there are more commits than were read.
	More bool
}

// Untrusted is a commit that is not trusted, and why.
type Untrusted struct {
	Hash   string
	Commit Commit
	Verdict
	// Others counts further commits that are not trusted.
	Others int
}

// Message says who made the commit, what is wrong with it, and what to do.
func (u *Untrusted) Message() string {
	who := ""
	if u.Commit.Author != "" {
		who = " by " + u.Commit.Author
		if u.Commit.Committer != u.Commit.Author && u.Commit.Committer != "" {
			who += ", committed by " + u.Commit.Committer
		}
		who = "commit " + short(u.Hash) + who + ": "
	}
	others := ""
	if u.Others > 0 {
		others = fmt.Sprintf(" (and %d more commits are not trusted)", u.Others)
	}
	return who + u.Text + others + "; " + u.Advice()
}

func short(hash string) string { return hash[:min(len(hash), 8)] }

// vouch is the trailer of a signed commit that vouches for an earlier one which is not signed.
var vouch = regexp.MustCompile(`(?mi)^Syncer-Trust:[ \t]*([0-9a-f]{40})[ \t]*$`)

// Judge judges histories by one set of keys, at one time. It remembers the signatures that were good: one goroutine uses it.
type Judge struct {
	signers *Signers
	good    map[string]Verdict // by hash
}

// NewJudge returns a judge that has seen nothing.
func NewJudge(signers *Signers) *Judge { return &Judge{signers: signers, good: map[string]Verdict{}} }

// mostRemembered bounds the memory of a judge.
const mostRemembered = 100_000

// Signature judges the signature of one commit.
func (j *Judge) Signature(e Entry, now time.Time) *Untrusted {
	if _, known := j.good[e.Hash]; known {
		return nil
	}
	commit := ReadCommit(e.Raw)
	verdict := j.signers.Judge(commit, now)
	if !verdict.Trusted() {
		return &Untrusted{Hash: e.Hash, Commit: commit, Verdict: verdict}
	}
	if len(j.good) >= mostRemembered {
		clear(j.good)
	}
	j.good[e.Hash] = verdict
	return nil
}

// By returns the signature of a commit that was found good.
func (j *Judge) By(hash string) Verdict { return j.good[hash] }

// NewestSigned returns the newest commit, along first parents, that has a good signature; empty: none. why says why the newest
// commit of all is not trusted; nil: it is.
func (j *Judge) NewestSigned(h History, now time.Time) (trusted string, why *Untrusted) {
	for _, e := range mainLine(h) {
		refused := j.Signature(e, now)
		if refused == nil {
			return e.Hash, why
		}
		if why == nil {
			why = refused
		}
	}
	return "", why
}

// NewestWhole returns the newest commit, along first parents, of which every commit of the history that leads to it has a good
// signature, or is vouched for in the message of one that has; empty: none. why says what keeps the newest commit of all from
// being trusted; nil: it is. A history that is not complete is not trusted.
func (j *Judge) NewestWhole(h History, now time.Time) (trusted string, why *Untrusted) {
	if len(h.Commits) == 0 {
		return "", &Untrusted{Verdict: Verdict{Reason: HistoryCut, Text: "the commit cannot be read"}}
	}
	w := j.weigh(h, now)
	if h.More {
		newest := h.Commits[0]
		return "", &Untrusted{Hash: newest.Hash, Commit: ReadCommit(newest.Raw), Verdict: Verdict{
			Reason: HistoryTooBig, Text: fmt.Sprintf("there are more than %d commits since the last one that was verified, and only so many are read", len(h.Commits)-1),
		}}
	}
	for _, e := range mainLine(h) {
		refused := w.refuse(e)
		if refused == nil {
			return e.Hash, why
		}
		if why == nil {
			why = refused
		}
	}
	return "", why
}

// mainLine is the newest commit with its first parents, as far as the history has them.
func mainLine(h History) []Entry {
	if len(h.Commits) == 0 {
		return nil
	}
	byHash := index(h)
	var out []Entry
	for e, ok := h.Commits[0], true; ok && len(out) < len(h.Commits); e, ok = byHash[e.Parents[0]] {
		out = append(out, e)
		if len(e.Parents) == 0 {
			break
		}
	}
	return out
}

func index(h History) map[string]Entry {
	out := make(map[string]Entry, len(h.Commits))
	for _, e := range h.Commits {
		out[e.Hash] = e
	}
	return out
}

// weighed is a history of which each signature was judged.
type weighed struct {
	commits map[string]Entry
	refused map[string]*Untrusted
	vouched map[string][]string // by the signed commit that vouches for them
	missing string
}

func (j *Judge) weigh(h History, now time.Time) *weighed {
	w := &weighed{commits: index(h), refused: map[string]*Untrusted{}, vouched: map[string][]string{}, missing: h.Missing}
	for _, e := range h.Commits {
		if refused := j.Signature(e, now); refused != nil {
			w.refused[e.Hash] = refused
			continue
		}
		for _, match := range vouch.FindAllSubmatch(e.Raw, -1) {
			w.vouched[e.Hash] = append(w.vouched[e.Hash], string(match[1]))
		}
	}
	return w
}

// refuse says why a commit is not trusted with all that leads to it; nil: it is. Its own signature has to be good: nobody can
// vouch for the newest commit.
func (w *weighed) refuse(of Entry) *Untrusted {
	reached, vouched := []Entry{of}, map[string]bool{}
	cut := ""
	seen := map[string]bool{of.Hash: true}
	for i := 0; i < len(reached); i++ {
		e := reached[i]
		for _, hash := range w.vouched[e.Hash] {
			vouched[hash] = true
		}
		for _, parent := range e.Parents {
			next, known := w.commits[parent]
			if parent == w.missing {
				cut = parent
			}
			if known && !seen[parent] {
				seen[parent] = true
				reached = append(reached, next)
			}
		}
	}
	var first *Untrusted
	others := 0
	for i, e := range reached {
		refused := w.refused[e.Hash]
		if refused == nil || i > 0 && vouched[e.Hash] {
			continue
		}
		if first == nil {
			first = refused
		} else {
			others++
		}
	}
	switch {
	case first != nil:
		out := *first
		out.Others = others
		return &out
	case cut != "":
		return &Untrusted{Hash: of.Hash, Commit: ReadCommit(of.Raw), Verdict: Verdict{
			Reason: HistoryCut, Text: fmt.Sprintf("the commits since the last one that was verified cannot be read: the repository does not have the parent %s, as where it is a shallow clone", short(cut)),
		}}
	}
	return nil
}
