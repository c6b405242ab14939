package trust_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/syncerdev/syncer/pkg/trust"
)

// line makes a history of commits, the newest first; each has the commits that it names as parents. A name that ends in ! is
// of a commit without a signature. `~` in a message stands for the hash of a commit.
func line(t *testing.T, key ssh.Signer, commits ...string) trust.History {
	t.Helper()
	var h trust.History
	for _, each := range commits {
		fields, message, _ := strings.Cut(each, "|")
		parts := strings.Fields(fields)
		name, isUnsigned := strings.CutSuffix(parts[0], "!")
		if at := strings.IndexByte(message, '~'); at >= 0 {
			message = message[:at] + id(message[at+1:])
		}
		e := trust.Entry{Hash: id(name), Raw: unsigned(now, name+"\n\n"+message)}
		if !isUnsigned {
			e.Raw = sshSigned(t, key, e.Raw)
		}
		for _, parent := range parts[1:] {
			e.Parents = append(e.Parents, id(parent))
		}
		h.Commits = append(h.Commits, e)
	}
	return h
}

func id(name string) string { return fmt.Sprintf("%040x", name) }

func TestNewestTrustedCommit(t *testing.T) {
	key := newSSH(t)
	signers := parsed(t, trust.Keys{AllowedSigners: []byte(allowed("ann", "", key.PublicKey()))})
	for name, c := range map[string]struct {
		commits       []string
		missing       string
		more          bool
		signed, whole string // the newest trusted commit
		why           string // of the newest one, in EachCommit
	}{
		"a signed commit":                                       {commits: []string{"b a"}, signed: "b", whole: "b"},
		"an unsigned commit":                                    {commits: []string{"b! a"}, why: "commit 00000000 by Ann <ann@example.com>, committed by Bob <bob@example.com>: it has no signature; sign it"},
		"a signed commit before an unsigned one":                {commits: []string{"c! b", "b a"}, signed: "b", whole: "b", why: "it has no signature"},
		"a signed commit after an unsigned one":                 {commits: []string{"c b", "b! a"}, signed: "c", why: "it has no signature"},
		"a signed one below an unsigned one below a signed one": {commits: []string{"d c", "c! b", "b a"}, signed: "d", whole: "b", why: "it has no signature"},
		"a signed merge of an unsigned branch":                  {commits: []string{"m b s", "b a", "s! a"}, signed: "m", whole: "b", why: "it has no signature"},
		"an unsigned merge of signed commits":                   {commits: []string{"m! b s", "b a", "s a"}, signed: "b", whole: "b", why: "it has no signature"},
		"a branch's signed commit is not the newest one":        {commits: []string{"m! b s", "b! a", "s a"}, why: "(and 1 more commits are not trusted)"},
		"a signed commit vouches for an unsigned one":           {commits: []string{"c b|Syncer-Trust: ~b", "b! a"}, signed: "c", whole: "c"},
		"a commit does not vouch for another than it names":     {commits: []string{"c b|Syncer-Trust: ~x", "b! a"}, signed: "c", why: "it has no signature"},
		"an unsigned commit vouches for none":                   {commits: []string{"d c", "c! b|Syncer-Trust: ~b", "b! a"}, signed: "d", why: "(and 1 more"},
		"nobody vouches for the newest commit":                  {commits: []string{"c! b", "b a|Syncer-Trust: ~c"}, signed: "b", whole: "b", why: "it has no signature"},
		"a parent that is missing":                              {commits: []string{"c b", "b a"}, missing: "a", signed: "c", why: "does not have the parent 00000000"},
		"a missing parent of a later merge only":                {commits: []string{"m b s", "b a", "s r"}, missing: "r", signed: "m", whole: "b", why: "shallow clone"},
		"more commits than are read":                            {commits: []string{"c b", "b a"}, more: true, signed: "c", why: "more than 1 commits"},
		"no commit":                                             {why: "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			h := line(t, key, c.commits...)
			h.More = c.more
			if c.missing != "" {
				h.Missing = id(c.missing)
			}
			check := func(mode, got, want string) {
				if want != "" {
					want = id(want)
				}
				if got != want {
					t.Errorf("%s: %q, want %q", mode, got, want)
				}
			}
			j := trust.NewJudge(signers)
			for range 2 { // the second time, good signatures are known
				newest, why := j.NewestSigned(h, now)
				check("the newest signed one", newest, c.signed)
				if isNewest := len(c.commits) > 0 && newest == h.Commits[0].Hash; isNewest != (why == nil) && len(c.commits) > 0 {
					t.Errorf("%q is trusted, and why is %v", newest, why)
				}
				newest, why = j.NewestWhole(h, now)
				check("the newest one with all before it", newest, c.whole)
				if (why == nil) != (c.why == "") {
					t.Errorf("why is %v, want %q", why, c.why)
				}
				if why != nil && !strings.Contains(why.Message(), c.why) {
					t.Errorf("%q does not say %q", why.Message(), c.why)
				}
			}
		})
	}
}
