package image

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
)

// inToto is the statement that cosign signs, with another predicate where one is given.
func inToto(digest, predicate string) string {
	algorithm, sum, _ := strings.Cut(digest, ":")
	return fmt.Sprintf(`{"_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {%q: %q}}], "predicateType": %q, "predicate": {}}`, algorithm, sum, predicate)
}

// bundleOf seals a statement as `cosign sign --key` does in its version 3.
func bundleOf(t *testing.T, signer signature.Signer, payload string) string {
	t.Helper()
	sealed, err := dsse.WrapSigner(signer, statementType).SignMessage(strings.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"mediaType": %q, "verificationMaterial": {"publicKey": {"hint": "x"}}, "dsseEnvelope": %s}`, bundleType, sealed)
}

// referTo pushes an artifact with one layer that refers to team/web:1.
func referTo(t *testing.T, host, layer, layerType, artifactType string) {
	t.Helper()
	tag, err := name.NewTag(host + "/team/web:1")
	if err != nil {
		t.Fatal(err)
	}
	subject, err := remote.Head(tag)
	if err != nil {
		t.Fatal(err)
	}
	artifact, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), static.NewLayer([]byte(layer), types.MediaType(layerType)))
	if err != nil {
		t.Fatal(err)
	}
	// The library takes the kind of an artifact from its configuration, as the specification had it first.
	artifact = mutate.ConfigMediaType(artifact, types.MediaType(artifactType))
	artifact = mutate.Subject(artifact, v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}).(v1.Image)
	sum, err := artifact.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag.Context().Digest(sum.String()), artifact); err != nil {
		t.Fatal(err)
	}
}

func TestBundles(t *testing.T) {
	signer, key := newKey(t)
	stranger, _ := newKey(t)
	signed := func(t *testing.T, by signature.Signer, payload string) []string {
		return []string{bundleOf(t, by, payload)}
	}
	for name, c := range map[string]struct {
		bundles func(t *testing.T, digest string) []string
		want    error
	}{
		"the right key": {func(t *testing.T, own string) []string { return signed(t, signer, inToto(own, signPredicate)) }, nil},
		"another key":   {func(t *testing.T, own string) []string { return signed(t, stranger, inToto(own, signPredicate)) }, ErrUnsigned},
		"another key's, what is none, then the right one": {func(t *testing.T, own string) []string {
			return append(signed(t, stranger, inToto(own, signPredicate)), "{", "{}", `{"dsseEnvelope": {}}`, bundleOf(t, signer, inToto(own, signPredicate)))
		}, nil},
		"another image's": {func(t *testing.T, _ string) []string { return signed(t, signer, inToto(digest, signPredicate)) }, ErrUnsigned},
		"one of several images": {func(t *testing.T, own string) []string {
			_, sum, _ := strings.Cut(own, ":")
			return signed(t, signer, strings.Replace(inToto(digest, signPredicate), `"subject": [`, `"subject": [{"name": "x"}, {"digest": {"sha256": "`+sum+`"}}, `, 1))
		}, nil},
		"another algorithm's sum": {func(t *testing.T, own string) []string {
			return signed(t, signer, strings.Replace(inToto(own, signPredicate), `"sha256"`, `"sha512"`, 1))
		}, ErrUnsigned},
		"no subject": {func(t *testing.T, own string) []string {
			return signed(t, signer, `{"_type": "https://in-toto.io/Statement/v1", "predicateType": "`+signPredicate+`"}`)
		}, ErrUnsigned},
		"an attestation by the same key": {func(t *testing.T, own string) []string {
			return signed(t, signer, inToto(own, "https://cosign.sigstore.dev/attestation/vuln/v1"))
		}, ErrUnsigned},
		"no statement": {func(t *testing.T, own string) []string { return signed(t, signer, "signed "+own) }, ErrUnsigned},
		"a tampered payload": {func(t *testing.T, own string) []string {
			forged := base64.StdEncoding.EncodeToString([]byte(inToto(own, signPredicate)))
			return []string{strings.Replace(bundleOf(t, signer, inToto(digest, signPredicate)), base64.StdEncoding.EncodeToString([]byte(inToto(digest, signPredicate))), forged, 1)}
		}, ErrUnsigned},
		"two payloads": {func(t *testing.T, own string) []string {
			forged := base64.StdEncoding.EncodeToString([]byte(inToto(own, signPredicate)))
			return []string{strings.Replace(bundleOf(t, signer, inToto(digest, signPredicate)), `"dsseEnvelope": {`, `"dsseEnvelope": {"Payload": "`+forged+`", `, 1)}
		}, ErrUnsigned},
		"another type of payload": {func(t *testing.T, own string) []string {
			return []string{strings.Replace(bundleOf(t, signer, inToto(own, signPredicate)), statementType, "text/plain", 1)}
		}, ErrUnsigned},
		"no signature": {func(t *testing.T, own string) []string {
			return []string{fmt.Sprintf(`{"dsseEnvelope": {"payloadType": %q, "payload": %q, "signatures": []}}`, statementType, base64.StdEncoding.EncodeToString([]byte(inToto(own, signPredicate))))}
		}, ErrUnsigned},
		"with a hint of the key": {func(t *testing.T, own string) []string {
			return []string{strings.Replace(bundleOf(t, signer, inToto(own, signPredicate)), `"keyid":""`, `"keyid":"mine"`, 1)}
		}, nil},
		"a bundle that is never read": {func(t *testing.T, own string) []string {
			return []string{bundleOf(t, signer, inToto(own, signPredicate)) + strings.Repeat(" ", longestPayload)}
		}, ErrUnsigned},
		"none": {func(*testing.T, string) []string { return nil }, ErrUnsigned},
	} {
		for kind, api := range map[string]bool{"by the API": true, "by the tag": false} {
			t.Run(name+", "+kind, func(t *testing.T) {
				h, host, digest := serve(t)
				if api {
					h.next = registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
					digest = pushRandom(t, host+"/team/web:1")
				}
				for _, bundle := range c.bundles(t, digest) {
					referTo(t, host, bundle, bundleType, bundleType)
				}
				referTo(t, host, bundleOf(t, signer, inToto(digest, signPredicate)), "application/json", bundleType) // no bundle
				referTo(t, host, "<bill/>", "application/xml", "application/vnd.example.bill")
				for from, r := range map[string]*Registry{host: quick(t), "registry.example.com": quick(t, Host{Name: "registry.example.com", Mirror: host})} {
					err := r.Verify(t.Context(), from+"/team/web", digest, key)
					if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
						t.Errorf("%v, want %v", err, c.want)
					}
				}
			})
		}
	}
}

// pushRandom pushes an image and returns its digest.
func pushRandom(t *testing.T, reference string) string {
	t.Helper()
	img, err := mutate.Config(empty.Image, v1.Config{Labels: map[string]string{"test": t.Name()}})
	if err != nil {
		t.Fatal(err)
	}
	push(t, reference, img)
	sum, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return sum.String()
}

// cosign 3 signs with the hash that goes with a curve.
func TestBundlesOfLargerKeys(t *testing.T) {
	for curve, hash := range map[elliptic.Curve]crypto.Hash{elliptic.P384(): crypto.SHA384, elliptic.P521(): crypto.SHA512} {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		pem, err := cryptoutils.MarshalPublicKeyToPEM(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "cosign.pub")
		if err := os.WriteFile(file, pem, 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := loadKey(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, with := range []crypto.Hash{crypto.SHA256, hash} {
			signer, err := signature.LoadECDSASigner(private, with)
			if err != nil {
				t.Fatal(err)
			}
			if !key.signs([]byte(bundleOf(t, signer, inToto(digest, signPredicate))), digest) {
				t.Errorf("%s with %s is not verified", curve.Params().Name, with)
			}
		}
	}
}

// A registry that does not answer is no missing signature, and a referrer that is gone leaves the others.
func TestBundlesThatCannotBeRead(t *testing.T) {
	signer, key := newKey(t)
	h, host, _ := serve(t)
	h.next = registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	digest := pushRandom(t, host+"/team/web:1")
	for range 2 { // no two signatures are equal
		referTo(t, host, bundleOf(t, signer, inToto(digest, signPredicate)), bundleType, bundleType)
	}
	for status, want := range map[int]error{http.StatusInternalServerError: ErrUnavailable, http.StatusForbidden: ErrDenied} {
		h.before = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/referrers/") {
				w.WriteHeader(status)
			}
			return strings.Contains(r.URL.Path, "/referrers/")
		}
		if err := quick(t).Verify(t.Context(), host+"/team/web", digest, key); !errors.Is(err, want) || errors.Is(err, ErrUnsigned) {
			t.Errorf("%d: %v", status, err)
		}
	}
	gone := 0
	h.before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/sha256:") || gone > 0 {
			return false
		}
		gone++
		w.WriteHeader(http.StatusNotFound)
		return true
	}
	if err := quick(t).Verify(t.Context(), host+"/team/web", digest, key); err != nil || gone != 1 {
		t.Errorf("with the first of two gone: %v", err)
	}
	// Bytes that are not those of the manifest are not looked at.
	h.before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		fmt.Fprint(w, bundleOf(t, signer, inToto(digest, signPredicate)))
		return true
	}
	if err := quick(t).Verify(t.Context(), host+"/team/web", digest, key); err == nil {
		t.Error("a forged bundle was taken")
	}
}
