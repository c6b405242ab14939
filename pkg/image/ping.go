package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Ping makes sure that the registry of a repository answers and takes the credentials for it. It asks for no image. The
// error is one of ErrDenied and ErrUnavailable, or the context's.
func (r *Registry) Ping(ctx context.Context, repository string) error {
	at, err := r.locate(repository)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lookupTimeout, fmt.Errorf("no answer within %s", lookupTimeout))
	defer cancel()
	place := at.Context()
	budget := newBudget(r.transport, r.limits, 0)
	if err := r.enter(ctx, place, r.bounded(budget)); err != nil {
		err = budget.conceal(classify(ctx, err))
		if errors.Is(err, ErrNotFound) {
			err = fmt.Errorf("%w (it has no registry's API)", ErrUnavailable)
		}
		return fmt.Errorf("asking %s: %w", place.RegistryStr(), err)
	}
	return nil
}

// enter asks for the root of the API, which a registry returns to a client with access.
func (r *Registry) enter(ctx context.Context, place name.Repository, by http.RoundTripper) error {
	auth, err := authn.Resolve(ctx, r.keychain, place)
	if err != nil {
		return err
	}
	login, err := transport.NewWithContext(ctx, place.Registry, auth, by, []string{place.Scope(transport.PullScope)})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, place.Scheme()+"://"+place.RegistryStr()+"/v2/", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: login}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return transport.CheckError(resp, http.StatusOK)
}
