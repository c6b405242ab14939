package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/daemon"
	"github.com/syncerdev/syncer/pkg/view"
)

// startCluster starts an API server and gives a runner of a configuration whose records are in gitops.
func startCluster(t *testing.T) (*daemon.Access, kubernetes.Interface) {
	t.Helper()
	bin := os.Getenv("SYNCER_BIN")
	if bin == "" {
		bin = filepath.Join("..", "..", "bin")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	plane, err := lab.StartControlPlane(ctx, lab.ControlPlaneOptions{Bin: filepath.Join(bin, "controlplane"), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Errorf("stopping the control plane: %v", err)
		}
	})
	config := filepath.Join(t.TempDir(), "syncer.yaml")
	text := fmt.Sprintf("apiVersion: syncer.dev/v1alpha1\nkind: Config\nnamespace: gitops\nsource: {url: none}\nenvironments:\n- {name: prod, cluster: {kubeconfig: %s}}\n", plane.Kubeconfig)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	session, err := commands.Open(config, commands.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	})
	admin, err := kubernetes.NewForConfig(plane.Config())
	if err != nil {
		t.Fatal(err)
	}
	return daemon.NewAccess(session.Config, session.Clusters), admin
}

// serviceAccount makes one with the rules of a role in a namespace, and of a cluster role, and gives a token of it.
func serviceAccount(t *testing.T, admin kubernetes.Interface, name, namespace string, role, clusterRole []rbacv1.PolicyRule) string {
	t.Helper()
	ctx := t.Context()
	fine := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	named := metav1.ObjectMeta{Name: name}
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: "gitops"}}
	_, err := admin.CoreV1().ServiceAccounts("gitops").Create(ctx, &corev1.ServiceAccount{ObjectMeta: named}, metav1.CreateOptions{})
	fine(err)
	if role != nil {
		_, err = admin.RbacV1().Roles(namespace).Create(ctx, &rbacv1.Role{ObjectMeta: named, Rules: role}, metav1.CreateOptions{})
		fine(err)
		_, err = admin.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: named, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}}, metav1.CreateOptions{})
		fine(err)
	}
	if clusterRole != nil {
		_, err = admin.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: named, Rules: clusterRole}, metav1.CreateOptions{})
		fine(err)
		_, err = admin.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: named, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}}, metav1.CreateOptions{})
		fine(err)
	}
	return token(t, admin, name)
}

func token(t *testing.T, admin kubernetes.Interface, name string, audiences ...string) string {
	t.Helper()
	answer, err := admin.CoreV1().ServiceAccounts("gitops").CreateToken(t.Context(), name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: audiences},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Token
}

// awaitVerdict waits until the API server says of a token what it is to say.
func awaitVerdict(t *testing.T, runner *daemon.Access, token string, access view.Access, want bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		_, allowed, err := runner.Allowed(t.Context(), token, access)
		if err == nil && allowed == want {
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("for %s the access to %s is %t, want %t: %v", patience, access, allowed, want, err)
		}
	}
}

// A real API server says whose a token is and what that account may see.
func TestTokensOfServiceAccounts(t *testing.T) {
	runner, admin := startCluster(t)
	for _, namespace := range []string{"gitops", "elsewhere"} {
		_, err := admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	list := []rbacv1.PolicyRule{{APIGroups: []string{v1alpha1.Group}, Resources: []string{"pipelinesyncs"}, Verbs: []string{"list"}}}
	once := []rbacv1.PolicyRule{{APIGroups: []string{v1alpha1.Group}, Resources: []string{"pipelinesyncs"}, Verbs: []string{"get"}}}
	scrape := []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}}
	tokens := map[string]string{
		"viewer":    serviceAccount(t, admin, "viewer", "gitops", list, nil),
		"neighbour": serviceAccount(t, admin, "neighbour", "elsewhere", list, nil),
		"getter":    serviceAccount(t, admin, "getter", "gitops", once, nil),
		"scraper":   serviceAccount(t, admin, "scraper", "", nil, scrape),
		"nothing":   serviceAccount(t, admin, "nothing", "", nil, nil),
		"gone":      serviceAccount(t, admin, "gone", "gitops", list, nil),
		"no token":  "eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
	}
	tokens["for another"] = token(t, admin, "viewer", "vault")
	tokens["forged"] = tokens["viewer"][:strings.LastIndex(tokens["viewer"], ".")] + ".c2lnbmF0dXJl"
	if err := admin.CoreV1().ServiceAccounts("gitops").Delete(t.Context(), "gone", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// The API server learns of accounts and roles a moment after they were written.
	awaitVerdict(t, runner, tokens["gone"], view.AccessRecords, false)
	awaitVerdict(t, runner, tokens["viewer"], view.AccessRecords, true)
	awaitVerdict(t, runner, tokens["scraper"], view.AccessMetrics, true)
	handler, who, err := newHandler(Options{
		Server: v1alpha1.Server{Listen: ":8080"}, Allowed: runner.Allowed, Right: runner.Right, Pprof: true, Log: slog.New(slog.DiscardHandler),
	}, fullDaemon(), false)
	if err != nil {
		t.Fatal(err)
	}
	if want := "may list pipelinesyncs.syncer.dev in the namespace gitops"; !strings.Contains(who, want) {
		t.Errorf("it is shown to %q", who)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	for name, want := range map[string][3]int{ // the API, the metrics, the profiles
		"viewer": {200, 403, 403}, "neighbour": {403, 403, 403}, "getter": {403, 403, 403}, "scraper": {403, 200, 403}, "nothing": {403, 403, 403},
		"gone": {401, 401, 401}, "no token": {401, 401, 401}, "for another": {401, 401, 401}, "forged": {401, 401, 401},
	} {
		for i, path := range []string{"/api/v1/status", "/metrics", "/debug/pprof/cmdline"} {
			// From addresses of their own: here it is not about guesses.
			answer := ask(t, handler, path, bearer(tokens[name]), func(r *http.Request) { r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", len(name)) })
			if answer.Code != want[i] {
				t.Errorf("%s, %s: %d %s", name, path, answer.Code, answer.Body)
			}
			if strings.Contains(answer.Body.String(), tokens[name]) {
				t.Errorf("%s, %s: the token is in the answer", name, path)
			}
		}
	}
	// Over the wire, too.
	if status, body := get(t, server.Client(), server.URL+"/api/v1/status", bearer(tokens["viewer"])); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if _, body := get(t, server.Client(), server.URL+"/api/v1/status", bearer(tokens["nothing"])); !strings.Contains(body, "system:serviceaccount:gitops:nothing may not list pipelinesyncs.syncer.dev in the namespace gitops") {
		t.Errorf("it does not say who may not do what: %s", body)
	}
}
