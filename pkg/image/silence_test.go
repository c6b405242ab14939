package image

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// A registry that sends nothing, before its answer or in the middle of it, ends the try long before the look-up does, and
// the next try may be answered.
func TestRegistryThatIsSilent(t *testing.T) {
	for name, begin := range map[string]bool{"before the answer": false, "in the answer": true} {
		t.Run(name, func(t *testing.T) {
			h, host, want := serve(t)
			hangs := 1
			h.before = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/manifests/") || hangs == 0 {
					return false
				}
				if r.Method == http.MethodHead && begin {
					w.WriteHeader(http.StatusMethodNotAllowed) // GET has a body
					return true
				}
				hangs--
				if begin {
					w.Header().Set("Content-Length", "500")
					w.WriteHeader(http.StatusOK)
					w.(http.Flusher).Flush()
				}
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				return true
			}
			r := quick(t, Host{Name: host})
			r.silence = 2 * time.Second
			// A test server answers within the limit even on a busy machine, or the try is made again.
			got, err := r.Digest(t.Context(), host+"/team/web:1")
			if begin {
				// What was promised did not come: the next pass asks again.
				if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "the server sent nothing for 2s") {
					t.Errorf("error %v", err)
				}
				got, err = r.Digest(t.Context(), host+"/team/web:1")
			}
			if err != nil || got != want {
				t.Errorf("%s, %v, want %s", got, err, want)
			}
		})
	}
}

// A CA file that is replaced is taken up, and one that is half written changes nothing.
func TestCAIsReplaced(t *testing.T) {
	server := httptest.NewTLSServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "https://")
	good := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	file := filepath.Join(t.TempDir(), "ca.crt")
	put := func(content []byte) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(foreign(t))
	r := quick(t, Host{Name: host, CAFile: file})
	if err := r.Ping(t.Context(), host+"/x"); err == nil {
		t.Error("a foreign CA is trusted")
	}
	for _, content := range [][]byte{good, good[:len(good)/2], nil} {
		put(content)
		if err := r.Ping(t.Context(), host+"/x"); err != nil {
			t.Errorf("%d bytes of the CA: %v", len(content), err)
		}
	}
}

// foreign is the certificate of a CA that has signed nothing here.
func foreign(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
