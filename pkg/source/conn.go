package source

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/syncerdev/syncer/pkg/gitserver"
)

// conn is a connection to the server with the refs of its first listing, on which every decision of the call rests.
type conn struct {
	server *gitserver.Conn
	refs   refs
}

// call connects, keeps the refs and does the work, again after an error that may pass by itself.
func (r *remote) call(ctx context.Context, work func(context.Context, *conn) error) error {
	return r.server.Call(ctx, func(ctx context.Context, c *gitserver.Conn) error {
		r.listed = advertised(c.Advertised())
		return work(ctx, &conn{server: c, refs: r.listed})
	})
}

// receive asks for the objects of some tips and puts them into a cache. It names the objects that the cache has already.
func (c *conn) receive(ctx context.Context, into *cache, wants []plumbing.Hash, depth int) error {
	ask := func() error {
		return c.server.Fetch(ctx, func(adv *packp.AdvRefs) (*packp.UploadPackRequest, error) {
			return into.request(adv, wants, depth)
		}, into.take)
	}
	err := ask()
	if err != nil && !into.plain && strings.Contains(err.Error(), "filter") {
		into.plain = true // the server offers filters, and not this one
		err = ask()
	}
	return err
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
	return request, c.filter(request, adv)
}

// contentOf is the pack in an answer.
func contentOf(answer *packp.UploadPackResponse, request *packp.UploadPackRequest) io.Reader {
	kind := sideband.Sideband64k
	switch {
	case request.Capabilities.Supports(capability.Sideband64k):
	case request.Capabilities.Supports(capability.Sideband):
		kind = sideband.Sideband
	default:
		return answer
	}
	pack := sideband.NewDemuxer(kind, answer)
	pack.Progress = gitserver.Chatter()
	return pack
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
	if request.Filter != "" {
		if err := c.allowGaps(); err != nil {
			return err
		}
	}
	leftOut, err := c.packs.Receive(contentOf(answer, request))
	if err != nil {
		return err
	}
	if leftOut {
		if err := c.allowGaps(); err != nil {
			return err
		}
	}
	return c.bound(slices.DeleteFunc(slices.Clone(c.shallow), func(h plumbing.Hash) bool {
		return slices.Contains(answer.Unshallows, h)
	}))
}
