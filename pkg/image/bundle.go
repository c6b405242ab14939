package image

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	envelope "github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
)

// cosign 3 keeps a signature (cosign specs/BUNDLE_SPEC.md) as a Sigstore bundle: the one layer of an artifact that refers
// to the image. The bundle holds a DSSE envelope. Its payload is an in-toto statement about the image's digest. cosign
// keeps attestations in the same way, such as a list of the image's packages. They describe the image and do not approve
// of it, so that their predicates do not count here.
const (
	bundleType    = "application/vnd.dev.sigstore.bundle.v0.3+json"
	statementType = "application/vnd.in-toto+json"
	signPredicate = "https://sigstore.dev/cosign/sign/v1"
)

// signedByReferrer asks for the bundles that refer to an image. remote.Referrers asks by the API for that, and by the
// tag that stands in for it on older registries.
func (r *Registry) signedByReferrer(ctx context.Context, repository, digest string, key publicKey) (verified bool, err error) {
	const each = 2 // requests: for its manifest, and for the bundle
	err = r.askAtLength(ctx, repository+"@"+digest, each*r.limits.Signatures, func(ctx context.Context, q question) error {
		index, err := remote.Referrers(q.at.Context().Digest(digest), append(q.options, remote.WithFilter("artifactType", bundleType))...)
		if err != nil {
			return err
		}
		list, err := index.IndexManifest()
		if err != nil {
			return err
		}
		if err := r.limits.signatures(len(list.Manifests)); err != nil {
			return err
		}
		var unread error // one that cannot be read leaves the others
		for _, referrer := range list.Manifests {
			content, err := bundleIn(ctx, q.puller, q.at.Context().Digest(referrer.Digest.String()))
			if verified = err == nil && key.signs(content, digest); verified {
				return nil
			}
			unread = cmp.Or(unread, err)
		}
		return unread
	})
	return verified, err
}

// bundleIn reads the bundle of a referrer; nil where it holds none.
func bundleIn(ctx context.Context, puller *remote.Puller, at name.Digest) ([]byte, error) {
	found, err := puller.Get(ctx, at)
	if err != nil {
		return nil, err
	}
	artifact, err := found.Image()
	if err != nil {
		return nil, err
	}
	manifest, err := artifact.Manifest()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(manifest.Layers, func(layer v1.Descriptor) bool { return layer.MediaType == bundleType && layer.Size <= longestPayload })
	if i < 0 {
		return nil, nil
	}
	layer, err := artifact.LayerByDigest(manifest.Layers[i].Digest)
	if err != nil {
		return nil, err
	}
	return contents(layer)
}

// signs reports whether a bundle holds a signature of an image by the key. sigstore-go would read the bundle too. It
// brings the clients of transparency logs, time stamps and TUF, of which a key that the user trusts needs none; the
// envelope is verified by sigstore's own package for that.
func (k publicKey) signs(bundle []byte, digest string) bool {
	var content struct {
		Envelope *envelope.Envelope `json:"dsseEnvelope"`
	}
	if json.Unmarshal(bundle, &content) != nil || content.Envelope == nil || content.Envelope.PayloadType != statementType {
		return false
	}
	for i := range content.Envelope.Signatures {
		content.Envelope.Signatures[i].KeyID = "" // a hint, by which the verifier skips unexpected signatures
	}
	sealed, err := json.Marshal(content.Envelope)
	if err != nil {
		return false
	}
	payload, err := content.Envelope.DecodeB64Payload()
	if err != nil || !approves(payload, digest) {
		return false
	}
	for _, verifier := range k {
		if dsse.WrapVerifier(verifier).VerifySignature(bytes.NewReader(sealed), nil) == nil {
			return true
		}
	}
	return false
}

// statement is the part of an in-toto statement that syncer reads.
type statement struct {
	Type      string    `json:"_type"`
	Predicate string    `json:"predicateType"`
	Subject   []subject `json:"subject"`
}

type subject struct {
	Digest map[string]string `json:"digest"` // by algorithm
}

// approves reports whether a payload is the statement that cosign signs for an image.
func approves(payload []byte, digest string) bool {
	var s statement
	if json.Unmarshal(payload, &s) != nil || !strings.HasPrefix(s.Type, "https://in-toto.io/Statement/") || s.Predicate != signPredicate {
		return false
	}
	algorithm, sum, _ := strings.Cut(digest, ":")
	return sum != "" && slices.ContainsFunc(s.Subject, func(of subject) bool { return of.Digest[algorithm] == sum })
}
