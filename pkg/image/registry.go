package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/syncerdev/syncer/pkg/pacing"
	"github.com/syncerdev/syncer/pkg/silence"
)

var (
	// ErrNotFound says that the registry tokenAnswer and has no such tag or repository.
	ErrNotFound = errors.New("the registry has no such image; push it, or mend the reference")
	// ErrDenied says that the registry refused the credentials, or that there were none.
	ErrDenied = errors.New("the registry refused access; check the docker configuration's credentials for this host and their right to pull")
	// ErrUnavailable says that the registry gave no usable answer.
	ErrUnavailable = errors.New("the registry cannot be reached or does not answer properly; syncer tries again at the next pass")
)

// Host configures the access to one registry host.
type Host struct {
	Name            string // registry.example.com:5000
	PlainHTTP       bool
	Mirror          string // receives the requests in place of Name
	CAFile          string // read at each request
	CredentialsFile string // a docker config.json, read at each look-up
}

// Registry looks up digests. It is safe for concurrent use.
type Registry struct {
	hosts     map[string]Host
	limits    Limits
	keychain  authn.Keychain
	transport http.RoundTripper
	silence   time.Duration // how long a registry may send nothing
	delay     time.Duration // before the second try of a request
}

// NewRegistry prepares look-ups. Hosts that are not listed are reached over https, and loopback hosts over plain http,
// with the credentials of the docker configuration. asked receives each request: the host and the outcome, one of ok,
// notFound, challenged, denied, limited and failed. It may be nil.
func NewRegistry(hosts []Host, limits Limits, asked func(host, outcome string)) (*Registry, error) {
	base, ok := remote.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("go-containerregistry's default transport is not an http.Transport")
	}
	base = base.Clone()
	base.DialContext, base.MaxResponseHeaderBytes = dial(hosts), headerBytes
	base.HTTP2 = &http.HTTP2Config{SendPingTimeout: silence.PingAfter, PingTimeout: silence.PingLimit}
	byHost := hostTransport{otherwise: base}
	limits = limits.orDefaults()
	r := &Registry{hosts: make(map[string]Host, len(hosts)), limits: limits, silence: silence.Limit, delay: pacing.FirstDelay}
	for _, host := range hosts {
		reg, err := name.NewRegistry(host.Name)
		if err != nil {
			return nil, fmt.Errorf("registry %s: %w", host.Name, err)
		}
		r.hosts[reg.RegistryStr()] = host
		if host.CAFile == "" {
			continue
		}
		trusting, err := trust(host.CAFile, base)
		if err != nil {
			return nil, fmt.Errorf("registry %s: %w", host.Name, err)
		}
		byHost.add(reg.RegistryStr(), trusting)
		if host.Mirror != "" {
			byHost.add(host.Mirror, trusting)
		}
	}
	r.keychain = authn.NewMultiKeychain(fileKeychain(r.hosts), authn.DefaultKeychain, cloudKeychain())
	patient := &silence.Transport{Next: byHost, Limit: func(*http.Request) (answer, part time.Duration) { return r.silence, r.silence }}
	r.transport = pacing.NewHosts(counted{patient, asked}, limits.RequestsPerMinute)
	return r, nil
}

// With returns a registry that tries more credentials first, such as those of a target's pull secrets. It shares
// connections and limits with r.
func (r *Registry) With(credentials Credentials) *Registry {
	with := *r
	with.keychain = authn.NewMultiKeychain(credentials, r.keychain)
	return &with
}

// lookupTimeout bounds one look-up with all its retries, so that a registry that hangs fails its targets and no others.
const lookupTimeout = 45 * time.Second

// Digest returns the current digest of a reference with a tag: the digest of the index if the image has several
// platforms. For a reference by digest it checks that the image exists. The error is ErrNotFound, ErrDenied,
// ErrUnavailable or the context's error.
func (r *Registry) Digest(ctx context.Context, reference string) (string, error) {
	var digest string
	err := r.ask(ctx, reference, func(ctx context.Context, q question) (err error) {
		digest, err = lookUp(ctx, q.puller, q.at)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("resolving %s: %w", reference, err)
	}
	return digest, nil
}

// Tags lists the tags of a repository.
func (r *Registry) Tags(ctx context.Context, repository string) ([]string, error) {
	var tags []string
	err := r.askAtLength(ctx, repository, r.limits.TagPages, func(ctx context.Context, q question) (err error) {
		tags, err = q.puller.List(ctx, q.at.Context())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the tags of %s: %w", repository, err)
	}
	return tags, nil
}

// question is what a look-up has at hand.
type question struct {
	at      name.Reference
	puller  *remote.Puller
	options []remote.Option
}

// ask puts a question about a reference to the registry that has it, within a deadline.
func (r *Registry) ask(ctx context.Context, reference string, put func(context.Context, question) error) error {
	return r.askAtLength(ctx, reference, 0, put)
}

// askAtLength puts a question that may take more requests than others.
func (r *Registry) askAtLength(ctx context.Context, reference string, more int, put func(context.Context, question) error) error {
	at, err := r.locate(reference)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lookupTimeout, fmt.Errorf("no answer within %s", lookupTimeout))
	defer cancel()
	budget := newBudget(r.transport, r.limits, more)
	options := r.options(ctx, budget)
	puller, err := remote.NewPuller(options...)
	if err != nil {
		return err
	}
	if err := put(ctx, question{at: at, puller: puller, options: options}); err != nil {
		return budget.conceal(classify(ctx, err))
	}
	return nil
}

// bounded is the transport of one question.
func (r *Registry) bounded(b *budget) http.RoundTripper {
	return &pacing.Retries{Next: honest{b, r.limits}, First: r.delay}
}

func (r *Registry) options(ctx context.Context, b *budget) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx),
		remote.WithAuthFromKeychain(r.keychain),
		remote.WithTransport(r.bounded(b)),
		remote.WithUserAgent("syncer"),
		// retryTransport retries, because it knows Retry-After; two layers would multiply their tries.
		remote.WithRetryPredicate(func(error) bool { return false }),
		remote.WithRetryStatusCodes(),
	}
}

// locate finds where to ask for a reference, which is its mirror if it has one.
func (r *Registry) locate(reference string) (name.Reference, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	at, host, ok := r.host(ref.Context().RegistryStr())
	if !ok {
		return ref, nil
	}
	var options []name.Option
	if host.PlainHTTP {
		options = append(options, name.Insecure)
	}
	repository, err := name.NewRepository(cmp.Or(host.Mirror, at)+"/"+ref.Context().RepositoryStr(), options...)
	if err != nil {
		return nil, err
	}
	if _, ok := ref.(name.Digest); ok {
		return repository.Digest(ref.Identifier()), nil
	}
	return repository.Tag(ref.Identifier()), nil
}

// host finds how a registry is reached, and the name under which the configuration has it: the one that is spelled as
// git does, or else one that means the same.
func (r *Registry) host(registry string) (at string, host Host, ok bool) {
	if host, ok = r.hosts[registry]; ok {
		return registry, host, true
	}
	for _, at := range slices.Sorted(maps.Keys(r.hosts)) {
		if oneSpelling(at) == oneSpelling(registry) {
			return at, r.hosts[at], true
		}
	}
	return "", Host{}, false
}

// lookUp asks with HEAD, which costs no quota on metered registries, and with GET where a registry does not answer it
// or answers with an error, whose body says more.
func lookUp(ctx context.Context, puller *remote.Puller, at name.Reference) (string, error) {
	head, err := puller.Head(ctx, at)
	if err == nil {
		return head.Digest.String(), nil
	}
	if _, unanswered := errors.AsType[*url.Error](err); unanswered || errors.Is(err, ErrDenied) {
		return "", err
	}
	got, err := puller.Get(ctx, at)
	if err != nil {
		return "", err
	}
	return got.Digest.String(), nil
}

// classify maps the library's errors to the three that a user acts on in three different ways.
func classify(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Cause(ctx)
	}
	if limit, ok := errors.AsType[*LimitError](err); ok {
		return limit // without the URL
	}
	if rate, ok := errors.AsType[*pacing.RateError](err); ok {
		return &LimitError{rate.Error(), "requestsPerMinute"}
	}
	if errors.Is(err, ErrDenied) {
		return err
	}
	if mismatch, ok := errors.AsType[*url.Error](err); ok && errors.Is(err, ErrMismatch) {
		return mismatch.Err // without the URL
	}
	answer, ok := errors.AsType[*transport.Error](err)
	if !ok {
		return fmt.Errorf("%w (%s)", ErrUnavailable, withoutSecrets(err.Error()))
	}
	switch answer.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("%w (%s)", ErrNotFound, diagnosis(answer))
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w (%s)", ErrDenied, diagnosis(answer))
	}
	return fmt.Errorf("%w (%s)", ErrUnavailable, diagnosis(answer))
}

var (
	// query and user are the parts of a URL that may hold a signature or a token.
	query = regexp.MustCompile(`(https?://[^\s"?]*)\?[^\s"]*`)
	user  = regexp.MustCompile(`(https?://)[^\s"/?#]*@`)
	// tokenAnswer is an answer of a token service, which the library quotes.
	tokenAnswer = regexp.MustCompile(`(?s)(no token in bearer response):.*`)
)

// withoutSecrets is the text of an error on one short line, without what may be a secret.
func withoutSecrets(text string) string {
	text = user.ReplaceAllString(query.ReplaceAllString(text, "$1"), "$1")
	return oneLine(tokenAnswer.ReplaceAllString(text, "$1"))
}

// oneLine cuts a text that a registry may have written, and leaves out control characters.
func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	return strings.ToValidUTF8(text[:min(len(text), longestDiagnosis)], "")
}

// longestDiagnosis bounds a registry's text in an error, which stays on one line and has no control characters.
const longestDiagnosis = 300

// diagnosis is the text of a registry's answer, without the request's URL.
func diagnosis(answer *transport.Error) string {
	if len(answer.Errors) > 0 {
		return withoutSecrets(answer.Errors[0].String())
	}
	return fmt.Sprintf("%d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
}

// fileKeychain gives the credentials of the files that the configuration names, by host.
type fileKeychain map[string]Host

// Resolve implements authn.Keychain.
func (k fileKeychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	for _, registry := range slices.Sorted(maps.Keys(k)) { // two hosts may have one mirror
		host := k[registry]
		if host.CredentialsFile == "" || (target.RegistryStr() != registry && target.RegistryStr() != host.Mirror) {
			continue
		}
		file, err := os.Open(host.CredentialsFile)
		if err != nil {
			return nil, fmt.Errorf("%w (reading the credentials of %s: %w)", ErrDenied, registry, err)
		}
		defer file.Close()
		docker, err := config.LoadFromReader(file)
		if err != nil {
			return nil, fmt.Errorf("%w (reading the credentials of %s: %s is not a docker config.json)", ErrDenied, registry, host.CredentialsFile)
		}
		for _, key := range []string{target.RegistryStr(), registry} {
			if key == name.DefaultRegistry {
				key = authn.DefaultAuthKey
			}
			if auth, err := docker.GetAuthConfig(key); err == nil && !noLogin(auth) {
				return authn.FromConfig(authn.AuthConfig{
					Username: auth.Username, Password: auth.Password, Auth: auth.Auth,
					IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken,
				}), nil
			}
		}
	}
	return authn.Anonymous, nil
}

// counted reports each request.
type counted struct {
	next http.RoundTripper
	tell func(host, outcome string)
}

func (c counted) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	// A host that speaks plain http is asked by https first.
	if c.tell != nil && !errors.Is(err, http.ErrSchemeMismatch) {
		c.tell(req.URL.Host, outcomeOf(resp, err))
	}
	return resp, err
}

func outcomeOf(resp *http.Response, err error) string {
	switch {
	case err != nil:
		return "failed"
	case resp.StatusCode == http.StatusNotFound:
		return "notFound"
	case resp.StatusCode == http.StatusUnauthorized:
		return "challenged" // how a registry begins to ask for credentials, and how it refuses them
	case resp.StatusCode == http.StatusForbidden:
		return "denied"
	case resp.StatusCode == http.StatusTooManyRequests:
		return "limited"
	case resp.StatusCode >= http.StatusBadRequest:
		return "failed"
	}
	return "ok"
}

// hostTransport picks the transport by the host of a request: token servers and storage behind a registry have hosts,
// and certificates, of their own.
type hostTransport struct {
	byHost    map[string]http.RoundTripper
	otherwise http.RoundTripper
}

func (t *hostTransport) add(host string, transport http.RoundTripper) {
	if t.byHost == nil {
		t.byHost = map[string]http.RoundTripper{}
	}
	t.byHost[host] = transport
}

// RoundTrip implements http.RoundTripper.
func (t hostTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if special, ok := t.byHost[req.URL.Host]; ok {
		return special.RoundTrip(req)
	}
	return t.otherwise.RoundTrip(req)
}
