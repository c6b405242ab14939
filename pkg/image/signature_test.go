package image

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// newKey makes a key as `cosign generate-key-pair` does, and writes its public half to a file.
func newKey(t *testing.T) (signer signature.Signer, publicKeyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer, err = signature.LoadECDSASigner(key, crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	pem, err := cryptoutils.MarshalPublicKeyToPEM(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicKeyFile = filepath.Join(t.TempDir(), "cosign.pub")
	if err := os.WriteFile(publicKeyFile, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	return signer, publicKeyFile
}

func payload(digest string) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"registry.example.com/team/web"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, digest)
}

// sign adds a layer to a signature image, as cosign does.
func sign(t *testing.T, signatures v1.Image, signer signature.Signer, payload []byte) v1.Image {
	t.Helper()
	made, err := signer.SignMessage(bytes.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	return annotate(t, signatures, payload, base64.StdEncoding.EncodeToString(made))
}

func annotate(t *testing.T, signatures v1.Image, payload []byte, annotation string) v1.Image {
	t.Helper()
	out, err := mutate.Append(mutate.MediaType(signatures, types.OCIManifestSchema1), mutate.Addendum{
		Layer:       static.NewLayer(payload, "application/vnd.dev.cosign.simplesigning.v1+json"),
		Annotations: map[string]string{signatureAnnotation: annotation},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSignatures(t *testing.T) {
	signer, key := newKey(t)
	stranger, _ := newKey(t)
	for name, c := range map[string]struct {
		signatures func(t *testing.T, digest string) v1.Image // nil: there is no such image
		want       error
	}{
		"the right key": {func(t *testing.T, digest string) v1.Image { return sign(t, empty.Image, signer, payload(digest)) }, nil},
		"another key":   {func(t *testing.T, digest string) v1.Image { return sign(t, empty.Image, stranger, payload(digest)) }, ErrUnsigned},
		"another key, then the right one": {func(t *testing.T, digest string) v1.Image {
			return sign(t, sign(t, empty.Image, stranger, payload(digest)), signer, payload(digest))
		}, nil},
		"another image's signature, copied to this tag": {func(t *testing.T, _ string) v1.Image { return sign(t, empty.Image, signer, payload(digest)) }, ErrUnsigned},
		"another image's signature, then this one's": {func(t *testing.T, own string) v1.Image {
			return sign(t, sign(t, empty.Image, signer, payload(digest)), signer, payload(own))
		}, nil},
		"no signature image": {nil, ErrUnsigned},
		"no signature in it": {func(*testing.T, string) v1.Image { return empty.Image }, ErrUnsigned},
		"an annotation that is no base64": {func(t *testing.T, digest string) v1.Image {
			return annotate(t, empty.Image, payload(digest), "!corrupted!")
		}, ErrUnsigned},
		"an annotation that is no signature": {func(t *testing.T, digest string) v1.Image {
			return annotate(t, empty.Image, payload(digest), base64.StdEncoding.EncodeToString([]byte("corrupted")))
		}, ErrUnsigned},
		"an empty annotation": {func(t *testing.T, digest string) v1.Image { return annotate(t, empty.Image, payload(digest), "") }, ErrUnsigned},
		"a corrupted one, then a good one": {func(t *testing.T, digest string) v1.Image {
			return sign(t, annotate(t, empty.Image, payload(digest), "!corrupted!"), signer, payload(digest))
		}, nil},
		"a signature moved to another payload": {func(t *testing.T, own string) v1.Image {
			made, err := signer.SignMessage(bytes.NewReader(payload(digest)))
			if err != nil {
				t.Fatal(err)
			}
			return annotate(t, empty.Image, payload(own), base64.StdEncoding.EncodeToString(made))
		}, ErrUnsigned},
		"a payload that is no JSON":  {func(t *testing.T, _ string) v1.Image { return sign(t, empty.Image, signer, []byte("signed")) }, ErrUnsigned},
		"a payload without a digest": {func(t *testing.T, _ string) v1.Image { return sign(t, empty.Image, signer, []byte("{}")) }, ErrUnsigned},
		"a payload that is never read": {func(t *testing.T, digest string) v1.Image {
			return sign(t, empty.Image, signer, append(payload(digest), bytes.Repeat([]byte(" "), longestPayload)...))
		}, ErrUnsigned},
	} {
		t.Run(name, func(t *testing.T) {
			_, host, digest := serve(t)
			if c.signatures != nil {
				push(t, host+"/team/web:"+strings.ReplaceAll(digest, ":", "-")+".sig", c.signatures(t, digest))
			}
			for from, r := range map[string]*Registry{host: quick(t), "registry.example.com": quick(t, Host{Name: "registry.example.com", Mirror: host})} {
				err := r.Verify(t.Context(), from+"/team/web", digest, key)
				if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
					t.Errorf("%v, want %v", err, c.want)
				}
				if err != nil && (!strings.Contains(err.Error(), "verifying "+from+"/team/web@"+digest+": ") || !strings.Contains(err.Error(), key)) {
					t.Errorf("the image or the key is not named: %v", err)
				}
			}
		})
	}
}

func TestKeyIsReadAtEachCheck(t *testing.T) {
	_, host, digest := serve(t)
	signer, key := newKey(t)
	_, other := newKey(t)
	push(t, host+"/team/web:"+strings.ReplaceAll(digest, ":", "-")+".sig", sign(t, empty.Image, signer, payload(digest)))
	r := quick(t)
	if err := r.Verify(t.Context(), host+"/team/web", digest, key); err != nil {
		t.Error(err)
	}
	if err := os.Rename(other, key); err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(t.Context(), host+"/team/web", digest, key); !errors.Is(err, ErrUnsigned) {
		t.Errorf("a key that is no longer there is trusted: %v", err)
	}
}

// A key that cannot be read, and a registry that does not answer, are no signature and no missing signature either.
func TestSignaturesThatCannotBeChecked(t *testing.T) {
	h, host, digest := serve(t)
	signer, key := newKey(t)
	push(t, host+"/team/web:"+strings.ReplaceAll(digest, ":", "-")+".sig", sign(t, empty.Image, signer, payload(digest)))
	broken := filepath.Join(t.TempDir(), "broken.pub")
	if err := os.WriteFile(broken, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	nothing := filepath.Join(t.TempDir(), "nothing.pub")
	for _, file := range []string{broken, nothing} {
		err := quick(t).Verify(t.Context(), host+"/team/web", digest, file)
		if err == nil || errors.Is(err, ErrUnsigned) || !strings.Contains(err.Error(), file) {
			t.Errorf("got %v", err)
		}
	}
	if err := quick(t).Verify(t.Context(), host+"/team/web", digest, nothing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	for status, want := range map[int]error{http.StatusInternalServerError: ErrUnavailable, http.StatusForbidden: ErrDenied} {
		h.before = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true }
		if err := quick(t).Verify(t.Context(), host+"/team/web", digest, key); !errors.Is(err, want) || errors.Is(err, ErrUnsigned) {
			t.Errorf("%d: %v", status, err)
		}
	}
	// A layer whose bytes are not those of the manifest is not looked at.
	h.before = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			fmt.Fprint(w, strings.Replace(string(payload(digest)), "cosign", "forged", 1))
			return true
		}
		return false
	}
	if err := quick(t).Verify(t.Context(), host+"/team/web", digest, key); err == nil {
		t.Error("a forged payload was taken")
	}
}
