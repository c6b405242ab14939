package connect_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/connect"
)

// rename replaces a file as an editor or an agent does.
func rename(t *testing.T, file, content string) {
	t.Helper()
	put(t, file+".new", content)
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// mount replaces a file as the kubelet does in the volume of a Secret.
func mount(t *testing.T, file, content string) {
	t.Helper()
	dir := filepath.Dir(file)
	data, err := os.MkdirTemp(dir, "..data-")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(data, filepath.Base(file)), content)
	if err := os.Symlink(filepath.Base(data), filepath.Join(dir, "..data_tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(file); err == nil && info.Mode()&os.ModeSymlink != 0 {
		return
	}
	_ = os.Remove(file)
	if err := os.Symlink(filepath.Join("..data", filepath.Base(file)), file); err != nil {
		t.Fatal(err)
	}
}

// eventually polls until done. The sleep is the pause between two polls: syncer checks the files once a second, and no event
// shows it.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waiting until %s", what)
		}
	}
}

// syncer uses a new token when it is replaced, for every way to replace the file, and whether the kubeconfig has the token
// or names its file. Writes continue as well: syncer sends them again with the new token.
func TestTokenIsReplaced(t *testing.T) {
	for name, replace := range map[string]func(*testing.T, string, string){"written over": put, "renamed": rename, "mounted": mount} {
		for _, inline := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s inline=%t", name, inline), func(t *testing.T) {
				t.Parallel()
				s := newServer(t, "first")
				file, token := filepath.Join(t.TempDir(), "kubeconfig"), filepath.Join(t.TempDir(), "token")
				use := func(value string) {
					if inline {
						replace(t, file, kubeconfig(s.URL, s.ca, "token: "+value))
					} else {
						replace(t, token, value)
					}
				}
				if !inline {
					put(t, file, kubeconfig(s.URL, s.ca, "tokenFile: "+token))
				}
				use("first")
				config := open(t, file)
				if err := get(t, config); err != nil {
					t.Fatal(err)
				}
				use("worn.out")
				eventually(t, "the old token is forgotten", func() bool { return get(t, config) != nil })
				use("second")
				s.accept("second")
				status, err := ask(t, config, http.MethodPost, "/written") // at once, and the write succeeds
				if err != nil || status != http.StatusOK || !slices.Contains(s.bodies, "content of /written") {
					t.Errorf("a write with the new token: %d, %v; the server got %q", status, err, s.bodies)
				}
			})
		}
	}
}

// If new credentials cannot be used, the last ones stay in use. When those are refused, the error says why. A program is not
// run where that was not allowed.
func TestCredentialsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newServer(t, "first")
	file, token := filepath.Join(t.TempDir(), "kubeconfig"), filepath.Join(t.TempDir(), "token")
	put(t, token, "first")
	good := kubeconfig(s.URL, s.ca, "tokenFile: "+token)
	put(t, file, good)
	config := open(t, file)
	ran := filepath.Join(t.TempDir(), "ran")
	for name, content := range map[string]string{
		"half written": good[:len(good)/2], "empty": "", "another context": strings.ReplaceAll(good, "name: c,", "name: other,"),
		"a program": kubeconfig(s.URL, s.ca, `exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: ["`+ran+`"], interactiveMode: Never}`),
	} {
		put(t, file, content)
		for began := time.Now(); time.Since(began) < 1200*time.Millisecond; { // syncer checks files once a second
			if err := get(t, config); err != nil {
				t.Fatalf("%s: the last credentials are not in use: %v", name, err)
			}
		}
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a program was run without permission")
	}
	put(t, file, good)
	put(t, token, "worn.out")
	eventually(t, "the worn out token is used", func() bool { return get(t, config) != nil })
	put(t, token, "")
	wantError(t, get(t, config), "the API server refuses the credentials", "the token file is empty")
	put(t, token, "first")
	if err := get(t, config); err != nil {
		t.Errorf("a good token again: %v", err)
	}
}

// clientCertificate is a certificate, and its key, as PEM.
func clientCertificate(t *testing.T) (raw []byte, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "syncer"}, NotAfter: time.Now().Add(time.Hour)}
	raw, err = x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return raw, pemOf("CERTIFICATE", raw), pemOf("EC PRIVATE KEY", encoded)
}

// syncer uses new certificates when their files change, and a new address when the kubeconfig changes.
func TestCertificatesAreReplaced(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	known, certificate, key := clientCertificate(t)
	_, other, otherKey := clientCertificate(t)
	s.client = known
	put(t, at("ca.crt"), other) // it has signed nothing
	put(t, at("tls.crt"), other)
	put(t, at("tls.key"), otherKey)
	file, user := at("kubeconfig"), fmt.Sprintf("client-certificate: %s, client-key: %s", at("tls.crt"), at("tls.key"))
	put(t, file, kubeconfig(s.URL, at("ca.crt"), user))
	config := open(t, file)
	wantError(t, get(t, config), "certificate")

	ca, err := os.ReadFile(s.ca)
	if err != nil {
		t.Fatal(err)
	}
	put(t, at("ca.crt"), string(ca))
	eventually(t, "the CA is taken up", func() bool {
		status, err := ask(t, config, http.MethodGet, "/api")
		return err == nil && status == http.StatusUnauthorized
	})
	put(t, at("tls.crt"), certificate)
	put(t, at("tls.key"), key)
	eventually(t, "the client certificate is taken up", func() bool { return get(t, config) == nil })
	put(t, file, kubeconfig("https://127.0.0.1:1", at("ca.crt"), user))
	eventually(t, "the address is taken up", func() bool { return get(t, config) != nil })
	put(t, file, kubeconfig(s.URL+"/behind/a/proxy", at("ca.crt"), user))
	var paths []string
	s.mu.Lock()
	s.answer = func(_ http.ResponseWriter, r *http.Request) bool { paths = append(paths, r.URL.Path); return false }
	s.mu.Unlock()
	eventually(t, "another address is taken up", func() bool { return get(t, config) == nil })
	if !slices.Equal(paths, []string{"/behind/a/proxy/api"}) {
		t.Errorf("the requests went to %q", paths)
	}
}

func TestConnectNamesWhatIsWrong(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	_, err := connect.Open(connect.Options{Kubeconfig: missing})
	wantError(t, err, "reading the kubeconfig", missing)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	put(t, file, kubeconfig("https://127.0.0.1:1", "", ""))
	_, err = connect.Open(connect.Options{Kubeconfig: file, Context: "absent"})
	wantError(t, err, "reading the kubeconfig", `"absent"`)
	_, err = connect.With(&rest.Config{Host: "https://127.0.0.1:1", BearerTokenFile: missing}, connect.DefaultLimits, connect.Options{})
	wantError(t, err, "reading the token: ", missing)
	_, err = connect.With(&rest.Config{Host: "https://127.0.0.1:1", TLSClientConfig: rest.TLSClientConfig{CAFile: missing}}, connect.DefaultLimits, connect.Options{})
	wantError(t, err, "reading the certificates: ", missing)
}

func TestNoClusterIsConfigured(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "missing"))
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err := connect.Open(connect.Options{})
	wantError(t, err, "no cluster is configured: set KUBECONFIG")
}

// A kubeconfig may come from any source. syncer runs its program only if the user allows it.
func TestKubeconfigThatRunsAProgram(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	put(t, file, kubeconfig("https://127.0.0.1:1", "", "exec: {apiVersion: client.authentication.k8s.io/v1, command: get-token, interactiveMode: Never}"))
	_, err := connect.Open(connect.Options{Kubeconfig: file})
	wantError(t, err, `the kubeconfig runs the program "get-token"`, "set cluster.allowExec: true")
	if _, err := connect.Open(connect.Options{Kubeconfig: file, AllowExec: true}); err != nil {
		t.Error(err)
	}
}

// Outside of a pod there is no connection, and no error. In a pod without its account there is one.
func TestPodNeedsItsAccount(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBERNETES_SERVICE_PORT", "")
	if server, err := connect.Pod(connect.Options{}); server != nil || err != nil {
		t.Errorf("outside of a pod: %v, %v", server, err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "1")
	_, err := connect.Pod(connect.Options{})
	wantError(t, err, "reading the pod's service account: ", "/var/run/secrets/kubernetes.io/serviceaccount/token")
}
