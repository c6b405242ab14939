package gitserver

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
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

func (s *Server) dialHTTP(m *meter) (session, error) {
	if err := s.trust(); err != nil {
		return nil, err
	}
	auth, err := s.credentials()
	if err != nil {
		return nil, err
	}
	limit := func(*http.Request) (answer, part time.Duration) { return s.Limits.Silence, s.Limits.Silence }
	patient := &silence.Transport{Next: s.http, Limit: limit}
	bounded := &bounded{next: patient, meter: m, redirects: s.Limits.Redirects, hosts: s.auth.RedirectHosts}
	return githttp.NewClient(&http.Client{Transport: bounded}).NewUploadPackSession(s.place.endpoint(), auth)
}

// trust makes the HTTP transport, anew when the CA file changed.
func (s *Server) trust() error {
	var pem []byte
	if s.auth.CAFile != "" {
		var err error
		if pem, err = os.ReadFile(s.auth.CAFile); err != nil {
			return fmt.Errorf("reading caFile: %w", err)
		}
	}
	if s.http != nil && bytes.Equal(pem, s.httpCA) {
		return nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.auth.CAFile != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool() // a machine without certificates of its own
		}
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("caFile %s holds no PEM certificate", s.auth.CAFile)
		}
		config.RootCAs = pool
	}
	if s.http != nil {
		s.http.CloseIdleConnections()
	}
	s.httpCA = pem
	s.http = &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 15 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,

		MaxResponseHeaderBytes: headerBytes,

		HTTP2: &http.HTTP2Config{SendPingTimeout: silence.PingAfter, PingTimeout: silence.PingLimit},
	}
	return nil
}

// basic notes what must stand in no error, and returns credentials of a user.
func (s *Server) basic(user, password string) transport.AuthMethod {
	s.secrets = []string{password, base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}
	return &githttp.BasicAuth{Username: user, Password: password}
}

// credentials reads the files again, so that a rotated secret is used.
func (s *Server) credentials() (transport.AuthMethod, error) {
	user := cmp.Or(s.auth.Username, s.place.User)
	switch {
	case s.auth.TokenFile != "":
		token, err := secret("tokenFile", s.auth.TokenFile)
		if err != nil {
			return nil, err
		}
		if user == "" {
			s.secrets = []string{token}
			return &githttp.TokenAuth{Token: token}, nil
		}
		return s.basic(user, token), nil
	case s.auth.PasswordFile != "":
		password, err := secret("passwordFile", s.auth.PasswordFile)
		if err != nil {
			return nil, err
		}
		return s.basic(user, password), nil
	case user != "" || s.place.password != "":
		return s.basic(user, s.place.password), nil
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
