package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/fault"
)

const (
	user, password = "data-team", "soak-canary"
	repositoryName = "pipelines"
)

// interval is the time between two looks of a daemon at the repository; it checks tags half as often.
const interval = time.Second

// stage is everything that runs: the parts, a fault proxy in front of each for each syncer, and the judge.
type stage struct {
	dir, bin, syncer string
	random           *rand.Rand // decides what happens; the proxies draw from its seeds
	journal          *journal

	plane        *lab.ControlPlane
	registry     *lab.Registry
	gitServer    *lab.GitHTTP
	api          map[string]*fault.Proxy // by syncer
	git, pulls   *fault.Proxy
	repo         *repository
	images       *images
	cluster      *cluster
	judge        *judge
	watching     sync.WaitGroup
	stopWatching context.CancelFunc
	handEdits    map[key]time.Time
	edits        int

	mu      sync.Mutex
	running map[string]*syncer
}

// names of the syncers. Each has a proxy of its own to the API server, so that a fault can hit one syncer alone.
var names = []string{"a", "b"}

func (s *stage) setUp(ctx context.Context) error {
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"control plane", s.startPlane},
		{"registry", s.startRegistry},
		{"git", s.startGit},
		{"proxies", s.startProxies},
		{"judge", s.startJudge},
		{"syncer install", s.install},
	}
	for _, step := range steps {
		began := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("starting %s: %w", step.what, err)
		}
		s.journal.say("%s: up in %.1f s", step.what, time.Since(began).Seconds())
	}
	return nil
}

func (s *stage) startPlane(ctx context.Context) (err error) {
	s.plane, err = lab.StartControlPlane(ctx, lab.ControlPlaneOptions{
		Bin: filepath.Join(s.bin, "controlplane"), Dir: filepath.Join(s.dir, "cluster"),
		Controllers: true, Nodes: 2, Spark: true, AuditLog: filepath.Join(s.dir, "audit.log"),
	})
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(s.plane.Config())
	if err != nil {
		return err
	}
	for _, environment := range environments {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace(environment)}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) startRegistry(ctx context.Context) (err error) {
	s.registry, err = lab.StartRegistry(ctx, lab.RegistryOptions{
		Bin: filepath.Join(s.bin, "registry"), Dir: filepath.Join(s.dir, "registry"), Username: user, Password: password,
	})
	if err != nil {
		return err
	}
	s.images = &images{registry: s.registry, tags: map[string][]stood{}}
	for _, name := range pipelines {
		for tag := range tags {
			if _, err := s.images.move(ctx, name, tag+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *stage) startGit(ctx context.Context) (err error) {
	s.gitServer, err = lab.StartGitHTTP(ctx, lab.GitOptions{Dir: filepath.Join(s.dir, "git"), Username: user, Password: password})
	if err != nil {
		return err
	}
	if err := s.gitServer.Create(ctx, repositoryName); err != nil {
		return err
	}
	s.repo = &repository{dir: filepath.Join(s.dir, "work")}
	return s.repo.begin(ctx, s.gitServer.CloneURL(repositoryName))
}

func (s *stage) startProxies(context.Context) error {
	config := s.plane.Config()
	config.QPS = -1
	server, err := url.Parse(config.Host)
	if err != nil {
		return err
	}
	ca := filepath.Join(s.dir, "proxy-ca.crt")
	serving, err := lab.ServerTLS(ca)
	if err != nil {
		return err
	}
	s.api = map[string]*fault.Proxy{}
	for _, name := range names {
		// Each with a transport of its own: two syncers share no connection.
		transport, err := rest.TransportFor(rest.CopyConfig(config))
		if err != nil {
			return err
		}
		if s.api[name], err = fault.Start(fault.Options{Target: server, Transport: transport, TLS: serving}); err != nil {
			return err
		}
	}
	gitURL, err := url.Parse(s.gitServer.URL(repositoryName))
	if err != nil {
		return err
	}
	if s.git, err = fault.Start(fault.Options{Target: &url.URL{Scheme: gitURL.Scheme, Host: gitURL.Host}}); err != nil {
		return err
	}
	if s.pulls, err = fault.Start(fault.Options{Target: &url.URL{Scheme: "http", Host: s.registry.Host}}); err != nil {
		return err
	}
	return s.writeConfigs(ca)
}

// writeConfigs writes a configuration for each syncer, alone and with an election.
func (s *stage) writeConfigs(ca string) error {
	authority, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	docker, err := json.Marshal(map[string]any{"auths": map[string]any{
		s.pulls.Host(): map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password))},
	}})
	if err != nil {
		return err
	}
	files := map[string]string{"git-password": password, "docker.json": string(docker)}
	for _, name := range names {
		files["kubeconfig-"+name] = fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: soak
clusters: [{name: soak, cluster: {server: %s, certificate-authority-data: %s}}]
users: [{name: soak, user: {token: the-proxy-has-the-right-one}}]
contexts: [{name: soak, context: {cluster: soak, user: soak}}]
`, s.api[name].URL(), base64.StdEncoding.EncodeToString(authority))
		for _, elects := range []bool{false, true} {
			files[configName(name, elects)] = s.config(name, elects)
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func configName(name string, elects bool) string {
	return fmt.Sprintf("syncer-%s-%t.yaml", name, elects)
}

func (s *stage) config(name string, elects bool) string {
	return fmt.Sprintf(`apiVersion: syncer.dev/v1alpha1
kind: Config
name: soak
namespace: %s
leaderElection: %t
source:
  url: %s/%s.git
  branch: main
  interval: %s
  auth: {username: %s, passwordFile: %s}
registries:
- {host: %s, mirror: %q, plainHTTP: true, credentialsFile: %s}
environments:
- name: dev
  cluster: {kubeconfig: %[11]s}
  images: {policy: Track, interval: %[12]s}
  drift: Correct
- name: prod
  cluster: {kubeconfig: %[11]s}
  images: {policy: Pin, interval: %[12]s}
`, records, elects, s.git.URL(), repositoryName, interval, user, filepath.Join(s.dir, "git-password"),
		registryHost, s.pulls.Host(), filepath.Join(s.dir, "docker.json"), filepath.Join(s.dir, "kubeconfig-"+name), 2*interval)
}

func (s *stage) startJudge(ctx context.Context) error {
	var err error
	if s.cluster, err = newCluster(s.plane.Config()); err != nil {
		return err
	}
	s.judge = &judge{journal: s.journal, cluster: s.cluster, repo: s.repo, images: s.images, logs: s.logs}
	s.judge.begin()
	s.handEdits = map[key]time.Time{}
	s.cluster.heard = func(e event) { s.judge.heard(ctx, e) }
	return nil
}

func (s *stage) install(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, s.syncer, "install", "--config", filepath.Join(s.dir, configName("a", false)))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("syncer install: %w: %s", err, out)
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopWatching = stop
	s.cluster.follow(watching, &s.watching)
	return nil
}

// close ends everything that was started, the syncers first.
func (s *stage) close() error {
	errs := []error{s.stopSyncers()}
	if s.stopWatching != nil {
		s.stopWatching()
		s.watching.Wait()
	}
	if s.judge != nil {
		s.judge.wg.Wait()
	}
	for _, p := range s.proxies() {
		errs = append(errs, p.Stop())
	}
	if s.gitServer != nil {
		errs = append(errs, s.gitServer.Stop())
	}
	if s.registry != nil {
		errs = append(errs, s.registry.Stop())
	}
	if s.plane != nil {
		errs = append(errs, s.plane.Stop())
	}
	return errors.Join(errs...)
}

func (s *stage) proxies() []*fault.Proxy {
	var all []*fault.Proxy
	for _, p := range append([]*fault.Proxy{s.git, s.pulls}, s.api["a"], s.api["b"]) {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// logs returns the end of each syncer's log and of the journal.
func (s *stage) logs() map[string][]byte {
	all := map[string][]byte{}
	for _, name := range append([]string{"journal"}, names...) {
		all[name+".log"] = tail(filepath.Join(s.dir, name+".log"), 256<<10)
	}
	all["audit.log"] = tail(filepath.Join(s.dir, "audit.log"), 4<<20)
	return all
}

func tail(path string, size int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return []byte(err.Error())
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > size {
		if _, err := f.Seek(-size, io.SeekEnd); err != nil {
			return []byte(err.Error())
		}
	}
	content, err := io.ReadAll(f)
	if err != nil {
		return []byte(err.Error())
	}
	return content
}
