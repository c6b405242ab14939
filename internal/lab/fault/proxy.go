package fault

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/syncerdev/syncer/internal/lab"
)

// Fault is the treatment of one request. A call of next executes the request.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Options name the server and the way to serve it. Target is required.
type Options struct {
	Target    *url.URL
	Transport http.RoundTripper // the transport to Target; nil: the default one
	TLS       *tls.Config       // serves https, with HTTP/2; nil: http
}

// Proxy forwards the requests of an address of its own to one server. Its methods may be called at once.
type Proxy struct {
	address  string
	tls      *tls.Config
	backend  http.Handler
	serving  sync.WaitGroup
	stopping sync.Once

	mu      sync.Mutex
	server  *http.Server     // nil while connections are refused
	faults  []*Fault         // the ones in force: the first injected is the outermost
	counted map[string]int64 // requests by method

	connecting sync.Mutex
	open       map[*conn]bool // connections of clients
}

// Start serves on a free port of 127.0.0.1 until Stop.
func Start(opts Options) (*Proxy, error) {
	address, err := lab.FreeAddress() // it serves there again after it refused connections
	if err != nil {
		return nil, err
	}
	p := &Proxy{address: address, tls: opts.TLS, open: map[*conn]bool{}, counted: map[string]int64{}}
	p.backend = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(opts.Target)
			// A registry writes the requested address into its answers.
			r.Out.Host = r.In.Host
		},
		Transport:     opts.Transport,
		FlushInterval: -1, // a watch is answered event by event
		ErrorLog:      log.New(io.Discard, "", 0),
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			// The client or the server is gone: an answer of the proxy itself would come from no server.
			panic(http.ErrAbortHandler)
		},
	}
	if err := p.Refuse(false); err != nil {
		return nil, err
	}
	return p, nil
}

// URL is the address of the proxy.
func (p *Proxy) URL() string {
	if p.tls != nil {
		return "https://" + p.Host()
	}
	return "http://" + p.Host()
}

// Host is the address of the proxy as 127.0.0.1:PORT.
func (p *Proxy) Host() string { return p.address }

// Inject puts a fault into force for the requests that come from now on, until the call of end. Of several faults the
// first one sees a request first.
func (p *Proxy) Inject(f Fault) (end func()) {
	key := &f
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, key)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.faults = slices.DeleteFunc(p.faults, func(other *Fault) bool { return other == key })
	}
}

// Refuse makes the proxy refuse connections and end the open ones, or serve again at the same address.
func (p *Proxy) Refuse(refuse bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if refuse == (p.server == nil) {
		return nil
	}
	if refuse {
		err := p.server.Close()
		p.server = nil
		return err
	}
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		return fmt.Errorf("serving in front of a server: %w", err)
	}
	listener = &listening{Listener: listener, proxy: p}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	if p.tls != nil {
		protocols.SetHTTP2(true)
	}
	server := &http.Server{Handler: p, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: p.tls.Clone(), Protocols: protocols}
	p.server = server
	p.serving.Go(func() {
		var err error
		if p.tls != nil {
			err = server.ServeTLS(listener, "", "")
		} else {
			err = server.Serve(listener)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			// Without it no result through the proxy is valid.
			panic(err)
		}
	})
	return nil
}

// Forget leaves every open connection in the state after the other end lost its power: it accepts the client's bytes and
// answers nothing. New connections are served.
func (p *Proxy) Forget() {
	p.connecting.Lock()
	defer p.connecting.Unlock()
	for c := range p.open {
		c.forget()
	}
}

// Requests returns how many requests of a method have come.
func (p *Proxy) Requests(method string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counted[method]
}

// ServeHTTP executes a request, through the faults in force.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.counted[r.Method]++
	handler := p.backend
	for i := len(p.faults) - 1; i >= 0; i-- {
		fault, next := *p.faults[i], handler
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fault(w, r, next) })
	}
	p.mu.Unlock()
	handler.ServeHTTP(w, r)
}

// Stop ends every connection and returns when the address is served no more.
func (p *Proxy) Stop() error {
	var err error
	p.stopping.Do(func() {
		err = p.Refuse(true)
		p.connecting.Lock()
		for c := range p.open {
			// It may be closed already.
			_ = c.Conn.Close()
		}
		p.connecting.Unlock()
		p.serving.Wait()
	})
	return err
}

// keepAlive is how long a connection may be idle before the kernel asks whether the client is still there.
const keepAlive = 15 * time.Second
