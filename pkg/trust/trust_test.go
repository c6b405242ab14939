package trust_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/syncerdev/syncer/pkg/trust"
)

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// unsigned is a commit object as git writes it, of one date.
func unsigned(at time.Time, message string) []byte {
	return fmt.Appendf(nil, "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nparent 1111111111111111111111111111111111111111\n"+
		"author Ann <ann@example.com> %d +0100\ncommitter Bob <bob@example.com> %d +0100\n\n%s\n", at.Unix()-60, at.Unix(), message)
}

// withHeader puts a header with more lines below the committer.
func withHeader(raw []byte, name, value string) []byte {
	header := name + " " + strings.ReplaceAll(strings.TrimSuffix(value, "\n"), "\n", "\n ") + "\n"
	at := bytes.Index(raw, []byte("\n\n")) + 1
	return append(append(append([]byte{}, raw[:at]...), header...), raw[at:]...)
}

func newSSH(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signerOf(t, key)
}

func signerOf(t *testing.T, key crypto.Signer) ssh.Signer {
	t.Helper()
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func sshSignature(t *testing.T, key ssh.Signer, payload []byte, namespace string) string {
	t.Helper()
	signature, err := sshsig.Sign(bytes.NewReader(payload), key, sshsig.HashSHA512, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return string(sshsig.Armor(signature))
}

func sshSigned(t *testing.T, key ssh.Signer, payload []byte) []byte {
	t.Helper()
	return withHeader(payload, "gpgsig", sshSignature(t, key, payload, "git"))
}

func allowed(principals, options string, key ssh.PublicKey) string {
	return strings.Join(strings.Fields(principals+" "+options+" "+string(ssh.MarshalAuthorizedKey(key))), " ") + "\n"
}

func newPGP(t *testing.T, at time.Time, lifetime time.Duration) *openpgp.Entity {
	t.Helper()
	entity, err := openpgp.NewEntity("Cyd", "", "cyd@example.com", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return at }, KeyLifetimeSecs: uint32(lifetime.Seconds()),
	})
	if err != nil {
		t.Fatal(err)
	}
	return entity
}

func exported(t *testing.T, entities ...*openpgp.Entity) string {
	t.Helper()
	var all strings.Builder
	for _, entity := range entities {
		w, err := armor.Encode(&all, openpgp.PublicKeyType, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := entity.Serialize(w); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		all.WriteString("\n")
	}
	return all.String()
}

func pgpSigned(t *testing.T, key *openpgp.Entity, payload []byte, at time.Time, hash crypto.Hash) []byte {
	t.Helper()
	var signature bytes.Buffer
	config := &packet.Config{Time: func() time.Time { return at }, DefaultHash: hash}
	if err := openpgp.ArmoredDetachSign(&signature, key, bytes.NewReader(payload), config); err != nil {
		t.Fatal(err)
	}
	return withHeader(payload, "gpgsig", signature.String())
}

func parsed(t *testing.T, keys trust.Keys) *trust.Signers {
	t.Helper()
	signers, err := trust.Parse(keys)
	if err != nil {
		t.Fatal(err)
	}
	return signers
}

func judge(t *testing.T, signers *trust.Signers, raw []byte, want trust.Reason, says string) trust.Verdict {
	t.Helper()
	v := signers.Judge(trust.ReadCommit(raw), now)
	if v.Reason != want {
		t.Errorf("reason %q (%s), want %q", v.Reason, v.Text, want)
	}
	if !strings.Contains(v.Text, says) {
		t.Errorf("%q does not say %q", v.Text, says)
	}
	if !v.Trusted() && v.Advice() == "" {
		t.Errorf("%s has no advice", v.Reason)
	}
	return v
}

func TestSSHSignatures(t *testing.T) {
	ann, eve := newSSH(t), newSSH(t)
	payload, other := unsigned(now, "work"), unsigned(now, "other work")
	print := ssh.FingerprintSHA256(ann.PublicKey())
	plain := allowed("ann@example.com", "", ann.PublicKey())
	signed := sshSigned(t, ann, payload)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	oldRSA := signerOf(t, rsaKey)

	for name, c := range map[string]struct {
		allowed, revoked string
		raw              []byte
		want             trust.Reason
		says             string
	}{
		"a good signature of an allowed key":                     {allowed: plain, raw: signed},
		"an RSA key signs with SHA-2":                            {allowed: allowed("ann", "", oldRSA.PublicKey()), raw: sshSigned(t, oldRSA, payload)},
		"an ECDSA key":                                           {allowed: allowed("ann", "", signerOf(t, ecKey).PublicKey()), raw: sshSigned(t, signerOf(t, ecKey), payload)},
		"no signature":                                           {allowed: plain, raw: payload, want: trust.NoSignature, says: "it has no signature"},
		"a key that nobody has":                                  {allowed: plain, raw: sshSigned(t, eve, payload), want: trust.UnknownKey, says: ssh.FingerprintSHA256(eve.PublicKey())},
		"the signature of another commit":                        {allowed: plain, raw: withHeader(payload, "gpgsig", sshSignature(t, ann, other, "git")), want: trust.BadSignature, says: print + " is not of this commit"},
		"a changed message":                                      {allowed: plain, raw: bytes.Replace(signed, []byte("work"), []byte("evil"), 1), want: trust.BadSignature},
		"a changed tree":                                         {allowed: plain, raw: bytes.Replace(signed, []byte("tree 4b"), []byte("tree 5b"), 1), want: trust.BadSignature},
		"a signature for a file":                                 {allowed: plain, raw: withHeader(payload, "gpgsig", sshSignature(t, ann, payload, "file")), want: trust.BadSignature, says: `made for "file"`},
		"two signature headers, of which one is good":            {allowed: plain, raw: withHeader(signed, "gpgsig", sshSignature(t, eve, payload, "git")), want: trust.BrokenCommit, says: "2 signatures"},
		"two trees":                                              {allowed: plain, raw: sshSigned(t, ann, append([]byte("tree 1111111111111111111111111111111111111111\n"), payload...)), want: trust.BrokenCommit, says: `2 headers "tree"`},
		"carriage returns in the signature":                      {allowed: plain, raw: withHeader(payload, "gpgsig", strings.ReplaceAll(sshSignature(t, ann, payload, "git"), "\n", "\r\n")), want: trust.BrokenCommit, says: "carriage returns"},
		"text after the signature":                               {allowed: plain, raw: withHeader(payload, "gpgsig", sshSignature(t, ann, payload, "git")+sshSignature(t, ann, payload, "git")), want: trust.BadSignature},
		"a header of the signature":                              {allowed: plain, raw: withHeader(payload, "gpgsig", strings.Replace(sshSignature(t, ann, payload, "git"), "\n", "\nComment: x\n\n", 1)), want: trust.BadSignature},
		"a signature in the message":                             {allowed: plain, raw: append(bytes.Clone(payload), "\ngpgsig "+sshSignature(t, ann, payload, "git")...), want: trust.NoSignature},
		"a signature in another header":                          {allowed: plain, raw: withHeader(payload, "mergetag", "object\ngpgsig "+sshSignature(t, ann, payload, "git")), want: trust.NoSignature},
		"a signature for another object format":                  {allowed: plain, raw: withHeader(signed, "gpgsig-sha256", "x"), want: trust.BrokenCommit},
		"a null byte in a header":                                {allowed: plain, raw: sshSigned(t, ann, bytes.Replace(payload, []byte("Ann"), []byte("A\x00n"), 1)), want: trust.BrokenCommit, says: "null byte"},
		"an X.509 signature":                                     {allowed: plain, raw: withHeader(payload, "gpgsig", "-----BEGIN SIGNED MESSAGE-----\nMII\n-----END SIGNED MESSAGE-----"), want: trust.Unsupported},
		"a signature that is no base64":                          {allowed: plain, raw: withHeader(payload, "gpgsig", "-----BEGIN SSH SIGNATURE-----\n!\n-----END SSH SIGNATURE-----"), want: trust.BadSignature},
		"a signature of a megabyte":                              {allowed: plain, raw: withHeader(payload, "gpgsig", strings.Repeat("A", 1<<20)), want: trust.BrokenCommit},
		"a key for files":                                        {allowed: allowed("ann", `namespaces="file"`, ann.PublicKey()), raw: signed, want: trust.NotAllowed, says: "and not in git"},
		"a key for git among others":                             {allowed: allowed("ann", `namespaces="file,git"`, ann.PublicKey()), raw: signed},
		"a key for everything but git":                           {allowed: allowed("ann", `namespaces="*,!git"`, ann.PublicKey()), raw: signed, want: trust.NotAllowed},
		"a key that is valid only after the date of the commit":  {allowed: allowed("ann", `valid-after="20261129120001Z"`, ann.PublicKey()), raw: signed, want: trust.NotYetValid, says: "ann is valid after 2026-11-29T12:00:01Z, and the commit is of 2026-11-29T12:00:00Z"},
		"a key that is valid from the date of the commit":        {allowed: allowed("ann", `valid-after="20261129120000Z"`, ann.PublicKey()), raw: signed},
		"a key that ended before the date of the commit":         {allowed: allowed("ann", `valid-before="20261129"`, ann.PublicKey()), raw: signed, want: trust.ExpiredKey, says: "valid before"},
		"a key that has ended since":                             {allowed: allowed("ann", `valid-before="202611291200Z"`, ann.PublicKey()), raw: sshSigned(t, ann, unsigned(now.Add(-time.Hour), "work"))},
		"a commit dated in the future":                           {allowed: plain, raw: sshSigned(t, ann, unsigned(now.Add(48*time.Hour), "work")), want: trust.FutureDate},
		"a clock that is ahead by minutes":                       {allowed: plain, raw: sshSigned(t, ann, unsigned(now.Add(5*time.Minute), "work"))},
		"of two lines with a key, the one that allows it counts": {allowed: allowed("old", `valid-before="20200101"`, ann.PublicKey()) + allowed("ann", "", ann.PublicKey()), raw: signed},
		"a revoked key":                                          {allowed: plain, revoked: string(ssh.MarshalAuthorizedKey(ann.PublicKey())), raw: signed, want: trust.RevokedKey, says: print + " is revoked"},
		"the key of an authority signs no commits":               {allowed: allowed("*", "cert-authority", ann.PublicKey()), raw: signed, want: trust.UnknownKey},
		"a commit that ends after its headers":                   {allowed: plain, raw: bytes.TrimSuffix(payload, []byte("\nwork\n")), want: trust.NoSignature},
		"what is not a commit":                                   {allowed: plain, raw: []byte("object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype commit\n"), want: trust.BrokenCommit},
		"nothing":                                                {allowed: plain, want: trust.BrokenCommit},
	} {
		t.Run(name, func(t *testing.T) {
			v := judge(t, parsed(t, trust.Keys{AllowedSigners: []byte(c.allowed), RevokedKeys: []byte(c.revoked)}), c.raw, c.want, c.says)
			if v.Trusted() && (v.Signer == "" || v.Key == "") {
				t.Errorf("nobody has signed: %+v", v)
			}
		})
	}
}

// An RSA signature with SHA-1 is refused, as ssh-keygen refuses it.
func TestSSHSignatureWithSHA1(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, payload := signerOf(t, key), unsigned(now, "work")
	signature, err := sshsig.Sign(bytes.NewReader(payload), signer, sshsig.HashSHA512, "git")
	if err != nil {
		t.Fatal(err)
	}
	signature.Signature.Format = ssh.KeyAlgoRSA
	raw := withHeader(payload, "gpgsig", string(sshsig.Armor(signature)))
	judge(t, parsed(t, trust.Keys{AllowedSigners: []byte(allowed("ann", "", signer.PublicKey()))}), raw, trust.BadSignature, "rsa-sha2-256")
}

func TestSSHCertificates(t *testing.T) {
	authority, ann, other := newSSH(t), newSSH(t), newSSH(t)
	payload := unsigned(now, "work")
	certified := func(by ssh.Signer, change func(*ssh.Certificate)) []byte {
		certificate := &ssh.Certificate{
			Key: ann.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"ann@example.com"},
			ValidAfter: uint64(now.Add(-time.Hour).Unix()), ValidBefore: uint64(now.Add(time.Hour).Unix()),
		}
		if change != nil {
			change(certificate)
		}
		if err := certificate.SignCert(rand.Reader, by); err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.NewCertSigner(certificate, ann)
		if err != nil {
			t.Fatal(err)
		}
		return sshSigned(t, signer, payload)
	}
	for name, c := range map[string]struct {
		principals string
		revoked    ssh.PublicKey
		raw        []byte
		want       trust.Reason
		says       string
	}{
		"a principal for whom the authority may vouch": {principals: "*@example.com", raw: certified(authority, nil)},
		"a principal that the patterns exclude":        {principals: "*@example.com,!ann@*", raw: certified(authority, nil), want: trust.NotAllowed, says: "ann@example.com"},
		"a principal of another domain":                {principals: "*@example.org", raw: certified(authority, nil), want: trust.NotAllowed},
		"no principal":                                 {principals: "*", raw: certified(authority, func(c *ssh.Certificate) { c.ValidPrincipals = nil }), want: trust.NotAllowed},
		"a certificate of a host":                      {principals: "*", raw: certified(authority, func(c *ssh.Certificate) { c.CertType = ssh.HostCert }), want: trust.NotAllowed},
		"a certificate that had ended":                 {principals: "*", raw: certified(authority, func(c *ssh.Certificate) { c.ValidBefore = uint64(now.Add(-time.Minute).Unix()) }), want: trust.NotAllowed, says: "cert has expired"},
		"a certificate that had not begun":             {principals: "*", raw: certified(authority, func(c *ssh.Certificate) { c.ValidAfter = uint64(now.Add(time.Minute).Unix()) }), want: trust.NotAllowed, says: "not yet valid"},
		"a condition that is not known":                {principals: "*", raw: certified(authority, func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"verify-at": "x"} }), want: trust.NotAllowed, says: "verify-at"},
		"another authority":                            {principals: "*", raw: certified(other, nil), want: trust.UnknownKey},
		"a revoked key of a certificate":               {principals: "*", revoked: ann.PublicKey(), raw: certified(authority, nil), want: trust.RevokedKey},
		"a revoked authority":                          {principals: "*", revoked: authority.PublicKey(), raw: certified(authority, nil), want: trust.RevokedKey},
	} {
		t.Run(name, func(t *testing.T) {
			keys := trust.Keys{AllowedSigners: []byte(allowed(c.principals, "cert-authority", authority.PublicKey()))}
			if c.revoked != nil {
				keys.RevokedKeys = ssh.MarshalAuthorizedKey(c.revoked)
			}
			judge(t, parsed(t, keys), c.raw, c.want, c.says)
		})
	}
}

func TestPGPSignatures(t *testing.T) {
	born := now.Add(-30 * 24 * time.Hour)
	cyd, dan := newPGP(t, born, 0), newPGP(t, born, 0)
	short := newPGP(t, born, 24*time.Hour)
	revoked := newPGP(t, born, 0)
	payload := unsigned(now, "work")
	revokedSigned := pgpSigned(t, revoked, payload, now, crypto.SHA256)
	if err := revoked.RevokeKey(packet.NoReason, "", &packet.Config{Time: func() time.Time { return now }}); err != nil {
		t.Fatal(err)
	}
	late := newPGP(t, born, 0)
	lateSigned := pgpSigned(t, late, payload, now, crypto.SHA256)
	for _, identity := range late.Identities {
		day := uint32(24 * 60 * 60)
		identity.SelfSignature.KeyLifetimeSecs = &day
		if err := identity.SelfSignature.SignUserId(identity.UserId.Id, late.PrimaryKey, late.PrivateKey, nil); err != nil {
			t.Fatal(err)
		}
	}
	good := pgpSigned(t, cyd, payload, now, crypto.SHA256)
	for name, c := range map[string]struct {
		keyring string
		raw     []byte
		want    trust.Reason
		says    string
	}{
		"a good signature": {keyring: exported(t, cyd), raw: good},
		"a good signature, and several blocks in the keyring":  {keyring: "the keys of the team\n" + exported(t, dan, cyd), raw: good},
		"a key that is not in the keyring":                     {keyring: exported(t, dan), raw: good, want: trust.UnknownKey, says: fmt.Sprintf("%X", cyd.PrimaryKey.Fingerprint)},
		"the signature of another commit":                      {keyring: exported(t, cyd), raw: bytes.Replace(good, []byte("work"), []byte("evil"), 1), want: trust.BadSignature, says: "is not of this commit"},
		"a key that had expired when it signed":                {keyring: exported(t, late), raw: lateSigned, want: trust.ExpiredKey, says: "had expired"},
		"a key that expired after it signed":                   {keyring: exported(t, short), raw: pgpSigned(t, short, unsigned(born.Add(time.Hour), "work"), born.Add(time.Hour), crypto.SHA256)},
		"a revoked key":                                        {keyring: exported(t, revoked), raw: revokedSigned, want: trust.RevokedKey},
		"a clock that is ahead by minutes":                     {keyring: exported(t, cyd), raw: pgpSigned(t, cyd, payload, now.Add(5*time.Minute), crypto.SHA256)},
		"a signature dated in the future":                      {keyring: exported(t, cyd), raw: pgpSigned(t, cyd, payload, now.Add(48*time.Hour), crypto.SHA256), want: trust.FutureDate},
		"an armored block that ends early":                     {keyring: exported(t, cyd), raw: withHeader(payload, "gpgsig", "-----BEGIN PGP SIGNATURE-----\n\nAAAA"), want: trust.BadSignature},
		"a public key in the place of a signature":             {keyring: exported(t, cyd), raw: withHeader(payload, "gpgsig", strings.ReplaceAll(exported(t, cyd), "PUBLIC KEY BLOCK", "SIGNATURE")), want: trust.BadSignature},
		"an inline signed message in the place of a signature": {keyring: exported(t, cyd), raw: withHeader(payload, "gpgsig", "-----BEGIN PGP MESSAGE-----\n\nAAAA\n-----END PGP MESSAGE-----"), want: trust.Unsupported},
	} {
		t.Run(name, func(t *testing.T) {
			v := judge(t, parsed(t, trust.Keys{Keyring: []byte(c.keyring)}), c.raw, c.want, c.says)
			if v.Trusted() && v.Signer == "" {
				t.Errorf("nobody has signed: %+v", v)
			}
		})
	}
}

// A signed tag says nothing of a commit: its signature is of the tag.
func TestSignatureOfATag(t *testing.T) {
	ann := newSSH(t)
	tag := []byte("object 1111111111111111111111111111111111111111\ntype commit\ntag v1\ntagger Ann <ann@example.com> 1700000000 +0000\n\nv1\n")
	signers := parsed(t, trust.Keys{AllowedSigners: []byte(allowed("ann", "", ann.PublicKey()))})
	signature := sshSignature(t, ann, tag, "git")
	judge(t, signers, append(bytes.Clone(tag), signature...), trust.BrokenCommit, "tree")
	judge(t, signers, withHeader(unsigned(now, "work"), "gpgsig", signature), trust.BadSignature, "not of this commit")
}

func TestCommitNamesAreOneLine(t *testing.T) {
	raw := bytes.Replace(unsigned(now, "work"), []byte("Ann"), []byte("A\rn\x1b[2Jn"+strings.Repeat("n", 1000)), 1)
	c := trust.ReadCommit(raw)
	if strings.ContainsAny(c.Author, "\r\x1b") || len(c.Author) > 210 || c.Committer != "Bob <bob@example.com>" || !c.Date.Equal(now) || c.Message != "work\n" {
		t.Errorf("author %q, committer %q, date %s", c.Author, c.Committer, c.Date)
	}
}

func TestKeysThatCannotBeRead(t *testing.T) {
	key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(newSSH(t).PublicKey())))
	for name, c := range map[string]struct {
		keys trust.Keys
		says string
	}{
		"no key at all":                     {trust.Keys{AllowedSigners: []byte("# nobody yet\n\n")}, "there is no key"},
		"no principal":                      {trust.Keys{AllowedSigners: []byte(key)}, "line 1"},
		"an unknown option":                 {trust.Keys{AllowedSigners: []byte("# x\nann no-touch " + key)}, `line 2: ann: there is no option "no-touch"`},
		"an option twice":                   {trust.Keys{AllowedSigners: []byte(`ann namespaces="git",namespaces="file" ` + key)}, "twice"},
		"empty namespaces":                  {trust.Keys{AllowedSigners: []byte(`ann namespaces="" ` + key)}, "namespaces is empty"},
		"a date that is none":               {trust.Keys{AllowedSigners: []byte(`ann valid-after="tomorrow" ` + key)}, `"tomorrow" is not a date`},
		"a day that does not exist":         {trust.Keys{AllowedSigners: []byte(`ann valid-before="20260231" ` + key)}, "is not a date"},
		"a time that is never":              {trust.Keys{AllowedSigners: []byte(`ann valid-after="20270101",valid-before="20260101" ` + key)}, "never"},
		"a quote that is not closed":        {trust.Keys{AllowedSigners: []byte(`"ann ` + key)}, "not closed"},
		"a private key":                     {trust.Keys{AllowedSigners: []byte("-----BEGIN OPENSSH PRIVATE KEY-----\n")}, "line 1"},
		"a keyring without a block":         {trust.Keys{Keyring: []byte("ABCD")}, "no armored public key"},
		"a keyring with a broken block":     {trust.Keys{Keyring: []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n")}, "block 1"},
		"a revoked key that cannot be read": {trust.Keys{AllowedSigners: []byte("ann " + key), RevokedKeys: []byte("\nssh-ed25519 AAAA\n")}, "revoked keys, line 2"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := trust.Parse(c.keys); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v does not say %q", err, c.says)
			}
		})
	}
}

func FuzzReadCommit(f *testing.F) {
	f.Add(unsigned(now, "work"))
	f.Add(withHeader(unsigned(now, "work"), "gpgsig", "-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----"))
	f.Add(withHeader(unsigned(now, "work"), "gpgsig", "-----BEGIN PGP SIGNATURE-----\n\nwsBz\n-----END PGP SIGNATURE-----"))
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		f.Fatal(err)
	}
	signers, err := trust.Parse(trust.Keys{AllowedSigners: []byte(allowed("ann", "", signer.PublicKey()))})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if v := signers.Judge(trust.ReadCommit(raw), now); v.Trusted() {
			t.Errorf("trusted: %q", raw)
		}
	})
}
