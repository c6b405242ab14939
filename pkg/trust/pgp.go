package trust

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

const beginKeys = "-----BEGIN PGP PUBLIC KEY BLOCK-----"

// keyring has the PGP keys that may sign.
type keyring struct{ entities openpgp.EntityList }

// parseKeyring reads armored public keys. Texts between the blocks are comments.
func parseKeyring(text []byte) (keyring, error) {
	var out keyring
	blocks := strings.Split(string(text), beginKeys)
	if len(blocks) == 1 && len(bytes.TrimSpace(text)) > 0 {
		return out, errors.New("the keyring has no armored public key (gpg --armor --export KEY)")
	}
	for i, block := range blocks[1:] {
		entities, err := openpgp.ReadArmoredKeyRing(strings.NewReader(beginKeys + block))
		if err == nil && len(entities) == 0 {
			err = errors.New("there is no key in it")
		}
		if err != nil {
			return out, fmt.Errorf("keyring, block %d: %w", i+1, err)
		}
		out.entities = append(out.entities, entities...)
	}
	return out, nil
}

func isPGP(signature []byte) bool {
	return bytes.HasPrefix(signature, []byte("-----BEGIN PGP SIGNATURE-----\n"))
}

// judge judges a PGP signature. A key that has expired counts for the signatures that it made before its end, by the date in
// the signature; a key that is revoked counts for none.
func (k keyring) judge(c Commit, now time.Time) Verdict {
	bare, signature, err := readSignature(c.signature)
	if err != nil {
		return Verdict{Reason: BadSignature, Text: fmt.Sprintf("its PGP signature cannot be read: %v", err)}
	}
	v := Verdict{Key: issuer(signature)}
	switch {
	case signature.SigType != packet.SigTypeBinary:
		v.Reason, v.Text = BadSignature, fmt.Sprintf("its signature by the key %s is not over a document", v.Key)
		return v
	case !strong(signature.Hash):
		v.Reason, v.Text = Unsupported, fmt.Sprintf("its signature by the key %s uses %s, which can be forged", v.Key, signature.Hash)
		return v
	case signature.CreationTime.After(now.Add(futureSlack)):
		v.Reason, v.Text = FutureDate, fmt.Sprintf("the date of its signature, %s, is in the future", day(signature.CreationTime))
		return v
	case signature.IssuerKeyId == nil || len(k.entities.KeysById(*signature.IssuerKeyId)) == 0:
		v.Reason, v.Text = UnknownKey, fmt.Sprintf("it is signed by the key %s, which is not in the keyring", v.Key)
		return v
	}
	if signature.CreationTime.After(now) {
		now = signature.CreationTime // the clock of its author is ahead
	}
	clock := &packet.Config{Time: func() time.Time { return now }}
	made, by, err := openpgp.VerifyDetachedSignature(k.entities, bytes.NewReader(c.payload), bytes.NewReader(bare), clock)
	if by != nil {
		v.Signer = userOf(by)
		v.Key = fmt.Sprintf("%X", by.PrimaryKey.Fingerprint)
	}
	switch {
	case err == nil, errors.Is(err, pgperrors.ErrKeyExpired) && by != nil && wasValid(by, *signature.IssuerKeyId, made.CreationTime):
		return v
	case errors.Is(err, pgperrors.ErrKeyExpired):
		v.Reason, v.Text = ExpiredKey, fmt.Sprintf("its key %s of %s had expired at %s, when it signed", v.Key, v.Signer, day(made.CreationTime))
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		v.Reason, v.Text = ExpiredKey, fmt.Sprintf("its signature by the key %s of %s has expired", v.Key, v.Signer)
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		v.Reason, v.Text = RevokedKey, fmt.Sprintf("its key %s of %s is revoked", v.Key, v.Signer)
	default:
		v.Signer, v.Reason, v.Text = "", BadSignature, fmt.Sprintf("the signature by the key %s is not of this commit", v.Key)
	}
	return v
}

// readSignature reads an armored block with one signature.
func readSignature(text []byte) (bare []byte, signature *packet.Signature, err error) {
	block, err := armor.Decode(bytes.NewReader(text))
	if err != nil {
		return nil, nil, err
	}
	if bare, err = io.ReadAll(io.LimitReader(block.Body, longestSignature)); err != nil {
		return nil, nil, err
	}
	packets := packet.NewReader(bytes.NewReader(bare))
	first, err := packets.Next()
	if err != nil {
		return nil, nil, err
	}
	signature, ok := first.(*packet.Signature)
	if !ok {
		return nil, nil, errors.New("it is no signature")
	}
	if _, err := packets.Next(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("it has more than one part")
	}
	return bare, signature, nil
}

func strong(hash crypto.Hash) bool {
	switch hash {
	case crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512:
		return true
	}
	return false
}

// issuer is the key that a signature names.
func issuer(signature *packet.Signature) string {
	switch {
	case len(signature.IssuerFingerprint) > 0:
		return fmt.Sprintf("%X", signature.IssuerFingerprint)
	case signature.IssuerKeyId != nil:
		return fmt.Sprintf("%016X", *signature.IssuerKeyId)
	}
	return "of nobody"
}

// userOf is the user ID of a key.
func userOf(by *openpgp.Entity) string {
	if _, identity := by.PrimarySelfSignature(); identity != nil {
		return cut(identity.Name)
	}
	return "a key without a user ID"
}

// wasValid reports whether a key that has expired was valid at a date.
func wasValid(by *openpgp.Entity, id uint64, at time.Time) bool {
	self, _ := by.PrimarySelfSignature()
	if self == nil || by.PrimaryKey.KeyExpired(self, at) {
		return false
	}
	for _, subkey := range by.Subkeys {
		if subkey.PublicKey.KeyId == id {
			return !subkey.PublicKey.KeyExpired(subkey.Sig, at)
		}
	}
	return by.PrimaryKey.KeyId == id
}
