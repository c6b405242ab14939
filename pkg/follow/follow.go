// Package follow decides which commit each environment follows: the newest one whose signatures are what the environment demands.
// It reads the files with keys, and the history of the repository; it knows no objects.
package follow

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/trust"
)

// Trust decides which commit each environment follows: the newest one whose signatures are what the environment demands. The zero
// value demands none. It is safe for concurrent use.
type Trust struct {
	environments map[string]*guarded // those that demand signatures
}

// guarded is an environment that demands signatures.
type guarded struct {
	verify v1alpha1.Verify
	now    func() time.Time

	mu      sync.Mutex
	keys    [sha256.Size]byte // of the texts of the keys
	judge   *trust.Judge
	failed  error // why there is no judge
	inForce source.Snapshot
	by      trust.Verdict // the signature of the commit in force, as far as this process has checked it
	before  []string      // commits that were verified before this process began
	decided bool          // about a commit, by these keys
	pending bool          // the last decision could not be made, for a reason that may pass
}

// New reads what a configuration demands. It reads no files: they are read for each commit.
func New(config *v1alpha1.Config, now func() time.Time) (Trust, error) {
	t := Trust{environments: map[string]*guarded{}}
	for i := range config.Environments {
		environment := &config.Environments[i]
		verify, demanded := config.VerifyOf(environment)
		if !demanded {
			continue
		}
		t.environments[environment.Name] = &guarded{verify: verify, now: now}
		if verify.AllowedSignersFile+verify.KeyringFile+verify.RevokedKeysFile != "" {
			continue
		}
		if _, err := trust.Parse(trust.Keys{AllowedSigners: []byte(verify.AllowedSigners), Keyring: []byte(verify.Keyring), RevokedKeys: []byte(verify.RevokedKeys)}); err != nil {
			return Trust{}, fmt.Errorf("the keys of verify for %s: %w", environment.Name, err)
		}
	}
	return t, nil
}

// History is the repository. A *source.Repository is one.
type History interface {
	// At reads a revision.
	At(ctx context.Context, revision string) (source.Snapshot, error)
	// Objects lists commits with what their signatures are over.
	Objects(ctx context.Context, to string, reach source.Reach) (source.Objects, error)
}

// Signature is what is known of the signature of the commit that a target follows. The zero value: none is demanded.
type Signature struct {
	Demanded    bool
	Verified    bool   // the target follows a commit with a good signature; false: it follows none
	Signer, Key string // empty: an earlier process checked it
	// Refused says why the newest commit is not the one that the target follows; nil: it is.
	Refused *Refusal
}

// Refusal says that an environment does not follow a commit, because its signatures are not what the environment demands.
type Refusal struct {
	Environment string
	Commit      string // the newest one, which is refused
	InForce     string // the one that is followed; empty: none is trusted yet
	Reason      trust.Reason
	text        string
}

func (r *Refusal) Error() string {
	stays := "nothing is deployed before a commit is trusted"
	if r.InForce != "" {
		stays = fmt.Sprintf("%.8s stays in force", r.InForce)
	}
	return fmt.Sprintf("%.8s is not trusted for %s, and %s: %s", r.Commit, r.Environment, stays, r.text)
}

// Preview says that the environment would not follow the commit.
func (r *Refusal) Preview() string {
	return fmt.Sprintf("%.8s is not trusted for %s, which would not follow it: %s", r.Commit, r.Environment, r.text)
}

// Followed is the commit that an environment follows.
type Followed struct {
	Snap      source.Snapshot // without a commit: none is trusted yet
	Signature Signature
}

// Environments lists those that demand signatures, sorted.
func (t Trust) Environments() []string { return slices.Sorted(maps.Keys(t.environments)) }

// Changed reports whether another commit may be trusted now than at the last decision, although git is as it was: keys were
// rotated, or a question could not be answered.
func (t Trust) Changed() bool {
	changed := false
	for _, g := range t.environments {
		g.mu.Lock()
		_, sum, _ := g.read()
		changed = changed || g.pending || g.decided && sum != g.keys
		g.mu.Unlock()
	}
	return changed
}

// Follow decides which commit an environment follows, when another one is the newest. records are those of the environment.
func (t Trust) Follow(ctx context.Context, history History, environment string, newest source.Snapshot, records []*v1alpha1.PipelineSync) Followed {
	g := t.environments[environment]
	if g == nil {
		return Followed{Snap: newest}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.load()
	g.pending = false
	g.recall(ctx, history, records)
	refused := g.decide(ctx, history, newest)
	g.decided = true
	out := Followed{Snap: g.inForce, Signature: Signature{Demanded: true, Verified: g.inForce.Commit != "", Signer: g.by.Signer, Key: g.by.Key}}
	if refused != nil {
		out.Signature.Refused = &Refusal{Environment: environment, Commit: newest.Commit, InForce: g.inForce.Commit, Reason: refused.Reason, text: refused.Message()}
	}
	return out
}

// Refuse says why an environment would not follow a commit, and follows nothing; nil: it would.
func (t Trust) Refuse(ctx context.Context, history History, environment string, snap source.Snapshot, records []*v1alpha1.PipelineSync) *Refusal {
	g := t.environments[environment]
	if g == nil {
		return nil
	}
	probe := Trust{environments: map[string]*guarded{environment: {verify: g.verify, now: g.now}}}
	return probe.Follow(ctx, history, environment, snap, records).Signature.Refused
}

// Signs reports whether a commit has a signature of its own that an environment accepts. What its message allows counts only
// then.
func (t Trust) Signs(ctx context.Context, history History, environment, commit string) bool {
	g := t.environments[environment]
	if g == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.judge == nil {
		return false
	}
	found, err := history.Objects(ctx, commit, source.Reach{Most: 1, FirstParent: true})
	return err == nil && len(found.Commits) == 1 && g.judge.Signature(entry(found.Commits[0]), g.now()) == nil
}

// load reads the keys, and begins anew where they have changed.
func (g *guarded) load() {
	texts, sum, err := g.read()
	if err == nil && g.judge != nil && sum == g.keys {
		return
	}
	g.keys, g.judge, g.failed = sum, nil, err
	if err != nil {
		return
	}
	signers, err := trust.Parse(texts)
	if g.failed = err; err == nil {
		g.judge = trust.NewJudge(signers)
	}
}

// read reads the texts of the keys, and a hash of them.
func (g *guarded) read() (keys trust.Keys, sum [sha256.Size]byte, err error) {
	hash := sha256.New()
	text := func(given, file string) []byte {
		data := []byte(given)
		if file != "" {
			read, failed := os.ReadFile(file)
			data, err = read, errors.Join(err, failed)
		}
		fmt.Fprintf(hash, "%d ", len(data))
		hash.Write(data)
		return data
	}
	keys.AllowedSigners = text(g.verify.AllowedSigners, g.verify.AllowedSignersFile)
	keys.Keyring = text(g.verify.Keyring, g.verify.KeyringFile)
	keys.RevokedKeys = text(g.verify.RevokedKeys, g.verify.RevokedKeysFile)
	if err != nil {
		fmt.Fprint(hash, err)
	}
	return keys, [sha256.Size]byte(hash.Sum(nil)), err
}

// mostRecalled bounds the commits that are recalled from records.
const mostRecalled = 100

// recall finds the commit in force in the records, where this process has decided about none yet. The records count only where
// every deployed target has a verified commit: one without was deployed while nothing was demanded, perhaps from a newer commit,
// and an older one must not take its place.
func (g *guarded) recall(ctx context.Context, history History, records []*v1alpha1.PipelineSync) {
	if g.inForce.Commit != "" {
		return
	}
	var newest *v1alpha1.VerifiedCommit
	g.before = nil
	for _, record := range records {
		verified := record.Status.Verified
		switch {
		case record.Status.RemovedAt != nil || record.Status.LastAppliedCommit == "":
			continue
		case verified == nil:
			g.before = nil
			return
		case !slices.Contains(g.before, verified.Commit) && len(g.before) < mostRecalled:
			g.before = append(g.before, verified.Commit)
		}
		if newest == nil || newest.At.Before(&verified.At) {
			newest = verified
		}
	}
	if newest == nil {
		return
	}
	snap, err := history.At(ctx, newest.Commit)
	if err == nil {
		g.inForce, g.by = snap, trust.Verdict{Signer: newest.Signer, Key: newest.Key}
	}
	g.pending = err != nil && !errors.Is(err, source.ErrCommitNotFound)
}

// decide moves the commit in force on to the newest trusted one, and says why it is not the newest of all; nil: it is.
func (g *guarded) decide(ctx context.Context, history History, newest source.Snapshot) *trust.Untrusted {
	if g.inForce.Commit == newest.Commit {
		g.inForce = newest
		return nil
	}
	if g.judge == nil {
		return &trust.Untrusted{Verdict: trust.Verdict{Reason: trust.NoUsableKeys, Text: fmt.Sprintf("the keys cannot be read: %v", g.failed)}}
	}
	trusted, refused, err := g.newestTrusted(ctx, history, newest.Commit)
	if err == nil && trusted != "" && trusted != g.inForce.Commit {
		snap := newest
		if trusted != newest.Commit {
			snap, err = history.At(ctx, trusted)
		}
		if err == nil {
			g.inForce, g.by, g.before = snap, g.judge.By(trusted), nil
		}
	}
	if err != nil {
		g.pending = true
		return &trust.Untrusted{Verdict: trust.Verdict{Reason: trust.HistoryCut, Text: err.Error()}}
	}
	return refused
}

const (
	// mostNew is how many commits may be new since the last one that was verified.
	mostNew = 10_000
	// longestLine is how far back a trusted commit is looked for below one that is not.
	longestLine = 1000
)

// newestTrusted looks for the newest trusted commit since the last one that was verified. Where none was verified yet, only the
// newest commit can be the first, and its own signature decides: an older one could undo what runs.
func (g *guarded) newestTrusted(ctx context.Context, history History, newest string) (string, *trust.Untrusted, error) {
	known := slices.Clone(g.before)
	if g.inForce.Commit != "" {
		known = append(known, g.inForce.Commit)
	}
	reach := source.Reach{Without: known, FirstParent: true, Most: longestLine}
	judged := g.judge.NewestSigned
	switch {
	case len(known) == 0:
		reach.Most = 1
	case g.verify.Mode == v1alpha1.VerifyEachCommit:
		reach.FirstParent, reach.Most = false, mostNew
		judged = g.judge.NewestWhole
	}
	found, err := history.Objects(ctx, newest, reach)
	if err != nil {
		return "", nil, err
	}
	h := trust.History{Missing: found.Missing, More: found.More}
	for _, each := range found.Commits {
		h.Commits = append(h.Commits, entry(each))
	}
	trusted, refused := judged(h, g.now())
	if trusted != newest && (g.inForce.Commit == "" || slices.Contains(found.Unknown, g.inForce.Commit)) {
		trusted = "" // it may be older than what runs
	}
	return trusted, refused, nil
}

func entry(o source.Object) trust.Entry {
	return trust.Entry{Hash: o.Hash, Parents: o.Parents, Raw: o.Raw}
}

// InForce is the commit that an environment follows; without a commit: none was decided about yet.
func (t Trust) InForce(environment string) source.Snapshot {
	g := t.environments[environment]
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inForce
}

// Demands reports whether an environment demands signatures.
func (t Trust) Demands(environment string) bool { return t.environments[environment] != nil }

// DemandsAny reports whether an environment demands signatures.
func (t Trust) DemandsAny() bool { return len(t.environments) > 0 }
