package trust

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// gitNamespace is the one in which git signs: a signature for something else says nothing of a commit.
const gitNamespace = "git"

func isSSH(signature []byte) bool {
	return bytes.HasPrefix(signature, []byte("-----BEGIN SSH SIGNATURE-----\n"))
}

// judgeSSH judges an SSH signature as `git verify-commit` does: the key must be allowed at the date of the commit. The library
// refuses signatures with SHA-1.
func (s *Signers) judgeSSH(c Commit) Verdict {
	signature, err := unarmor(c.signature)
	if err != nil {
		return Verdict{Reason: BadSignature, Text: fmt.Sprintf("its SSH signature cannot be read: %v", err)}
	}
	v := Verdict{Key: ssh.FingerprintSHA256(plainKey(signature.PublicKey))}
	if signature.Namespace != gitNamespace {
		v.Reason, v.Text = BadSignature, fmt.Sprintf("its signature by %s was made for %.40q, and not for git", v.Key, signature.Namespace)
		return v
	}
	if err := sshsig.Verify(bytes.NewReader(c.payload), signature, signature.PublicKey, signature.HashAlgorithm, gitNamespace); err != nil {
		v.Reason, v.Text = BadSignature, fmt.Sprintf("the signature by %s is not of this commit", v.Key)
		return v
	}
	return s.allow(v, signature.PublicKey, c.Date)
}

// unarmor reads a signature that is all of a text.
func unarmor(text []byte) (*sshsig.Signature, error) {
	block, rest := pem.Decode(text)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 || len(block.Headers) > 0 {
		return nil, errors.New("it is not one armored block")
	}
	return sshsig.Unarmor(text)
}

// plainKey is the key without its certificate.
func plainKey(key ssh.PublicKey) ssh.PublicKey {
	if certificate, ok := key.(*ssh.Certificate); ok {
		return certificate.Key
	}
	return key
}

// allow decides whether the key of a signature that is good may sign at a date. Of several lines with the key, one that
// allows it is enough; else the verdict has the reason of the last one.
func (s *Signers) allow(v Verdict, key ssh.PublicKey, at time.Time) Verdict {
	certificate, _ := key.(*ssh.Certificate)
	if s.isRevoked(key, certificate) {
		v.Reason, v.Text = RevokedKey, fmt.Sprintf("its key %s is revoked", v.Key)
		return v
	}
	v.Reason, v.Text = UnknownKey, fmt.Sprintf("it is signed by the key %s, which no allowed signer has", v.Key)
	for _, signer := range s.ssh {
		var refused Verdict
		switch {
		case certificate == nil && !signer.authority && bytes.Equal(signer.key.Marshal(), key.Marshal()):
			refused = signer.refuse(v, signer.principals, at)
		case certificate != nil && signer.authority && bytes.Equal(signer.key.Marshal(), certificate.SignatureKey.Marshal()):
			refused = signer.refuseCertificate(v, certificate, at)
		default:
			continue
		}
		if v = refused; v.Trusted() {
			return v
		}
	}
	return v
}

func (s *Signers) isRevoked(key ssh.PublicKey, certificate *ssh.Certificate) bool {
	return s.revoked[string(plainKey(key).Marshal())] || certificate != nil && s.revoked[string(certificate.SignatureKey.Marshal())]
}

// refuse checks the options of a signer; a trusted verdict: none of them is against the commit.
func (s *sshSigner) refuse(v Verdict, who string, at time.Time) Verdict {
	v.Signer, v.Reason, v.Text = cut(who), Trusted, ""
	switch {
	case s.namespaces != "" && !matchesList(s.namespaces, gitNamespace):
		v.Reason, v.Text = NotAllowed, fmt.Sprintf("its key %s of %s may sign in the namespaces %s, and not in git", v.Key, who, s.namespaces)
	case !s.from.IsZero() && at.Before(s.from):
		v.Reason, v.Text = NotYetValid, fmt.Sprintf("its key %s of %s is valid after %s, and the commit is of %s", v.Key, who, day(s.from), day(at))
	case !s.to.IsZero() && !at.Before(s.to):
		v.Reason, v.Text = ExpiredKey, fmt.Sprintf("its key %s of %s is valid before %s, and the commit is of %s", v.Key, who, day(s.to), day(at))
	}
	return v
}

// refuseCertificate checks a certificate of an authority: it must be of a user, be valid at the date, and name a principal that
// the authority may vouch for.
func (s *sshSigner) refuseCertificate(v Verdict, certificate *ssh.Certificate, at time.Time) Verdict {
	who := ""
	for _, principal := range certificate.ValidPrincipals {
		if matchesList(s.principals, principal) {
			who = principal
			break
		}
	}
	if certificate.CertType != ssh.UserCert || who == "" {
		v.Reason = NotAllowed
		v.Text = fmt.Sprintf("the certificate of its key %s is for %q, and its authority may vouch for the users %s", v.Key, cut(strings.Join(certificate.ValidPrincipals, ",")), s.principals)
		return v
	}
	v = s.refuse(v, who, at)
	if !v.Trusted() {
		return v
	}
	checker := ssh.CertChecker{Clock: func() time.Time { return at }}
	if err := checker.CheckCert(who, certificate); err != nil {
		v.Reason, v.Text = NotAllowed, fmt.Sprintf("the certificate of its key %s of %s does not hold at %s: %s", v.Key, who, day(at), strings.TrimPrefix(err.Error(), "ssh: "))
	}
	return v
}
