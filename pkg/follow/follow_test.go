package follow

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/source"
)

// signedRepo is a git repository whose commits are written object by object, with a signature or without.
type signedRepo struct {
	t    *testing.T
	dir  string
	tree string
	made int
}

func newSignedRepo(t *testing.T) *signedRepo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("git is missing: these tests need the real one")
	}
	r := &signedRepo{t: t, dir: t.TempDir()}
	r.git("", "init", "-q", "-b", "main")
	r.tree = r.git("", "mktree")
	return r
}

func (r *signedRepo) git(stdin string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = r.dir, strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes a commit, and has main name it. key is nil for one without a signature.
func (r *signedRepo) commit(key ssh.Signer, message string, parents ...string) string {
	r.t.Helper()
	var head strings.Builder
	r.made++
	fmt.Fprintf(&head, "tree %s\n", r.tree)
	for _, parent := range parents {
		fmt.Fprintf(&head, "parent %s\n", parent)
	}
	at := trustNow.Add(time.Duration(r.made-100) * time.Minute).Unix()
	fmt.Fprintf(&head, "author Ann <ann@example.com> %d +0000\ncommitter Ann <ann@example.com> %d +0000\n", at, at)
	raw := head.String() + "\n" + message + "\n"
	if key != nil {
		raw = signedObject(head.String(), "\n"+message+"\n", key)
	}
	hash := r.git(raw, "hash-object", "-t", "commit", "-w", "--stdin")
	r.git("", "update-ref", "refs/heads/main", hash)
	return hash
}

// signedObject is a commit object with the signature of a key.
func signedObject(headers, rest string, key ssh.Signer) string {
	signature, err := sshsig.Sign(strings.NewReader(headers+rest), key, sshsig.HashSHA512, "git")
	if err != nil {
		panic(err)
	}
	return headers + "gpgsig " + strings.ReplaceAll(strings.TrimSpace(string(sshsig.Armor(signature))), "\n", "\n ") + "\n" + rest
}

var trustNow = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func newKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func allowedBy(keys ...ssh.Signer) string {
	var out bytes.Buffer
	for i, key := range keys {
		fmt.Fprintf(&out, "signer%d@example.com %s", i, ssh.MarshalAuthorizedKey(key.PublicKey()))
	}
	return out.String()
}

// trusting is what a planner knows of a repository whose environment prod demands signatures.
type trusting struct {
	t       *testing.T
	repo    *signedRepo
	history *source.Repository
	trust   Trust
}

func newTrusting(t *testing.T, repo *signedRepo, verify v1alpha1.Verify) *trusting {
	t.Helper()
	history, err := source.Open(source.Options{URL: repo.dir, Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = history.Close() })
	trust, err := New(&v1alpha1.Config{Environments: []v1alpha1.Environment{{Name: "dev"}, {Name: "prod", Verify: &verify}}}, func() time.Time { return trustNow })
	if err != nil {
		t.Fatal(err)
	}
	return &trusting{t, repo, history, trust}
}

// follows checks which commit prod follows, and what is said of the newest one.
func (w *trusting) follows(want, says string, records ...*v1alpha1.PipelineSync) Followed {
	w.t.Helper()
	snap, err := w.history.Fetch(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	got := w.trust.Follow(w.t.Context(), w.history, "prod", snap, records)
	if got.Snap.Commit != want || got.Signature.Verified != (want != "") {
		w.t.Errorf("prod follows %.8s (%+v), want %.8s", got.Snap.Commit, got.Signature, want)
	}
	refused := ""
	if got.Signature.Refused != nil {
		refused = got.Signature.Refused.Error()
	}
	if (refused == "") != (says == "") || !strings.Contains(refused, says) {
		w.t.Errorf("%q is said, want %q", refused, says)
	}
	return got
}

// wasDeployed is a record of prod.
func wasDeployed(applied string, verified string, minutes int) *v1alpha1.PipelineSync {
	out := &v1alpha1.PipelineSync{Status: v1alpha1.PipelineSyncStatus{LastAppliedCommit: applied}}
	if verified != "" {
		out.Status.Verified = &v1alpha1.VerifiedCommit{Commit: verified, Signer: "ann", At: metav1.NewTime(trustNow.Add(time.Duration(minutes) * time.Minute))}
	}
	return out
}

func TestFollowsTheNewestTrustedCommit(t *testing.T) {
	t.Parallel()
	key, eve := newKey(t), newKey(t)
	repo := newSignedRepo(t)
	w := newTrusting(t, repo, v1alpha1.Verify{AllowedSigners: allowedBy(key)})

	repo.commit(key, "signed before anybody looked")
	repo.commit(nil, "one", repo.git("", "rev-parse", "main"))
	w.follows("", "nothing is deployed before a commit is trusted")
	first := repo.commit(key, "two", repo.git("", "rev-parse", "main"))
	if got := w.follows(first, ""); got.Signature.Signer != "signer0@example.com" || got.Signature.Key != ssh.FingerprintSHA256(key.PublicKey()) {
		t.Errorf("signed by %+v", got.Signature)
	}
	second := repo.commit(nil, "three", first)
	w.follows(first, fmt.Sprintf("%.8s is not trusted for prod, and %.8s stays in force: commit %.8s by Ann <ann@example.com>: it has no signature; sign it", second, first, second))
	third := repo.commit(eve, "four", second)
	w.follows(first, ssh.FingerprintSHA256(eve.PublicKey()))
	fourth := repo.commit(key, "five", third)
	w.follows(fourth, "")
	fifth := repo.commit(key, "six", fourth)
	repo.commit(nil, "seven", fifth)
	w.follows(fifth, "it has no signature")
	repo.git("", "update-ref", "refs/heads/main", fourth)
	w.follows(fourth, "") // a force push to an earlier signed commit
	repo.commit(nil, "rewritten", first)
	w.follows(fourth, "it has no signature") // and not the signed commit below, which is older than what runs
	if got := w.trust.Follow(t.Context(), w.history, "dev", source.Snapshot{Commit: "any"}, nil); got.Snap.Commit != "any" || got.Signature != (Signature{}) {
		t.Errorf("dev demands nothing, and follows %+v", got)
	}
}

func TestEachCommitIsVerified(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	repo := newSignedRepo(t)
	w := newTrusting(t, repo, v1alpha1.Verify{Mode: v1alpha1.VerifyEachCommit, AllowedSigners: allowedBy(key)})
	base := repo.commit(nil, "before signatures were demanded")
	first := repo.commit(key, "first", base)
	w.follows(first, "")
	branch := repo.commit(nil, "branch", base)
	merge := repo.commit(key, "merge", first, branch)
	w.follows(first, fmt.Sprintf("commit %.8s by Ann", branch))
	w.follows(first, "it has no signature")
	next := repo.commit(key, "next", merge)
	w.follows(first, "it has no signature")
	vouched := repo.commit(key, "the branch is reviewed\n\nSyncer-Trust: "+branch, next)
	w.follows(vouched, "")
	repo.git("", "update-ref", "refs/heads/main", base)
	w.follows(vouched, "it has no signature") // an earlier commit needs its own signature
	repo.git("", "update-ref", "refs/heads/main", first)
	w.follows(first, "")
}

func TestARestartGoesOnFromTheRecords(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	repo := newSignedRepo(t)
	first := repo.commit(key, "first")
	second := repo.commit(key, "second", first)
	third := repo.commit(key, "third, which left every target as it was", second)
	fourth := repo.commit(nil, "fourth", third)
	gone := strings.Repeat("a", 40)
	none := "nothing is deployed before a commit is trusted"
	for _, mode := range []v1alpha1.VerifyMode{v1alpha1.VerifyHead, v1alpha1.VerifyEachCommit} {
		for name, c := range map[string]struct {
			records    []*v1alpha1.PipelineSync
			want, says string
		}{
			"no record":                            {want: "", says: none},
			"records of verified commits":          {records: []*v1alpha1.PipelineSync{wasDeployed(second, second, 2), wasDeployed(first, first, 1)}, want: third, says: "it has no signature"},
			"a target that was never deployed":     {records: []*v1alpha1.PipelineSync{wasDeployed(second, second, 2), wasDeployed("", "", 0)}, want: third, says: "it has no signature"},
			"one was deployed without a signature": {records: []*v1alpha1.PipelineSync{wasDeployed(first, first, 1), wasDeployed(second, "", 0)}, want: "", says: none},
			"the verified commit is gone":          {records: []*v1alpha1.PipelineSync{wasDeployed(gone, gone, 1)}, want: "", says: none},
			"the newest commit was verified":       {records: []*v1alpha1.PipelineSync{wasDeployed(fourth, fourth, 1)}, want: fourth},
		} {
			t.Run(string(mode)+": "+name, func(t *testing.T) {
				newTrusting(t, repo, v1alpha1.Verify{Mode: mode, AllowedSigners: allowedBy(key)}).follows(c.want, c.says, c.records...)
			})
		}
	}
}

// A commit that was rewritten away, and that the repository has no more: what leads to it is not known, so that an older trusted
// commit does not take its place.
func TestAnOlderCommitDoesNotTakeThePlaceOfALostOne(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	repo := newSignedRepo(t)
	base := repo.commit(key, "base")
	lost := repo.commit(key, "lost", base)
	w := newTrusting(t, repo, v1alpha1.Verify{AllowedSigners: allowedBy(key)})
	w.follows(lost, "")
	rewritten := repo.commit(nil, "rewritten", base)
	repo.git("", "-c", "gc.reflogExpire=now", "-c", "gc.pruneExpire=now", "gc", "-q", "--prune=now")
	if _, err := exec.Command("git", "-C", repo.dir, "cat-file", "-e", lost).Output(); err == nil {
		t.Fatal("the commit is still there")
	}
	w.follows(lost, "it has no signature")
	w.follows(lost, fmt.Sprintf("%.8s is not trusted", rewritten))
	next := repo.commit(key, "next", rewritten)
	w.follows(next, "")
}

func TestKeysAreReadAgain(t *testing.T) {
	t.Parallel()
	oldKey, newer := newKey(t), newKey(t)
	repo := newSignedRepo(t)
	file := filepath.Join(t.TempDir(), "allowed")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := newTrusting(t, repo, v1alpha1.Verify{AllowedSignersFile: file})
	first := repo.commit(oldKey, "first")
	w.follows("", "the keys cannot be read: open")
	if w.trust.Changed() {
		t.Error("nothing changed")
	}
	write("what is this")
	if !w.trust.Changed() {
		t.Error("the change of the keys is not seen")
	}
	w.follows("", "allowed signers, line 1")
	write(allowedBy(oldKey))
	w.follows(first, "")
	if w.trust.Changed() {
		t.Error("nothing changed since")
	}
	second := repo.commit(newer, "second", first)
	w.follows(first, "no allowed signer has")
	write(allowedBy(oldKey, newer))
	if !w.trust.Changed() {
		t.Error("the new key is not seen")
	}
	w.follows(second, "")
	write(allowedBy(newer))
	w.follows(second, "")
	repo.commit(oldKey, "third", second)
	w.follows(second, "no allowed signer has")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.follows(second, "the keys cannot be read")
}

func TestAPreviewDecidesNothing(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	repo := newSignedRepo(t)
	w := newTrusting(t, repo, v1alpha1.Verify{AllowedSigners: allowedBy(key)})
	first := repo.commit(key, "first")
	w.follows(first, "")
	second := repo.commit(nil, "second", first)
	snap, err := w.history.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	refused := w.trust.Refuse(t.Context(), w.history, "prod", snap, nil)
	if refused == nil || refused.Commit != second || !strings.Contains(refused.Preview(), "which would not follow it") {
		t.Errorf("refused: %v", refused)
	}
	if w.trust.Refuse(t.Context(), w.history, "dev", snap, nil) != nil {
		t.Error("dev refuses a commit")
	}
	third := repo.commit(key, "third", second)
	if snap, err = w.history.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if refused := w.trust.Refuse(t.Context(), w.history, "prod", snap, nil); refused != nil {
		t.Errorf("refused: %v", refused)
	}
	if got := w.trust.InForce("prod").Commit; got != first {
		t.Errorf("the preview moved prod from %.8s to %.8s", first, got)
	}
	w.follows(third, "")
}

func TestInlineKeysThatCannotBeReadAreAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	config := &v1alpha1.Config{Environments: []v1alpha1.Environment{{Name: "dev"}, {Name: "prod", Verify: &v1alpha1.Verify{Keyring: "none"}}}}
	if _, err := New(config, time.Now); err == nil || !strings.Contains(err.Error(), "verify for prod: the keyring") {
		t.Errorf("error %v", err)
	}
	config.Environments[1].Verify.Mode = v1alpha1.VerifyNone
	trust, err := New(config, time.Now)
	if err != nil || len(trust.Environments()) != 0 {
		t.Errorf("error %v, %v demand signatures", err, trust.Environments())
	}
	if !slices.Equal(Trust{}.Environments(), nil) || (Trust{}).DemandsAny() {
		t.Error("the zero value demands signatures")
	}
}

func TestOnlySignedCommitsSign(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	repo := newSignedRepo(t)
	w := newTrusting(t, repo, v1alpha1.Verify{AllowedSigners: allowedBy(key)})
	first := repo.commit(key, "first")
	if w.trust.Signs(t.Context(), w.history, "prod", first) {
		t.Error("a commit is signed before the keys were read")
	}
	w.follows(first, "")
	careless := repo.commit(nil, "careless", first)
	second := repo.commit(key, "second", careless)
	w.follows(second, "")
	for commit, want := range map[string]bool{first: true, careless: false, second: true, strings.Repeat("1", 40): false} {
		if got := w.trust.Signs(t.Context(), w.history, "prod", commit); got != want {
			t.Errorf("%.8s is signed: %v", commit, got)
		}
	}
	if !w.trust.Signs(t.Context(), w.history, "dev", careless) {
		t.Error("dev demands no signature, and a commit does not count")
	}
}
