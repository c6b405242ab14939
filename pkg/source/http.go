package source

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/syncerdev/syncer/pkg/silence"
)

func (r *remote) dialHTTP() (session, error) {
	if err := r.trust(); err != nil {
		return nil, err
	}
	auth, err := r.credentials()
	if err != nil {
		return nil, err
	}
	limit := func(*http.Request) (answer, part time.Duration) { return r.limits.silence, r.limits.silence }
	client := githttp.NewClient(&http.Client{Transport: &silence.Transport{Next: r.http, Limit: limit}})
	return client.NewUploadPackSession(r.place.endpoint(), auth)
}

// trust makes the HTTP transport, anew when the CA file changed.
func (r *remote) trust() error {
	var pem []byte
	if r.auth.CAFile != "" {
		var err error
		if pem, err = os.ReadFile(r.auth.CAFile); err != nil {
			return fmt.Errorf("reading caFile: %w", err)
		}
	}
	if r.http != nil && bytes.Equal(pem, r.httpCA) {
		return nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.auth.CAFile != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool() // a machine without certificates of its own
		}
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("caFile %s holds no PEM certificate", r.auth.CAFile)
		}
		config.RootCAs = pool
	}
	if r.http != nil {
		r.http.CloseIdleConnections()
	}
	r.httpCA = pem
	r.http = &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 15 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: silence.PingAfter, PingTimeout: silence.PingLimit},
	}
	return nil
}

// credentials reads the files again, so that a rotated secret is used.
func (r *remote) credentials() (transport.AuthMethod, error) {
	user := cmp.Or(r.auth.Username, r.place.user)
	switch {
	case r.auth.TokenFile != "":
		token, err := secret("tokenFile", r.auth.TokenFile)
		if err != nil {
			return nil, err
		}
		if user == "" {
			return &githttp.TokenAuth{Token: token}, nil
		}
		return &githttp.BasicAuth{Username: user, Password: token}, nil
	case r.auth.PasswordFile != "":
		password, err := secret("passwordFile", r.auth.PasswordFile)
		if err != nil {
			return nil, err
		}
		return &githttp.BasicAuth{Username: user, Password: password}, nil
	case user != "" || r.place.password != "":
		return &githttp.BasicAuth{Username: user, Password: r.place.password}, nil
	default:
		return nil, nil
	}
}

func secret(key, file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", key, err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		return "", fmt.Errorf("%s %s is empty", key, file)
	}
	return text, nil
}
