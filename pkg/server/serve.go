package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/view"
)

// Options name the addresses of a server and its access rules.
type Options struct {
	v1alpha1.Server
	// Insecure gives every client access at an address that is not loopback.
	Insecure bool
	// Pprof serves profiles of the process below /debug/pprof/.
	Pprof bool
	// Allowed returns the user of a token and whether the user has an access, and Right names the right that it needs; see
	// a daemon. They are required at an address that is not loopback, unless it is insecure.
	Allowed func(ctx context.Context, token string, access view.Access) (user string, allowed bool, err error)
	Right   func(view.Access) string
	// Audit receives the batches that the API server of an environment posts; optional.
	Audit func(environment string, batch []byte) error
	Log   *slog.Logger
	// Listening receives the address, once; optional.
	Listening func(net.Addr)
}

const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 15 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	// stopTimeout bounds the answers under way when the daemon stops.
	stopTimeout = 5 * time.Second
	// largestHeader leaves room for the tokens of identity providers that list a user's groups.
	largestHeader = 64 << 10
)

// Serve shows a daemon at the address of its configuration until the context ends. It returns nil then, and an error
// where it cannot listen.
func Serve(ctx context.Context, options Options, daemon Daemon) error {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	var pair *certificate
	if options.TLSCertFile != "" {
		var err error
		if pair, err = openCertificate(options.TLSCertFile, options.TLSKeyFile, options.Log); err != nil {
			return err
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", options.Listen)
	if err != nil {
		return fmt.Errorf("listening at %s: %w", options.Listen, err)
	}
	handler, who, err := newHandler(options, daemon, isLoopback(listener.Addr()))
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: largestHeader,
		// Errors of clients before there is a request, such as a scan of ports.
		ErrorLog: slog.NewLogLogger(options.Log.Handler(), slog.LevelDebug),
		// A stream has no end: the context of a request ends with the daemon.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	scheme := "http"
	if pair != nil {
		scheme = "https"
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get}
	}
	options.Log.Info("listening", "url", scheme+"://"+listener.Addr().String(), "shows", who)
	if options.Listening != nil {
		options.Listening(listener.Addr())
	}
	ended := make(chan error, 1)
	go func() {
		if pair != nil {
			ended <- server.ServeTLS(listener, "", "")
			return
		}
		ended <- server.Serve(listener)
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("listening at %s: %w", options.Listen, err)
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		err = server.Close() // a client reads slowly
		options.Log.Debug("answers were cut short", "error", err)
	}
	<-ended
	return nil
}

// newHandler joins the pages of a daemon with their guard. who describes the clients with access.
func newHandler(options Options, daemon Daemon, loopback bool) (_ http.Handler, who string, err error) {
	var g *guard // nil: every client has access
	switch {
	case loopback:
		who = "everything to whoever is on this machine"
	case options.Insecure && options.Pprof:
		return nil, "", errors.New("--pprof with --insecure would show the process's memory to everybody; leave one out")
	case options.Insecure:
		who = "everything to everybody"
	case options.Allowed == nil:
		return nil, "", fmt.Errorf("%s is not loopback, and nobody can be asked who may see what", options.Listen)
	default:
		who = "everything to whoever has a token and may " + options.Right(view.AccessRecords)
		g = newGuard(options.Allowed, options.Right, options.Log)
	}
	mux, all := http.NewServeMux(), New(daemon)
	open := func(pattern string, handler http.Handler) { mux.Handle(pattern, handler) }
	for _, path := range []string{"/healthz", "/readyz"} {
		open(path, all)
	}
	open("/hooks/", newHooks(options.WebhookSecretFile, daemon.Wake, options.Log))
	open("/hooks/audit", newAudit(options.AuditTokenFile, options.Audit, options.Log))
	open("/hooks/audit/{environment}", newAudit(options.AuditTokenFile, options.Audit, options.Log))
	if g != nil {
		g.mount(mux)
	}
	mux.Handle("/metrics", g.protect(view.AccessMetrics, all))
	mux.Handle("/", g.protect(view.AccessRecords, all))
	if options.Pprof {
		mux.Handle("/debug/pprof/", g.protect(view.AccessProfiles, profiles()))
	}
	var handler http.Handler = mux
	if loopback {
		handler = ownHost(options.Listen, handler)
	}
	return logged(options.Log, hurried(withHeaders(handler))), who, nil
}

// profiles serves net/http/pprof, whose own registration would put it on every server of the process.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // a profile takes as long as it is asked to
		mux.ServeHTTP(w, r)
	})
}

// isLoopback reports whether only this machine can reach an address.
func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// ownHost refuses requests for another host at a loopback address. A page in the user's browser that has its own name
// lead to 127.0.0.1 would read everything otherwise.
func ownHost(listen string, next http.Handler) http.Handler {
	own, _, _ := net.SplitHostPort(listen)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		host = strings.ToLower(strings.Trim(host, "[]"))
		ip := net.ParseIP(host)
		known := host == "localhost" || strings.HasSuffix(host, ".localhost") || host == strings.ToLower(own) || ip != nil && ip.IsLoopback()
		// The webhooks and the probes need no such page.
		if !known && !strings.HasPrefix(r.URL.Path, "/hooks/") && r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
			refuse(w, r, http.StatusMisdirectedRequest, "this server listens at a loopback address and answers for localhost only; a proxy in front of it must pass that as the host")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hurried bounds how long a body may take to come and an answer to go. Only a stream of events may last.
func hurried(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// They fail if the connection is gone; the next read or write returns that error.
		control, now := http.NewResponseController(w), time.Now()
		if r.Body != nil && r.Body != http.NoBody {
			_ = control.SetReadDeadline(now.Add(bodyTimeout))
		}
		until := now.Add(writeTimeout)
		if strings.HasPrefix(r.Header.Get("Accept"), "text/event-stream") {
			until = time.Time{}
		}
		_ = control.SetWriteDeadline(until)
		next.ServeHTTP(w, r)
	})
}
