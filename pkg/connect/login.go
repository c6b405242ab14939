package connect

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/transport"

	"github.com/syncerdev/syncer/pkg/silence"
)

// loginInterval is the minimum time between two reads of the files of a login. A file of a few KB costs nothing at that
// rate. After an answer of 401, login reads them at once.
const loginInterval = time.Second

// login sends requests to an API server with the present credentials of the kubeconfig and of the files that it names:
// its token, certificates and address can be replaced while syncer runs. login compares files by their content, so that
// it does not matter how they are replaced: written over, renamed, or by the symbolic link of a mounted Secret. If files
// cannot be read, such as a half-written one, the last credentials stay in use.
type login struct {
	// load reads the kubeconfig, and files lists the files that it was read from.
	load  func() (*rest.Config, error)
	files func() []string
	read  *Files
	first *url.URL // requests name this address, and go to the present one of the kubeconfig

	mu     sync.Mutex
	looked time.Time
	sum    [sha256.Size]byte // of every file
	named  []string          // files that the kubeconfig names
	failed error             // why the newest files cannot be used
	now    *credentials
}

// credentials are one state of the files, ready to send requests with.
type credentials struct {
	server  *url.URL
	base    *http.Transport
	through http.RoundTripper // base with the credentials
}

// openLogin reads the credentials for the first time.
func openLogin(load func() (*rest.Config, error), files func() []string, read *Files) (*login, error) {
	l := &login{load: load, files: files, read: cmp.Or(read, NewFiles()), looked: time.Now()}
	config, err := load()
	if err != nil {
		return nil, err
	}
	l.named = filesOf(config)
	l.sum = l.digest(false) // before the files are read: the next check sees a change in between
	if err := l.renew(); err != nil {
		return nil, err
	}
	l.first = l.now.server
	return l, nil
}

// RoundTrip implements http.RoundTripper.
func (l *login) RoundTrip(req *http.Request) (*http.Response, error) {
	by, _ := l.current(false)
	resp, err := by.through.RoundTrip(l.directed(req, by))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	newer, failed := l.current(true)
	again, repeatable := l.repeated(req)
	switch {
	case newer != by && repeatable:
		_ = resp.Body.Close() // the answer to the old credentials
		return newer.through.RoundTrip(l.directed(again, newer))
	case newer == by && failed != nil:
		_ = resp.Body.Close()
		return nil, fmt.Errorf("the API server refuses the credentials (401 Unauthorized), and those that replace them cannot be used: %w", failed)
	}
	return resp, nil
}

// current is the newest readable state of the credentials, and the reason why a newer one could not be read. It reads
// the files when the interval has passed, or at once.
func (l *login) current(atOnce bool) (*credentials, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !atOnce && time.Since(l.looked) < loginInterval {
		return l.now, l.failed
	}
	l.looked = time.Now()
	if sum := l.digest(atOnce); sum != l.sum {
		if l.failed = l.renew(); l.failed == nil {
			l.sum = sum
		}
	}
	return l.now, l.failed
}

// renew reads the credentials and uses them if they are valid. Running requests keep their credentials.
func (l *login) renew() error {
	config, err := l.load()
	if err != nil {
		return err
	}
	next, err := newCredentials(config)
	if err != nil {
		return err
	}
	if l.now != nil {
		l.now.base.CloseIdleConnections()
	}
	l.now, l.named = next, filesOf(config)
	return nil
}

// filesOf lists the files that a configuration names.
func filesOf(config *rest.Config) []string {
	return []string{config.BearerTokenFile, config.CAFile, config.CertFile, config.KeyFile}
}

// digest is a sum over the content of every file.
func (l *login) digest(atOnce bool) (sum [sha256.Size]byte) {
	hash := sha256.New()
	for _, file := range slices.Concat(l.files(), l.named) {
		if file == "" {
			continue
		}
		content := l.read.sum(file, atOnce)
		fmt.Fprintf(hash, "%s\x00", file)
		hash.Write(content[:])
	}
	hash.Sum(sum[:0])
	return sum
}

// newCredentials makes a transport with the credentials of a configuration. It reads the content of the named files now.
func newCredentials(config *rest.Config) (*credentials, error) {
	config = rest.CopyConfig(config)
	if config.BearerTokenFile != "" {
		token, err := os.ReadFile(config.BearerTokenFile)
		if err != nil {
			return nil, fmt.Errorf("reading the token: %w", err)
		}
		if config.BearerToken, config.BearerTokenFile = string(bytes.TrimSpace(token)), ""; config.BearerToken == "" {
			return nil, errors.New("the token file is empty")
		}
	}
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, fmt.Errorf("reading the certificates: %w", err)
	}
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	config.CAFile, config.CertFile, config.KeyFile = "", "", "" // client-go would read them at its own times
	settings, err := config.TransportConfig()
	if err != nil {
		return nil, err
	}
	tls, err := transport.TLSConfigFor(settings)
	if err != nil {
		return nil, err
	}
	base := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: silence.Limit, KeepAlive: silence.PingAfter}).DialContext,
		TLSClientConfig:     tls,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 25, // as client-go has it
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  settings.DisableCompression,
		ForceAttemptHTTP2:   os.Getenv("DISABLE_HTTP2") == "", // client-go's word
		HTTP2:               &http.HTTP2Config{SendPingTimeout: silence.PingAfter, PingTimeout: silence.PingLimit},
	}
	if settings.Proxy != nil {
		base.Proxy = settings.Proxy
	}
	if settings.DialHolder != nil {
		base.DialContext = settings.DialHolder.Dial
	}
	through, err := transport.HTTPWrappersForConfig(settings, base)
	if err != nil {
		return nil, err
	}
	return &credentials{server: server, base: base, through: through}, nil
}

// directed sends a request to the present address of the kubeconfig.
func (l *login) directed(req *http.Request, by *credentials) *http.Request {
	if *by.server == *l.first {
		return req
	}
	moved := req.Clone(req.Context())
	moved.URL.Scheme, moved.URL.Host, moved.Host = by.server.Scheme, by.server.Host, ""
	moved.URL.Path = strings.TrimSuffix(by.server.Path, "/") + "/" + strings.TrimPrefix(strings.TrimPrefix(req.URL.Path, l.first.Path), "/")
	return moved
}

// repeated is a request that can be sent once more; false: its body is used up.
func (l *login) repeated(req *http.Request) (*http.Request, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	again := req.Clone(req.Context())
	again.Body = body
	return again, true
}

// kubeconfig reads the configuration by kubectl's rules. It chooses the context once: a change of the current context in
// a shared file does not move a daemon to another cluster.
type kubeconfig struct {
	options Options
	rules   *clientcmd.ClientConfigLoadingRules
	context string // empty: the pod's own account
}

func newKubeconfig(options Options) *kubeconfig {
	k := &kubeconfig{options: options, rules: clientcmd.NewDefaultClientConfigLoadingRules(), context: options.Context}
	k.rules.ExplicitPath = options.Kubeconfig
	if raw, err := k.raw(); err == nil {
		k.context = cmp.Or(k.context, raw.CurrentContext)
	}
	return k
}

// raw is the parsed kubeconfig, or several that kubectl's rules merge.
func (k *kubeconfig) raw() (*clientcmdapi.Config, error) {
	if k.rules.ExplicitPath == "" {
		return k.rules.Load()
	}
	return k.options.Files.kubeconfig(k.rules)
}

func (k *kubeconfig) load() (*rest.Config, error) {
	config, err := k.client().ClientConfig()
	if clientcmd.IsEmptyConfig(err) || errors.Is(err, rest.ErrNotInCluster) {
		return nil, errors.New("no cluster is configured: set KUBECONFIG, or cluster.kubeconfig in the configuration, or run syncer in the cluster")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	if config.ExecProvider != nil && !k.options.AllowExec {
		return nil, fmt.Errorf("the kubeconfig runs the program %q for its credentials; if you trust the file, set cluster.allowExec: true for the environment", config.ExecProvider.Command)
	}
	return config, nil
}

// client chooses the context of a kubeconfig that many clusters may share. Of any other, and of a pod, client-go decides.
func (k *kubeconfig) client() clientcmd.ClientConfig {
	overrides := &clientcmd.ConfigOverrides{CurrentContext: k.context}
	if raw, err := k.raw(); err == nil && k.rules.ExplicitPath != "" {
		if one := onlyContext(raw, k.context); one != nil {
			return clientcmd.NewNonInteractiveClientConfig(*one, k.context, overrides, k.rules)
		}
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(k.rules, overrides)
}

func (k *kubeconfig) files() []string { return k.rules.GetLoadingPrecedence() }
