// Package trust decides whether a commit is signed by somebody who may sign. It reads the bytes of the commit object and the
// keys that it is given: no disk, network, clock or environment.
package trust

import (
	"errors"
	"fmt"
	"time"

	"github.com/syncerdev/syncer/pkg/panics"
)

// Reason says in one word why a commit is not trusted.
type Reason string

const (
	Trusted       Reason = "" // the zero value
	NoSignature   Reason = "NoSignature"
	UnknownKey    Reason = "UnknownKey"
	BadSignature  Reason = "BadSignature"
	ExpiredKey    Reason = "ExpiredKey"
	NotYetValid   Reason = "NotYetValid"
	RevokedKey    Reason = "RevokedKey"
	NotAllowed    Reason = "NotAllowed"
	Unsupported   Reason = "UnsupportedSignature"
	FutureDate    Reason = "FutureDate"
	BrokenCommit  Reason = "BrokenCommit"
	NoUsableKeys  Reason = "KeysUnreadable"
	HistoryCut    Reason = "HistoryIncomplete"
	HistoryTooBig Reason = "HistoryTooLong"
)

// Verdict is the judgement on the signature of one commit.
type Verdict struct {
	Reason Reason
	// Key is the fingerprint of the key that made the signature, as far as it is known: SHA256:... for SSH, hex for PGP.
	Key string
	// Signer is the principal or the user ID that the key belongs to, by the allowed signers; empty: nobody.
	Signer string
	// Text says what is wrong, as the end of a sentence about the commit.
	Text string
}

// Trusted reports whether the signature is good.
func (v Verdict) Trusted() bool { return v.Reason == Trusted }

// Advice says what a person can do about a commit that is not trusted.
func (v Verdict) Advice() string {
	switch v.Reason {
	case Trusted:
		return ""
	case NoSignature:
		return "sign it and push again (git commit --amend --no-edit -S), or push a signed commit"
	case UnknownKey, NotAllowed:
		return "if the key may sign, add it to the allowed signers or to the keyring of the configuration; if not, push a commit that is signed by a key that may"
	case ExpiredKey, NotYetValid:
		return "sign with a key that is valid at that time, or change the validity of the key in the configuration"
	case RevokedKey:
		return "find out who made the commit; then push a commit that is signed by another key"
	case NoUsableKeys:
		return "correct the configuration of verify"
	case HistoryCut, HistoryTooBig:
		return "see docs/how-to/signed-commits.md"
	}
	return "find out who made the commit; then push a signed commit"
}

// futureSlack is how far the date of a commit may be ahead of the clock: clocks of machines differ. A commit from further ahead
// could use a key before it is valid.
const futureSlack = 24 * time.Hour

// Signers are the keys that may sign. They do not change, and many goroutines may use them.
type Signers struct {
	ssh     []sshSigner
	pgp     keyring
	revoked map[string]bool // SSH keys, by their bytes
}

// Keys are the texts of keys.
type Keys struct {
	// AllowedSigners is a file in the format of ssh-keygen(1), ALLOWED SIGNERS.
	AllowedSigners []byte
	// Keyring has armored public keys of PGP, one block or several.
	Keyring []byte
	// RevokedKeys has public keys of SSH that may not sign, one a line as in an authorized_keys file. A certificate is refused
	// whose key or whose authority is in it.
	RevokedKeys []byte
}

// Parse reads keys. An error names the line of a key that cannot be read: a file that is read in part would refuse commits
// without a reason that is seen.
func Parse(keys Keys) (*Signers, error) {
	s := &Signers{}
	var errs [3]error
	s.ssh, errs[0] = parseAllowedSigners(keys.AllowedSigners)
	s.pgp, errs[1] = parseKeyring(keys.Keyring)
	s.revoked, errs[2] = parseRevoked(keys.RevokedKeys)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if len(s.ssh) == 0 && len(s.pgp.entities) == 0 {
		return nil, errors.New("there is no key in the allowed signers and in the keyring, so that no commit can be trusted; add a key")
	}
	return s, nil
}

// Judge judges the signature of a commit by its own content. It does not know the commits before it.
func (s *Signers) Judge(c Commit, now time.Time) (v Verdict) {
	if c.broken != "" {
		return Verdict{Reason: BrokenCommit, Text: c.broken}
	}
	if len(c.signature) == 0 {
		return Verdict{Reason: NoSignature, Text: "it has no signature"}
	}
	if c.Date.After(now.Add(futureSlack)) {
		return Verdict{Reason: FutureDate, Text: fmt.Sprintf("its date, %s, is in the future", day(c.Date))}
	}
	err := panics.Try(func() error { // libraries read what anybody may have written
		switch {
		case isSSH(c.signature):
			v = s.judgeSSH(c)
		case isPGP(c.signature):
			v = s.pgp.judge(c, now)
		default:
			v = Verdict{Reason: Unsupported, Text: "its signature is neither of SSH nor of PGP"}
		}
		return nil
	})
	if err != nil {
		return Verdict{Reason: BadSignature, Text: "its signature cannot be read"}
	}
	return v
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }
