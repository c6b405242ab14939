package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// ErrMismatch says that a registry names a digest for a manifest that has another one.
var ErrMismatch = errors.New("the registry names a digest that its manifest does not have; mend the registry, or the proxy before it")

// largestManifest is the most of a manifest that is read, in bytes; the OCI distribution specification has registries take 4 MiB.
const largestManifest = 8 << 20

// honest compares each manifest with the digest that the registry names for it.
type honest struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (h honest) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := h.next.RoundTrip(req)
	if err != nil || req.Method != http.MethodGet || resp.StatusCode != http.StatusOK || !strings.Contains(req.URL.Path, "/manifests/") {
		return resp, err
	}
	named := resp.Header.Get("Docker-Content-Digest")
	signed := types.MediaType(resp.Header.Get("Content-Type")) == types.DockerManifestSchema1Signed // its digest is the digest of a part
	if !strings.HasPrefix(named, "sha256:") || signed {
		return resp, nil
	}
	defer resp.Body.Close()
	manifest, err := io.ReadAll(io.LimitReader(resp.Body, largestManifest+1))
	if err != nil {
		return nil, err
	}
	if len(manifest) > largestManifest {
		return nil, fmt.Errorf("a manifest has more than %d MiB", largestManifest>>20)
	}
	sum := sha256.Sum256(manifest)
	if is := "sha256:" + hex.EncodeToString(sum[:]); is != named {
		return nil, fmt.Errorf("%w (it names %s, and the manifest has %s)", ErrMismatch, named, is)
	}
	resp.Body = io.NopCloser(bytes.NewReader(manifest))
	return resp, nil
}

// Confirm checks that a registry has the manifest of a digest that it returned for a reference: the look-up of a tag by
// HEAD returns the digest alone. The error is ErrMismatch, or one of Digest's errors.
func (r *Registry) Confirm(ctx context.Context, reference, digest string) error {
	err := r.ask(ctx, Located(reference)+"@"+digest, func(ctx context.Context, puller *remote.Puller, at name.Reference) error {
		got, err := puller.Get(ctx, at)
		if err == nil && got.Digest.String() != digest {
			err = ErrMismatch
		}
		return err
	})
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w (it names %s, and has no such manifest)", ErrMismatch, digest)
	}
	if err != nil {
		return fmt.Errorf("resolving %s: %w", reference, err)
	}
	return nil
}
