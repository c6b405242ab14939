package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Push puts a tiny image for linux/amd64 under a reference such as spark/enrichment:v1.0.0. Its digest follows from
// the seed alone, so that a test moves a tag by pushing another seed.
func (r *Registry) Push(ctx context.Context, reference, seed string) (digest string, err error) {
	image, err := tinyImage("amd64", seed)
	if err != nil {
		return "", fmt.Errorf("making an image: %w", err)
	}
	ref, err := r.reference(reference)
	if err != nil {
		return "", err
	}
	if err := remote.Write(ref, image, r.remote(ctx)...); err != nil {
		return "", fmt.Errorf("pushing %s: %w", reference, err)
	}
	hash, err := image.Digest()
	return hash.String(), err
}

// PushIndex puts an index of two tiny images, for linux/amd64 and linux/arm64, under a reference, and returns the
// digest of the index.
func (r *Registry) PushIndex(ctx context.Context, reference, seed string) (digest string, err error) {
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		image, err := tinyImage(arch, seed)
		if err != nil {
			return "", fmt.Errorf("making an image: %w", err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	ref, err := r.reference(reference)
	if err != nil {
		return "", err
	}
	if err := remote.WriteIndex(ref, index, r.remote(ctx)...); err != nil {
		return "", fmt.Errorf("pushing %s: %w", reference, err)
	}
	hash, err := index.Digest()
	return hash.String(), err
}

// DeleteTag removes a tag; the image stays under its digest.
func (r *Registry) DeleteTag(ctx context.Context, reference string) error {
	ref, err := r.reference(reference)
	if err != nil {
		return err
	}
	if err := remote.Delete(ref, r.remote(ctx)...); err != nil {
		return fmt.Errorf("deleting %s: %w", reference, err)
	}
	return nil
}

// DeleteImage deletes the manifest behind a tag, so that neither the tag nor the digest finds it.
func (r *Registry) DeleteImage(ctx context.Context, reference string) error {
	ref, err := r.reference(reference)
	if err != nil {
		return err
	}
	found, err := remote.Head(ref, r.remote(ctx)...)
	if err != nil {
		return err
	}
	return remote.Delete(ref.Context().Digest(found.Digest.String()), r.remote(ctx)...)
}

// reference is one in this registry, which speaks plain HTTP.
func (r *Registry) reference(reference string) (name.Reference, error) {
	return name.ParseReference(r.Host+"/"+reference, name.Insecure, name.StrictValidation)
}

func (r *Registry) remote(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx),
		remote.WithAuth(&authn.Basic{Username: r.opts.Username, Password: r.opts.Password}),
	}
}

// tinyImage is an image with one file, which holds the seed. It has no dates, so that the same seed is the same image.
func tinyImage(arch, seed string) (v1.Image, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "seed", Mode: 0o444, Size: int64(len(seed))}); err != nil {
		return nil, err
	}
	if _, err := w.Write([]byte(seed)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	content, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
	if err != nil {
		return nil, err
	}
	config := &v1.ConfigFile{OS: "linux", Architecture: arch, Config: v1.Config{Entrypoint: []string{"/seed"}}}
	image, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(image, content)
}
