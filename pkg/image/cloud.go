package image

import (
	"context"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	ecr "github.com/awslabs/amazon-ecr-credential-helper/ecr-login"
	"github.com/chrismellard/docker-credential-acr-env/pkg/credhelper"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/google"
)

// cloudKeychain asks the identity that a cloud gives to the pod or the machine: each helper answers for the registries
// of its own cloud only. The helper for ECR knows them by itself.
func cloudKeychain() authn.Keychain {
	return authn.NewMultiKeychain(
		forHosts{googleHosts, &googleKeychain{now: time.Now}},
		authn.NewKeychainFromHelper(ecr.NewECRHelper(ecr.WithLogger(io.Discard))),
		forHosts{azureHosts, authn.NewKeychainFromHelper(credhelper.NewACRCredentialsHelper())},
	)
}

// The hosts of each cloud's registries. ACR's helper finds its own anywhere in a name, and would give the identity away
// to team.azurecr.io.example.com.
var (
	googleHosts = regexp.MustCompile(`^(gcr\.io|[^:/]+\.(gcr\.io|pkg\.dev|google\.com))(:443)?$`)
	azureHosts  = regexp.MustCompile(`^[^:/]+\.azurecr\.(io|cn|de|us)(:443)?$`)
)

// forHosts keeps other registries from a keychain.
type forHosts struct {
	hosts    *regexp.Regexp
	keychain authn.Keychain
}

// Resolve implements authn.Keychain.
func (f forHosts) Resolve(target authn.Resource) (authn.Authenticator, error) {
	if !f.hosts.MatchString(strings.ToLower(target.RegistryStr())) {
		return authn.Anonymous, nil
	}
	return f.keychain.Resolve(target)
}

// forgetAfter is how long a cloud that gave no identity is not asked again.
const forgetAfter = time.Minute

// googleKeychain is google.Keychain for a program that runs for months. That one keeps the context of the first
// look-up, with which later tokens are fetched when it is long over, and remembers for good that there was no identity.
type googleKeychain struct {
	now func() time.Time

	mu    sync.Mutex
	auth  authn.Authenticator // fetches a new token when its own ends
	since time.Time           // when auth was found, or found to be missing
}

// Resolve implements authn.Keychain.
func (k *googleKeychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if k.auth == nil || k.auth == authn.Anonymous && now.Sub(k.since) >= forgetAfter {
		k.auth, k.since = googleIdentity(context.Background()), now
	}
	return k.auth, nil
}

func googleIdentity(ctx context.Context) authn.Authenticator {
	for _, ask := range []func(context.Context) (authn.Authenticator, error){google.NewEnvAuthenticator, google.NewGcloudAuthenticator} {
		if auth, err := ask(ctx); err == nil && auth != authn.Anonymous {
			return auth
		}
	}
	return authn.Anonymous
}
