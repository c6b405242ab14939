package apply_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/syncerdev/syncer/pkg/answer"
)

// account is a service account with all rights. Its tokens are valid until the test ends.
type account struct {
	b      *bench
	client *kubernetes.Clientset
	name   string
	ca     []byte
}

func (b *bench) account() *account {
	b.t.Helper()
	config := b.plane.Config()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.t.Fatal(err)
	}
	a := &account{b: b, client: client, name: "syncer", ca: config.CAData}
	b.kubectl(fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: syncer, namespace: %s}\n---\n"+
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: syncer-%s}\n"+
		"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\nsubjects: [{kind: ServiceAccount, name: syncer, namespace: %s}]\n",
		b.records, b.records, b.records), "apply", "-f", "-")
	return a
}

func (a *account) token() string {
	a.b.t.Helper()
	answer, err := a.client.CoreV1().ServiceAccounts(a.b.records).CreateToken(a.b.ctx, a.name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		a.b.t.Fatal(err)
	}
	return answer.Status.Token
}

// kubeconfig writes one user of the test's API server.
func (a *account) kubeconfig(user string) string {
	return a.kubeconfigTo(a.b.plane.Config().Host, "certificate-authority-data: "+base64.StdEncoding.EncodeToString(a.ca), user)
}

func (a *account) kubeconfigTo(server, ca, user string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: %q, %s}}]\n"+
		"users: [{name: u, user: {%s}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n", server, ca, user)
}

func put(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

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

// syncer uses a new token when it is replaced, for every way to replace the file, and whether the kubeconfig has the token
// or names its file. Writes continue as well: syncer sends them again with the new token.
func TestTokenIsReplaced(t *testing.T) {
	for name, replace := range map[string]func(*testing.T, string, string){"written over": put, "renamed": rename, "mounted": mount} {
		for _, inline := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s inline=%t", name, inline), func(t *testing.T) {
				b := newBench(t)
				a := b.account()
				kubeconfig, token := filepath.Join(t.TempDir(), "kubeconfig"), filepath.Join(t.TempDir(), "token")
				use := func(value string) {
					if inline {
						replace(t, kubeconfig, a.kubeconfig("token: "+value))
					} else {
						replace(t, token, value)
					}
				}
				if !inline {
					put(t, kubeconfig, a.kubeconfig("tokenFile: "+token))
				}
				use(a.token())
				_, b.cluster = b.connect(kubeconfig)
				b.sync(b.set(settings("a", "1")))
				use("worn.out.token")
				b.eventually("the old token is forgotten", func() bool {
					_, err := b.cluster.Records().List(b.ctx)
					return err != nil && strings.Contains(err.Error(), "Unauthorized")
				})
				use(a.token())
				b.sync(b.set(settings("a", "2"))) // at once, and the write succeeds
			})
		}
	}
}

// If new credentials cannot be used, the last ones stay in use. When those are refused, the error says why. A program is not
// run where that was not allowed.
func TestCredentialsThatCannotBeRead(t *testing.T) {
	b := newBench(t)
	a := b.account()
	kubeconfig, token := filepath.Join(t.TempDir(), "kubeconfig"), filepath.Join(t.TempDir(), "token")
	put(t, token, a.token())
	good := a.kubeconfig("tokenFile: " + token)
	put(t, kubeconfig, good)
	_, b.cluster = b.connect(kubeconfig)
	ran := filepath.Join(t.TempDir(), "ran")
	for name, content := range map[string]string{
		"half written": good[:len(good)/2], "empty": "", "another context": strings.ReplaceAll(good, "name: c,", "name: other,"),
		"a program": a.kubeconfig(`exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: ["` + ran + `"], interactiveMode: Never}`),
	} {
		put(t, kubeconfig, content)
		for began := time.Now(); time.Since(began) < 1200*time.Millisecond; { // syncer checks files once a second
			if _, err := b.cluster.Records().List(b.ctx); err != nil {
				t.Fatalf("%s: the last credentials are not in use: %v", name, err)
			}
		}
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a program was run without permission")
	}
	put(t, kubeconfig, good)
	put(t, token, "worn.out.token")
	b.eventually("the worn out token is used", func() bool { _, err := b.cluster.Records().List(b.ctx); return err != nil })
	put(t, token, "")
	_, err := b.cluster.Records().List(b.ctx)
	wantError(t, err, "the API server refuses the credentials", "the token file is empty")
	put(t, token, a.token())
	if _, err := b.cluster.Records().List(b.ctx); err != nil {
		t.Errorf("a good token again: %v", err)
	}
}

// syncer uses new certificates when their files change, and a new address when the kubeconfig changes.
func TestCertificatesAreReplaced(t *testing.T) {
	b := newBench(t)
	a := b.account()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	admin := b.plane.Config()
	if err := rest.LoadTLSFiles(admin); err != nil {
		t.Fatal(err)
	}
	a.ca = admin.CAData
	stranger, err := b.plane.AddUser("stranger-" + b.namespace)
	if err != nil {
		t.Fatal(err)
	}
	other, err := clientcmd.BuildConfigFromFlags("", stranger)
	if err != nil {
		t.Fatal(err)
	}
	if err := rest.LoadTLSFiles(other); err != nil {
		t.Fatal(err)
	}
	put(t, at("ca.crt"), string(other.CertData)) // another certificate, which has signed nothing
	put(t, at("tls.crt"), string(other.CertData))
	put(t, at("tls.key"), string(other.KeyData))
	user := fmt.Sprintf("client-certificate: %s, client-key: %s", at("tls.crt"), at("tls.key"))
	kubeconfig := at("kubeconfig")
	put(t, kubeconfig, a.kubeconfigTo(admin.Host, "certificate-authority: "+at("ca.crt"), user))
	_, b.cluster = b.connect(kubeconfig)
	if _, err := b.cluster.Records().List(b.ctx); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a CA that did not sign the server's certificate: %v", err)
	}
	put(t, at("ca.crt"), string(admin.CAData))
	b.eventually("the CA is taken up", func() bool { _, err := b.cluster.Records().List(b.ctx); return answer.IsForbidden(err) })
	put(t, at("tls.crt"), string(admin.CertData))
	put(t, at("tls.key"), string(admin.KeyData))
	b.eventually("the client certificate is taken up", func() bool { _, err := b.cluster.Records().List(b.ctx); return err == nil })
	put(t, kubeconfig, a.kubeconfigTo("https://127.0.0.1:1", "certificate-authority: "+at("ca.crt"), user))
	b.eventually("the address is taken up", func() bool { _, err := b.cluster.Records().List(b.ctx); return err != nil })
	put(t, kubeconfig, a.kubeconfigTo(admin.Host, "certificate-authority: "+at("ca.crt"), user))
	b.eventually("and the first one again", func() bool { _, err := b.cluster.Records().List(b.ctx); return err == nil })
}
