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

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// ErrMismatch says that a registry names a digest for a manifest that has another one.
var ErrMismatch = errors.New("the registry names a digest that its manifest does not have; mend the registry, or the proxy before it")

// errOldSchema says that the digest of a manifest is not that of its bytes.
var errOldSchema = errors.New("the manifest has the schema 1 of Docker, of which no digest can be proved and which Kubernetes no longer runs; push the image again")

// honest compares each manifest with the digest that the registry names for it.
type honest struct {
	next   http.RoundTripper
	limits Limits
}

// RoundTrip implements http.RoundTripper.
func (h honest) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := h.next.RoundTrip(req)
	if err != nil || req.Method != http.MethodGet || resp.StatusCode != http.StatusOK || !strings.Contains(req.URL.Path, "/manifests/") {
		return resp, err
	}
	named := resp.Header.Get("Docker-Content-Digest")
	if types.MediaType(resp.Header.Get("Content-Type")) == types.DockerManifestSchema1Signed { // the library would believe the header
		resp.Body.Close()
		return nil, errOldSchema
	}
	if !strings.HasPrefix(named, "sha256:") {
		return resp, nil // the library computes it
	}
	defer resp.Body.Close()
	manifest, err := io.ReadAll(resp.Body) // which has a limit
	if err != nil {
		return nil, err
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
	err := r.ask(ctx, Located(reference)+"@"+digest, func(ctx context.Context, q question) error {
		got, err := q.puller.Get(ctx, q.at)
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
