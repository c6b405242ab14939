package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/sethvargo/go-retry"

	"github.com/syncerdev/syncer/pkg/silence"
)

// limits bound the calls to a remote and the growth of its cache.
type limits struct {
	list    time.Duration // to connect and hear the refs
	fetch   time.Duration // to receive objects
	silence time.Duration // between two bytes of either
	retries uint64
	backoff time.Duration // before the first retry, doubled each time
	longest time.Duration // between two tries

	// packs is how many packs a cache gathers, one per fetch that brought
	// something. The fetch after that starts anew, which also drops old history.
	packs int
}

var defaultLimits = limits{
	list: time.Minute, fetch: 15 * time.Minute, silence: silence.Limit,
	retries: 3, backoff: 250 * time.Millisecond, longest: 2 * time.Second,
	packs: 64,
}

// session is one conversation with a git server.
type session interface {
	AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error)
	UploadPack(context.Context, *packp.UploadPackRequest) (*packp.UploadPackResponse, error)
	io.Closer
}

// conn is an open session after the listing. One pack can be asked for.
type conn struct {
	session
	adv   *packp.AdvRefs
	refs  refs
	spent bool
}

// call connects, hears the refs and does the work, all again when something
// went wrong that may pass by itself.
func (r *remote) call(ctx context.Context, work func(context.Context, *conn) error) error {
	b := retry.NewExponential(r.limits.backoff)
	b = retry.WithCappedDuration(r.limits.longest, b)
	b = retry.WithJitterPercent(25, b)
	b = retry.WithMaxRetries(r.limits.retries, b)
	left := r.limits.retries
	return retry.Do(ctx, b, func(ctx context.Context) error {
		err := r.once(ctx, work)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var passing transientError
		if errors.As(err, &passing) {
			if left > 0 {
				left--
				r.failed(err)
			}
			return retry.RetryableError(err)
		}
		return err
	})
}

func (r *remote) once(ctx context.Context, work func(context.Context, *conn) error) error {
	c, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { c.hangUp() }()
	r.listed = c.refs
	return work(ctx, c)
}

func (r *remote) connect(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.limits.list)
	defer cancel()
	s, err := r.dial(ctx)
	if err != nil {
		return nil, r.explain(ctx, err, r.limits.list)
	}
	adv, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		_ = s.Close() // the listing error says more
		return nil, r.explain(ctx, err, r.limits.list)
	}
	return &conn{session: s, adv: adv, refs: advertised(adv)}, nil
}

func (r *remote) dial(ctx context.Context) (session, error) {
	if r.place.kind == overSSH {
		return dialSSH(ctx, r.place, r.auth, r.limits.silence)
	}
	return r.dialHTTP()
}

// explain also tells our own deadline from that of the caller.
func (r *remote) explain(ctx context.Context, err error, limit time.Duration) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: no answer within %s", ErrUnreachable, limit)
	}
	err = explain(err)
	if err == ErrAuth { //nolint:errorlint // only the bare one lacks advice
		return fmt.Errorf("%w: %s", ErrAuth, r.advice())
	}
	return err
}

// advice says where wrong credentials come from, and nothing of what they are.
func (r *remote) advice() string {
	switch {
	case r.auth.TokenFile != "":
		return "the server does not accept the token in " + r.auth.TokenFile
	case r.auth.PasswordFile != "":
		return "the server does not accept the user name with the password in " + r.auth.PasswordFile
	case r.place.user != "":
		return "the server does not accept the credentials in the url"
	default:
		return "the server asks for credentials: set passwordFile or tokenFile"
	}
}

// hangUp ends the session. What a server says to a goodbye is of no interest.
func (c *conn) hangUp() { _ = c.session.Close() }

// receive asks for the objects of some tips and puts them into a cache,
// telling the server what is there already.
func (r *remote) receive(ctx context.Context, c *conn, into *cache, wants []plumbing.Hash, depth int) error {
	if c.spent {
		fresh, err := r.connect(ctx)
		if err != nil {
			return err
		}
		c.hangUp()
		c.session, c.adv = fresh.session, fresh.adv // the refs remain those that were decided on
	}
	c.spent = true
	request, err := into.request(c.adv, wants, depth)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.limits.fetch)
	defer cancel()
	answer, err := c.UploadPack(ctx, request)
	if err != nil {
		return r.explain(ctx, err, r.limits.fetch)
	}
	defer answer.Close() // read to its end, or given up
	if err := into.take(answer, request); err != nil {
		return r.explain(ctx, err, r.limits.fetch)
	}
	return nil
}

func (c *cache) request(adv *packp.AdvRefs, wants []plumbing.Hash, depth int) (*packp.UploadPackRequest, error) {
	transport.FilterUnsupportedCapabilities(adv.Capabilities)
	request := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
	request.Wants, request.Haves, request.Shallows = slices.Clone(wants), c.haves(), slices.Clone(c.shallow)
	canShallow := adv.Capabilities.Supports(capability.Shallow)
	if depth != allHistory && canShallow {
		request.Depth = packp.DepthCommits(depth)
	}
	if len(request.Shallows) > 0 && !canShallow {
		return nil, errors.New("the server no longer knows shallow histories")
	}
	if canShallow && (len(request.Shallows) > 0 || !request.Depth.IsZero()) {
		if err := request.Capabilities.Set(capability.Shallow); err != nil {
			return nil, err
		}
	}
	if adv.Capabilities.Supports(capability.NoProgress) {
		if err := request.Capabilities.Set(capability.NoProgress); err != nil {
			return nil, err
		}
	}
	return request, nil
}

// take stores an answer. The ends of history are noted before the objects and
// taken back after them: a process that is killed in between leaves a cache
// that claims too little and never too much.
func (c *cache) take(answer *packp.UploadPackResponse, request *packp.UploadPackRequest) error {
	shallow := slices.Concat(c.shallow, answer.Shallows)
	plumbing.HashesSort(shallow)
	if err := c.bound(slices.Compact(shallow)); err != nil {
		return err
	}
	var pack io.Reader = answer
	switch {
	case request.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, answer)
	case request.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, answer)
	}
	if err := c.packs.receive(pack); err != nil {
		return err
	}
	return c.bound(slices.DeleteFunc(slices.Clone(c.shallow), func(h plumbing.Hash) bool {
		return slices.Contains(answer.Unshallows, h)
	}))
}
