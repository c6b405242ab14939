package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab"
)

var (
	namespaces   = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	configMaps   = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	applications = schema.GroupVersionResource{Group: "sparkoperator.k8s.io", Version: "v1beta2", Resource: "sparkapplications"}
	pipelineSync = schema.GroupVersionResource{Group: "syncer.dev", Version: "v1alpha1", Resource: "pipelinesyncs"}
	bindings     = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}
)

// The users of the API server, by which the audit log tells them apart. They are no members of system:masters, whose
// requests pass priority and fairness unlooked at.
const (
	daemonUser  = "daemon"
	commandUser = "commands"
	rawUser     = "raw"
	group       = "bench"
)

const (
	gitUser, password = "data-team", "bench-canary"
	repository        = "pipelines"
)

// bench is one run: the parts around syncer, syncer, and what was measured.
type bench struct {
	opts   options
	kase   kase
	dir    string
	result *result

	parts       *surroundings
	work        *workload
	client      dynamic.Interface // a person's
	audit       *audit
	records     *records
	daemon      *daemon
	background  sync.WaitGroup
	stopWatches context.CancelFunc
}

// surroundings are the parts that syncer works with.
type surroundings struct {
	plane       *lab.ControlPlane
	registry    *lab.Registry
	git         *lab.GitHTTP
	kubeconfigs map[string]string // by user
	digests     map[string]string // of the image of a team
}

func (b *bench) targets() int { return b.kase.targets() }

// setUp starts the parts and pushes the repository. Nothing of syncer runs yet.
func (b *bench) setUp(ctx context.Context) error {
	b.parts = &surroundings{kubeconfigs: map[string]string{}, digests: map[string]string{}}
	log := filepath.Join(b.dir, "audit.log")
	if err := b.parts.start(ctx, b.opts.bin, b.dir, log, b.kase.pipelines); err != nil {
		return err
	}
	config := b.parts.plane.Config()
	config.QPS, config.UserAgent = -1, "bench"
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	b.client, b.audit = client, &audit{path: log, config: config}
	if err := b.createNamespaces(ctx, ""); err != nil {
		return err
	}
	b.work = &workload{
		dir: filepath.Join(b.dir, "work"), pipelines: b.kase.pipelines, changed: b.opts.change,
		image: func(team string) string { return b.parts.registry.Host + "/data/" + team + "@" + b.parts.digests[team] },
	}
	if _, err := b.work.begin(ctx, b.parts.git.CloneURL(repository)); err != nil {
		return err
	}
	if err := b.configure(); err != nil {
		return err
	}
	b.result.versions = versions(ctx, b.opts.syncer, config)
	return b.install(ctx)
}

func (p *surroundings) start(ctx context.Context, bin, dir, log string, pipelines int) (err error) {
	p.plane, err = lab.StartControlPlane(ctx, lab.ControlPlaneOptions{
		Bin: filepath.Join(bin, "controlplane"), Dir: filepath.Join(dir, "cluster"), CRDs: true, AuditLog: log,
	})
	if err != nil {
		return err
	}
	for _, user := range []string{daemonUser, commandUser, rawUser} {
		if p.kubeconfigs[user], err = p.plane.AddUser(user, group); err != nil {
			return err
		}
	}
	p.registry, err = lab.StartRegistry(ctx, lab.RegistryOptions{
		Bin: filepath.Join(bin, "registry"), Dir: filepath.Join(dir, "registry"), Username: gitUser, Password: password,
	})
	if err != nil {
		return err
	}
	for i := 0; i < pipelines; i += perTeam {
		if p.digests[team(i)], err = p.registry.Push(ctx, "data/"+team(i)+":v1", team(i)); err != nil {
			return err
		}
	}
	p.git, err = lab.StartGitHTTP(ctx, lab.GitOptions{Dir: filepath.Join(dir, "git"), Username: gitUser, Password: password})
	if err != nil {
		return err
	}
	return p.git.Create(ctx, repository)
}

func (p *surroundings) stop() error {
	var errs []error
	if p.git != nil {
		errs = append(errs, p.git.Stop())
	}
	if p.registry != nil {
		errs = append(errs, p.registry.Stop())
	}
	if p.plane != nil {
		errs = append(errs, p.plane.Stop())
	}
	return errors.Join(errs...)
}

// createNamespaces makes one for each team in each environment, with a prefix, and lets the users do everything.
func (b *bench) createNamespaces(ctx context.Context, prefix string) error {
	for i := 0; i < b.kase.pipelines; i += perTeam {
		for _, environment := range environments {
			ns := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": prefix + namespace(i, environment)},
			}}
			if _, err := b.client.Resource(namespaces).Create(ctx, ns, metav1.CreateOptions{}); err != nil {
				return err
			}
		}
	}
	if prefix != "" {
		return nil
	}
	_, err := b.client.Resource(bindings).Create(ctx, groupBinding(), metav1.CreateOptions{})
	return err
}

// groupBinding lets the users of the benchmark do everything.
func groupBinding() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": map[string]any{"name": group},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
		"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}},
	}}
}

// configure writes a configuration for the daemon and one for commands, with a user of its own.
func (b *bench) configure() error {
	for name, text := range map[string]string{"git-password": password, "hook-secret": hookSecret} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	address, err := lab.FreeAddress()
	if err != nil {
		return err
	}
	b.daemon = &daemon{address: address, syncer: b.opts.syncer, dir: b.dir}
	server := fmt.Sprintf("server: {listen: %q, webhookSecretFile: hook-secret}\n", address)
	if err := b.writeConfig("daemon.yaml", b.parts.kubeconfigs[daemonUser], server); err != nil {
		return err
	}
	return b.writeConfig("commands.yaml", b.parts.kubeconfigs[commandUser], "")
}

func (b *bench) writeConfig(name, kubeconfig, server string) error {
	text := fmt.Sprintf(`apiVersion: syncer.dev/v1alpha1
kind: Config
name: bench
source:
  url: %s
  branch: main
  interval: %s
  auth: {username: %s, passwordFile: git-password}
registries:
- {host: %q, plainHTTP: true, credentialsFile: %q}
environments:
- {name: dev, cluster: {kubeconfig: %[6]q}, drift: Correct}
- {name: staging, cluster: {kubeconfig: %[6]q}, drift: Report}
- {name: prod, cluster: {kubeconfig: %[6]q}, drift: Report}
%s`, b.parts.git.URL(repository), b.opts.interval, gitUser, b.parts.registry.Host,
		filepath.Join(b.parts.registry.DockerConfig, "config.json"), kubeconfig, server)
	return os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600)
}

// createDelay is how long the API server delays the creation of objects of a kind after its definition, and some more.
const createDelay = 3 * time.Second

// install runs `syncer install` long before syncer works, as users do.
func (b *bench) install(ctx context.Context) error {
	cmd := b.daemon.command(ctx, "install", "--config", filepath.Join(b.dir, "daemon.yaml"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("syncer install: %w: %s", err, out)
	}
	return sleep(ctx, createDelay)
}

// watch follows the records and, where targets settle, completes applications.
func (b *bench) watch(ctx context.Context) {
	watching, stop := context.WithCancel(ctx)
	b.stopWatches = stop
	b.records = newRecords()
	b.background.Go(func() { follow(watching, b.client.Resource(pipelineSync), b.records.note) })
	if b.kase.settle {
		o := &operator{client: b.client, todo: make(chan *unstructured.Unstructured, 10_000), log: b.opts.log}
		b.background.Go(func() { o.run(watching) })
	}
}

func (b *bench) close() error {
	var errs []error
	if b.daemon != nil {
		errs = append(errs, b.daemon.stop())
	}
	if b.stopWatches != nil {
		b.stopWatches()
		b.background.Wait()
	}
	if b.parts != nil {
		errs = append(errs, b.parts.stop())
	}
	return errors.Join(errs...)
}

// user is the configuration of one of the users.
func (b *bench) user(name string) (*rest.Config, error) {
	config, err := kubeconfig(b.parts.kubeconfigs[name])
	if err != nil {
		return nil, err
	}
	config.QPS, config.UserAgent = -1, name
	return config, nil
}

// timed runs a program to its end, with its output thrown away, and returns how long it took and its processor time.
func timed(cmd *exec.Cmd) (took, cpu time.Duration, err error) {
	began := time.Now()
	err = cmd.Run()
	took = time.Since(began)
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() == 1 {
		err = nil // there are differences
	}
	if cmd.ProcessState != nil {
		cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return took, cpu, err
}
