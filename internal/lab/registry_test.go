package lab

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

func TestRegistry(t *testing.T) {
	ctx, dir := start(t), t.TempDir()
	registry, err := StartRegistry(ctx, RegistryOptions{Bin: registryBin, Dir: dir, Username: "ci", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopped(t, dir, registry.Stop) })
	t.Setenv("DOCKER_CONFIG", registry.DockerConfig)

	const tag = "spark/session-enrichment:v1.0.0"
	first, err := registry.Push(ctx, tag, "first")
	if err != nil {
		t.Fatal(err)
	}
	if got := resolve(t, ctx, registry, tag); got != first {
		t.Errorf("the tag is %s, pushed %s", got, first)
	}
	second, err := registry.Push(ctx, tag, "second")
	if err != nil {
		t.Fatal(err)
	}
	if got := resolve(t, ctx, registry, tag); got != second || first == second {
		t.Errorf("the moved tag is %s, pushed %s after %s", got, second, first)
	}
	if again, err := registry.Push(ctx, "other:v1", "first"); err != nil || again != first {
		t.Errorf("the same seed gave %s (%v), at first %s", again, err, first)
	}
	index, err := registry.PushIndex(ctx, "multi:v1", "first")
	if err != nil {
		t.Fatal(err)
	}
	if got := resolve(t, ctx, registry, "multi:v1"); got != index {
		t.Errorf("the index is %s, pushed %s", got, index)
	}

	if code := refusal(ctx, registry, tag, remote.WithAuth(authn.Anonymous)); code != http.StatusUnauthorized {
		t.Errorf("without a password: status %d", code)
	}
	if err := registry.DeleteTag(ctx, tag); err != nil {
		t.Fatal(err)
	}
	if code := refusal(ctx, registry, tag, remote.WithAuthFromKeychain(authn.DefaultKeychain)); code != http.StatusNotFound {
		t.Errorf("a deleted tag: status %d", code)
	}
	if got := resolve(t, ctx, registry, "spark/session-enrichment@"+second); got != second {
		t.Errorf("the digest of a deleted tag is %s", got)
	}

	host := registry.Host
	stopped(t, dir, registry.Stop)
	if code := refusal(ctx, registry, "other:v1", remote.WithAuth(authn.Anonymous)); code != 0 {
		t.Errorf("a stopped registry answers with status %d", code)
	}
	if err := registry.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if got := resolve(t, ctx, registry, "other:v1"); got != first || registry.Host != host {
		t.Errorf("after a restart at %s the tag is %s, before at %s %s", registry.Host, got, host, first)
	}
}

func TestRegistryWithoutBinary(t *testing.T) {
	_, err := StartRegistry(start(t), RegistryOptions{Bin: t.TempDir(), Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "make registry") {
		t.Errorf("the error does not name `make registry`: %v", err)
	}
}

// resolve asks for a digest as a client with the docker configuration does.
func resolve(t *testing.T, ctx context.Context, registry *Registry, reference string) string {
	t.Helper()
	ref, err := name.ParseReference(registry.Host + "/" + reference)
	if err != nil {
		t.Fatal(err)
	}
	descriptor, err := remote.Head(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		t.Fatal(err)
	}
	return descriptor.Digest.String()
}

// refusal returns the status with which the registry refuses a reference, 0 if it does not answer.
func refusal(ctx context.Context, registry *Registry, reference string, auth remote.Option) int {
	ref, err := name.ParseReference(registry.Host + "/" + reference)
	if err != nil {
		return -1
	}
	_, err = remote.Get(ref, remote.WithContext(ctx), auth, remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
	var refused *transport.Error
	switch {
	case errors.As(err, &refused):
		return refused.StatusCode
	case err != nil:
		return 0
	}
	return http.StatusOK
}
