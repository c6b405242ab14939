package image

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// clouds plays the three clouds' identity services, and notes which of them was asked.
type clouds struct {
	*httptest.Server

	mu    sync.Mutex
	asked []string
	down  bool
}

func (c *clouds) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = r.ParseForm() // what is no form is told apart by its header
	switch {
	case strings.Contains(r.Header.Get("X-Amz-Target"), "GetAuthorizationToken"):
		c.asked = append(c.asked, "ecr")
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		fmt.Fprintf(w, `{"authorizationData": [{"authorizationToken": %q, "expiresAt": %d, "proxyEndpoint": "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com"}]}`,
			base64.StdEncoding.EncodeToString([]byte("AWS:of-ecr")), time.Now().Add(time.Hour).Unix())
	case r.URL.Path == "/google/token":
		c.asked = append(c.asked, "google")
		if c.down {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token": "of-google", "token_type": "Bearer", "expires_in": 1}`)
	case strings.HasSuffix(r.URL.Path, "/oauth2/token"):
		c.asked = append(c.asked, "azure "+r.URL.Path+" "+r.Form.Get("client_id"))
		w.WriteHeader(http.StatusForbidden) // or else the helper would go on to the registry itself
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// take returns who was asked since the last time.
func (c *clouds) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := strings.Join(c.asked, ", ")
	c.asked = nil
	return asked
}

// inTheClouds gives this process an identity in each of the three clouds.
func inTheClouds(t *testing.T) *clouds {
	t.Helper()
	c := &clouds{}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	write := func(file string, content any) string {
		data, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for variable, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL_ECR": c.URL, "AWS_ECR_DISABLE_CACHE": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
		"GOOGLE_APPLICATION_CREDENTIALS": write("google.json", map[string]string{
			"type": "service_account", "client_email": "syncer@example.com", "token_uri": c.URL + "/google/token",
			"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
		}),
		"AZURE_ENVIRONMENT": "AZURESTACKCLOUD", "AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client", "AZURE_CLIENT_SECRET": "secret",
		"AZURE_ENVIRONMENT_FILEPATH": write("azure.json", map[string]string{
			"name": "test", "activeDirectoryEndpoint": c.URL + "/", "resourceManagerEndpoint": c.URL + "/manager/",
		}),
	} {
		t.Setenv(variable, value)
	}
	return c
}

// login is what a keychain has for a host.
func login(t *testing.T, keychain authn.Keychain, host string) string {
	t.Helper()
	registry, err := name.NewRegistry(host)
	if err != nil {
		t.Fatal(err)
	}
	auth, err := authn.Resolve(t.Context(), keychain, registry)
	if err != nil {
		t.Fatalf("%s: %v", host, err)
	}
	got, err := auth.Authorization()
	if err != nil {
		t.Fatalf("%s: %v", host, err)
	}
	return strings.Trim(got.Username+":"+got.Password+got.IdentityToken+got.RegistryToken, ":")
}

// Each cloud is asked for its own registries, and for them alone.
func TestEachCloudIsAskedForItsOwnRegistries(t *testing.T) {
	c := inTheClouds(t)
	for host, want := range map[string]struct{ login, asked string }{
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com": {"AWS:of-ecr", "ecr"},
		"gcr.io":                      {"_token:of-google", "google"},
		"eu.gcr.io":                   {"_token:of-google", "google"},
		"europe-west1-docker.pkg.dev": {"_token:of-google", "google"},
		"team.azurecr.io":             {"", "azure /tenant/oauth2/token client"},

		"registry.example.com": {}, "localhost:5000": {}, "index.docker.io": {}, "ghcr.io": {},
		"amazonaws.com.example.com": {}, "123456789012.dkr.ecr.eu-west-1.amazonaws.com.example.com": {},
		"gcr.io.example.com": {}, "notgcr.io": {}, "docker.pkg.dev.example.com": {},
		"team.azurecr.io.example.com": {}, "teamazurecr.io": {}, "azurecr.io": {},
	} {
		if got := login(t, cloudKeychain(), host); got != want.login {
			t.Errorf("%s: %q, want %q", host, got, want.login)
		}
		// ECR's library and Azure's ask again when they are refused.
		if asked := c.take(); asked != want.asked && (want.asked == "" || !strings.HasPrefix(asked, want.asked+",")) {
			t.Errorf("%s: asked %q, want %q", host, asked, want.asked)
		}
	}
}

// An identity that was not there at the first look-up is found by a later one, and what goes on asking is never bound to
// the look-up that began.
func TestGoogleIsAskedAgain(t *testing.T) {
	c := inTheClouds(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	keychain := &googleKeychain{now: func() time.Time { return now }}
	ask := func() string {
		t.Helper()
		return login(t, authn.NewMultiKeychain(keychain), "gcr.io")
	}
	c.down = true
	t.Setenv("PATH", t.TempDir()) // no gcloud
	if got := ask(); got != "" || c.take() == "" {
		t.Errorf("got %q", got)
	}
	now = now.Add(forgetAfter - 1)
	c.down = false
	if got, asked := ask(), c.take(); got != "" || asked != "" {
		t.Errorf("too early: %q, asked %q", got, asked)
	}
	now = now.Add(1)
	for range 2 { // the token ends at once, so that each use fetches one
		if got, asked := ask(), c.take(); got != "_token:of-google" || asked == "" {
			t.Errorf("got %q, asked %q", got, asked)
		}
	}
}
