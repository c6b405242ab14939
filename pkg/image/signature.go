package image

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// ErrUnsigned says that no signature of an image was made with the required key.
var ErrUnsigned = errors.New("the image has no signature by the required key; sign it with `cosign sign --key`, or mend images.signatures")

// Where cosign keeps signatures (cosign specs/SIGNATURE_SPEC.md): in an image beside the signed one, whose tag is the
// digest with a suffix; each layer is a payload, and its annotation the signature over it.
const (
	signatureSuffix     = ".sig"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	longestPayload      = 1 << 20
)

// Verify makes sure that an image is signed with a public key in a PEM file. The file is read at each call, so that a
// key can be rotated. Signatures are looked for where cosign keeps them: beside the image, and since its version 3 as
// referrers of it.
func (r *Registry) Verify(ctx context.Context, repository, digest, publicKeyFile string) error {
	key, err := loadKey(publicKeyFile)
	if err != nil {
		return err
	}
	verified := false
	for _, look := range []func(context.Context, string, string, publicKey) (bool, error){r.signedBeside, r.signedByReferrer} {
		if verified, err = look(ctx, repository, digest, key); verified || err != nil && !errors.Is(err, ErrNotFound) {
			break
		}
	}
	if errors.Is(err, ErrNotFound) || err == nil && !verified {
		err = fmt.Errorf("%w (key %s)", ErrUnsigned, publicKeyFile)
	}
	if err != nil {
		return fmt.Errorf("verifying %s@%s: %w", repository, digest, err)
	}
	return nil
}

func (r *Registry) signedBeside(ctx context.Context, repository, digest string, key publicKey) (verified bool, err error) {
	reference := repository + ":" + strings.ReplaceAll(digest, ":", "-") + signatureSuffix
	err = r.askAtLength(ctx, reference, r.limits.Signatures, func(ctx context.Context, q question) error {
		found, err := q.puller.Get(ctx, q.at)
		if err != nil {
			return err
		}
		signatures, err := found.Image()
		if err != nil {
			return err
		}
		verified, err = anySigns(signatures, key[0], digest, r.limits)
		return err
	})
	return verified, err
}

// publicKey verifies a signature with each of the hashes that may have been used with it.
type publicKey []signature.Verifier

func loadKey(file string) (publicKey, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	key, err := cryptoutils.UnmarshalPEMToPublicKey(pem)
	if err != nil {
		return nil, fmt.Errorf("reading the public key %s: %w", file, err)
	}
	hashes := []crypto.Hash{crypto.SHA256}
	if ec, ok := key.(*ecdsa.PublicKey); ok && ec.Curve == elliptic.P384() {
		hashes = append(hashes, crypto.SHA384)
	} else if ok && ec.Curve == elliptic.P521() {
		hashes = append(hashes, crypto.SHA512)
	}
	out := make(publicKey, len(hashes))
	for i, hash := range hashes {
		if out[i], err = signature.LoadVerifier(key, hash); err != nil {
			return nil, fmt.Errorf("reading the public key %s: %w", file, err)
		}
	}
	return out, nil
}

// anySigns reports whether one of the signatures was made with the key, over this digest.
func anySigns(signatures v1.Image, verifier signature.Verifier, digest string, limits Limits) (bool, error) {
	manifest, err := signatures.Manifest()
	if err != nil {
		return false, err
	}
	if err := limits.signatures(len(manifest.Layers)); err != nil {
		return false, err
	}
	for _, layer := range manifest.Layers {
		made, err := base64.StdEncoding.DecodeString(layer.Annotations[signatureAnnotation])
		if err != nil || len(made) == 0 || layer.Size > longestPayload {
			continue
		}
		blob, err := signatures.LayerByDigest(layer.Digest)
		if err != nil {
			return false, err
		}
		payload, err := contents(blob)
		if err != nil {
			return false, err
		}
		if verifier.VerifySignature(bytes.NewReader(made), bytes.NewReader(payload)) == nil && signedDigest(payload) == digest {
			return true, nil
		}
	}
	return false, nil
}

func contents(layer v1.Layer) ([]byte, error) {
	reader, err := layer.Compressed() // stored as it is
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	return io.ReadAll(io.LimitReader(reader, longestPayload))
}

// signedDigest is the digest that a payload speaks of: a signature over another image proves nothing.
func signedDigest(payload []byte) string {
	var simple struct {
		Critical struct {
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	if json.Unmarshal(payload, &simple) != nil {
		return ""
	}
	return simple.Critical.Image.Digest
}
