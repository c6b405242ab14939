// Package connect opens the connection to an API server: it logs in with a kubeconfig or as the account of the pod,
// follows replaced credentials, bounds how long the server may stay silent, counts requests and reads the server's
// clock. It sends no request by itself and does not depend on the requests of syncer.
package connect

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	_ "k8s.io/client-go/plugin/pkg/client/auth" // the auth providers that kubeconfigs name
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/clock"
)

// Options say which API server to connect to, and as whom. The zero value follows kubectl's rules: KUBECONFIG,
// ~/.kube/config, then the pod's own service account.
type Options struct {
	Kubeconfig string
	Context    string
	UserAgent  string
	// AllowExec lets the kubeconfig run a program for its credentials.
	AllowExec bool
	// As is the user to act as; empty: the user of the kubeconfig.
	As string
	// Requested receives each request: its verb, as RBAC names it, and the HTTP status, 0 where no answer came. Optional.
	Requested func(verb string, code int)
	// Files are shared by connections that share kubeconfigs; nil: this one reads its own.
	Files *Files
}

// Server is a prepared connection to one API server.
type Server struct {
	Config *rest.Config // for the clients of client-go
	Dates  *clock.Clock // the clock of the API server, by its answers
}

// requestTimeout bounds a single request. The API server's own limit for a mutating request is 60 s.
const requestTimeout = 70 * time.Second

// Open prepares a connection by a kubeconfig; it sends nothing.
func Open(options Options) (*Server, error) {
	options.Files = cmp.Or(options.Files, NewFiles())
	k := newKubeconfig(options)
	l, err := openLogin(k.load, k.files, options.Files)
	if err != nil {
		return nil, err
	}
	return through(l, DefaultLimits, options), nil
}

// Pod prepares a connection to the cluster of the pod in which syncer runs; nil without an error: it runs in no pod.
func Pod(options Options) (*Server, error) {
	l, err := openLogin(rest.InClusterConfig, func() []string { return nil }, options.Files)
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the pod's service account: %w", err)
	}
	return through(l, DefaultLimits, options), nil
}

// With prepares a connection by a ready configuration, whose transport may be wrapped, and with other limits.
func With(config *rest.Config, limits Limits, options Options) (*Server, error) {
	l, err := openLogin(func() (*rest.Config, error) { return config, nil }, func() []string { return nil }, options.Files)
	if err != nil {
		return nil, err
	}
	return through(l, limits, options), nil
}

// through sets the options of every connection of syncer.
func through(l *login, limits Limits, options Options) *Server {
	config := &rest.Config{
		Host: l.first.String(), Transport: l, UserAgent: options.UserAgent, Timeout: requestTimeout,
		QPS: -1, // the API server's priority and fairness limits better than a guess made here
	}
	watches := &openWatches{bodies: map[*watchBody]bool{}}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return newLimited(next, limits, watches) })
	if options.As != "" {
		config.Impersonate = rest.ImpersonationConfig{UserName: options.As} // the API server adds a service account's groups
	}
	config.WarningHandlerWithContext = rest.NoWarnings{}
	if options.Requested != nil {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counted{next, options.Requested} })
	}
	dates := clock.New(nil)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return dated{next, dates} })
	return &Server{Config: config, Dates: dates}
}
