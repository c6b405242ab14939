package target

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/follow"
	"github.com/syncerdev/syncer/pkg/source"
)

// signedObject is a commit object with the signature of a key.
func signedObject(headers, rest string, key ssh.Signer) string {
	signature, err := sshsig.Sign(strings.NewReader(headers+rest), key, sshsig.HashSHA512, "git")
	if err != nil {
		panic(err)
	}
	return headers + "gpgsig " + strings.ReplaceAll(strings.TrimSpace(string(sshsig.Armor(signature))), "\n", "\n ") + "\n" + rest
}

// planKey signs the commits of plans.
var planKey = sync.OnceValue(func() ssh.Signer {
	signer, err := ssh.NewSignerFromSigner(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		panic(err)
	}
	return signer
})

func allowedBy(keys ...ssh.Signer) string {
	var out bytes.Buffer
	for i, key := range keys {
		fmt.Fprintf(&out, "signer%d@example.com %s", i, ssh.MarshalAuthorizedKey(key.PublicKey()))
	}
	return out.String()
}

// messages is a history with the messages of commits, the newest first.
type messages struct {
	history
	commits []source.Commit
}

func (m messages) Since(context.Context, string, string) ([]source.Commit, error) {
	return m.commits, nil
}

func TestOnlySignedCommitsAllow(t *testing.T) {
	config := &v1alpha1.Config{Environments: []v1alpha1.Environment{{Name: "dev"}, {Name: "prod", Verify: &v1alpha1.Verify{AllowedSigners: allowedBy(planKey())}}}}
	trust, err := follow.New(config, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	trailer := "meant\n\nSyncer-Allow-Prune: etl"
	for name, c := range map[string]struct {
		commits   []source.Commit
		dev, prod bool
	}{
		"a commit without a signature": {[]source.Commit{{Hash: "signed-2"}, {Hash: "plain-1", Message: trailer}}, true, false},
		"a signed commit":              {[]source.Commit{{Hash: "signed-2"}, {Hash: "signed-1", Message: trailer}}, true, true},
	} {
		p := &Planner{Config: config, Source: messages{history{}, c.commits}, Trust: trust}
		newest := source.Snapshot{Commit: "signed-2"}
		trust.Follow(t.Context(), p.Source, "prod", newest, nil)
		for environment, want := range map[string]bool{"dev": c.dev, "prod": c.prod} {
			d := &Desired{
				Target: v1alpha1.Target{Pipeline: "etl", Environment: environment}, Environment: &v1alpha1.Environment{Name: environment},
				Snapshot: newest, Record: &v1alpha1.PipelineSync{Status: v1alpha1.PipelineSyncStatus{LastAppliedCommit: "signed-0"}},
			}
			if got := p.Trailers(t.Context(), []*Desired{d}).Any(d.Target); got != want {
				t.Errorf("%s: %s may prune: %v, want %v", name, environment, got, want)
			}
		}
	}
}

// demandSignatures has prod follow only commits that planKey signs.
func (p *planning) demandSignatures() {
	p.T.Helper()
	for i := range p.Config.Environments {
		if environment := &p.Config.Environments[i]; environment.Name == "prod" {
			environment.Verify = &v1alpha1.Verify{AllowedSigners: allowedBy(planKey())}
		}
	}
	trust, err := follow.New(p.Config, time.Now)
	if err != nil {
		p.T.Fatal(err)
	}
	p.Trust = trust
}

// One plan has targets of two commits: those of an environment that does not trust the newest one stay at the one before.
func TestPlanOfACommitThatOneEnvironmentDoesNotTrust(t *testing.T) {
	p := newPlanning(t)
	p.demandSignatures()
	both := v1alpha1.Selection{Environments: []string{"dev", "prod"}}
	plan := func(snap source.Snapshot, selection v1alpha1.Selection) *Commit {
		t.Helper()
		commit, err := p.Plan(p.Ctx, snap, selection)
		if err != nil {
			t.Fatal(err)
		}
		return commit
	}
	of := func(commit *Commit, pipeline, environment string) *Desired {
		return commit.Find(v1alpha1.Target{Pipeline: pipeline, Environment: environment})
	}
	first := plan(p.commit("signed-1", map[string]string{"etl": "1", "gone": "1"}), both)
	if len(first.Refused) != 0 || namesOf(first.Targets) != "etl@dev etl@prod gone@dev gone@prod" {
		t.Fatalf("the targets of a trusted commit are %s, refused %v", namesOf(first.Targets), first.Refused)
	}
	if d := of(first, "etl", "prod"); !d.Signature.Verified || of(first, "etl", "dev").Signature.Demanded {
		t.Errorf("prod: %+v", d.Signature)
	}

	second := plan(p.commit("plain-2", map[string]string{"etl": "2", "new": "2"}), both)
	if got, want := namesOf(second.Targets), "etl@dev etl@prod gone@prod new@dev"; got != want {
		t.Errorf("the targets are %s, want %s", got, want)
	}
	if len(second.Refused) != 1 || second.Refused[0].Environment != "prod" || second.Refused[0].InForce != "signed-1" {
		t.Errorf("refused: %v", second.Refused)
	}
	if d, before := of(second, "etl", "prod"), of(first, "etl", "prod"); d.Snapshot.Commit != "signed-1" || d.Rendered.From != before.Rendered.From || d.Signature.Refused == nil {
		t.Errorf("prod is at %s, and rendered anew: %v", d.Snapshot.Commit, d.Rendered.From != before.Rendered.From)
	}
	if d := of(second, "etl", "dev"); d.Snapshot.Commit != "plain-2" || d.Rendered.From == of(first, "etl", "dev").Rendered.From {
		t.Errorf("dev is at %s", d.Snapshot.Commit)
	}
	if third := plan(p.commit("signed-3", map[string]string{"etl": "3"}), both); namesOf(third.Targets) != "etl@dev etl@prod" || of(third, "etl", "prod").Snapshot.Commit != "signed-3" {
		t.Errorf("the next trusted commit gives %s", namesOf(third.Targets))
	}
	if preview, err := p.Preview(p.Ctx, p.history.snapshot("plain-2"), both); err != nil || of(preview, "new", "prod") == nil || len(preview.Refused) != 1 {
		t.Errorf("%v: a preview has every environment at its commit: %+v", err, preview)
	}

	// A commit whose layout is wrong cannot be planned, and prod goes on with the one before.
	fourth := plan(p.commit("plain-4", nil), both)
	if namesOf(fourth.Targets) != "etl@prod" || len(fourth.Incomplete) != 1 || fourth.Unread[0] != "dev" {
		t.Errorf("the targets are %s, incomplete %v", namesOf(fourth.Targets), fourth.Incomplete)
	}
}

// An environment that trusts no commit yet keeps what it has: its targets are not taken for ones that left git, and nobody takes
// their objects over.
func TestPlanOfAnEnvironmentThatTrustsNothingYet(t *testing.T) {
	p := newPlanning(t)
	p.demandSignatures()
	object := v1alpha1.InventoryEntry{APIVersion: "v1", Kind: "ConfigMap", Namespace: p.Namespace, Name: "etl-prod"}
	p.record("data", "etl", "prod", v1alpha1.PipelineSyncStatus{LastAppliedCommit: "c0", Inventory: []v1alpha1.InventoryEntry{object}})
	commit, err := p.Plan(p.Ctx, p.commit("plain", map[string]string{"etl": "1", "new": "1"}), v1alpha1.Selection{Environments: []string{"dev", "prod"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := namesOf(commit.Targets), "etl@dev etl@prod! new@dev"; got != want {
		t.Fatalf("the targets are %s, want %s", got, want)
	}
	d := commit.Find(v1alpha1.Target{Pipeline: "etl", Environment: "prod"})
	wait, ok := errors.AsType[*WaitError](d.Err)
	if !ok || wait.Reason != "Untrusted" || d.Overlay == "" || d.Snapshot.Commit != "c0" || d.Signature.Verified {
		t.Errorf("%v, overlay %q, commit %q, %+v", d.Err, d.Overlay, d.Snapshot.Commit, d.Signature)
	}
	doubts := func(commit *Commit, name string) (out []string) {
		for _, unknown := range commit.Neighbours[d.Cluster.Server()].Unknown {
			id := object.ID()
			if id.Name = name; unknown.MayName(id) != "" {
				out = append(out, unknown.Target.String())
			}
		}
		return out
	}
	if got := doubts(commit, "etl-prod"); len(got) != 1 || got[0] != "etl@prod" || len(doubts(commit, "other")) != 0 {
		t.Errorf("%v may have the object, and %v another one", got, doubts(commit, "other"))
	}
	alone, err := p.Plan(p.Ctx, p.history.snapshot("plain"), v1alpha1.Selection{Environments: []string{"dev"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := doubts(alone, "anything"); len(got) != 1 || got[0] != "@prod" {
		t.Errorf("%v may have an object while the records of prod are not read", got)
	}
	signed, err := p.Plan(p.Ctx, p.commit("signed", map[string]string{"etl": "1"}), v1alpha1.Selection{Environments: []string{"dev"}})
	if err != nil || len(doubts(signed, "anything")) != 0 {
		t.Errorf("%v: %v may have an object that the trusted commit does not name", err, doubts(signed, "anything"))
	}
	if got := p.Trust.InForce("prod").Commit; got != "" {
		t.Errorf("a plan of dev decided that prod follows %s", got)
	}
}
