package image

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"sync"
)

// trusting reaches hosts whose certificates a CA file vouches for. The file is read at each request, since a look-up is
// rare and the file small; one that cannot be read, or is half written, leaves the last certificates trusted.
type trusting struct {
	file string
	base *http.Transport

	mu  sync.Mutex
	pem []byte
	now *http.Transport
}

// trust reads a CA file for the first time.
func trust(file string, base *http.Transport) (*trusting, error) {
	t := &trusting{file: file, base: base}
	if err := t.renew(); err != nil {
		return nil, err
	}
	return t, nil
}

// RoundTrip implements http.RoundTripper.
func (t *trusting) RoundTrip(req *http.Request) (*http.Response, error) {
	t.mu.Lock()
	_ = t.renew() // on an error the trusted certificates stay; the handshake reports an untrusted one
	by := t.now
	t.mu.Unlock()
	return by.RoundTrip(req)
}

// renew loads the certificates of the file again.
func (t *trusting) renew() error {
	pem, err := os.ReadFile(t.file)
	if err != nil {
		return fmt.Errorf("reading the CA file: %w", err)
	}
	if t.now != nil && bytes.Equal(pem, t.pem) {
		return nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no PEM certificate", t.file)
	}
	next := t.base.Clone()
	next.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if t.now != nil {
		t.now.CloseIdleConnections()
	}
	t.pem, t.now = pem, next
	return nil
}
