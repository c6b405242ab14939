package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/internal/lab"
)

// perPipeline is how many clusters a pipeline has targets in.
const perPipeline = 3

// scale measures one syncer with many clusters. Each cluster is one environment.
type scale struct {
	opts            options
	real, simulated int
	each            int  // targets of a cluster
	oneFile         bool // one kubeconfig has all clusters, and not each one of its own

	dir      string
	clusters clusters
	git      *lab.GitHTTP
	registry *lab.Registry
	work     *workload
	daemon   *daemon
	records  *records
	result   *result
}

func (s *scale) count() int     { return s.real + s.simulated }
func (s *scale) pipelines() int { return (s.count()*s.each + perPipeline - 1) / perPipeline }
func (s *scale) targets() int   { return s.pipelines() * perPipeline }

// places lists the environments of a pipeline: neighbours, so that each cluster has the same number of targets.
func (s *scale) places(i int) []string {
	var out []string
	for n := range perPipeline {
		out = append(out, clusterName((perPipeline*i+n)%s.count()))
	}
	return out
}

// kubeconfig is the file for a cluster.
func (s *scale) kubeconfig(name string) string {
	if s.oneFile {
		name = "all"
	}
	return filepath.Join(s.dir, "kubeconfigs", name)
}

// run measures everything, and prints the figures.
func (s *scale) run(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "syncer-scale-"); err != nil {
		return err
	}
	if s.opts.keep {
		defer fmt.Fprintln(s.opts.log, "the logs are in", s.dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	}
	s.result = &result{name: fmt.Sprintf("%d targets in %d clusters", s.targets(), s.count())}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.setUp(ctx); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer s.clusters.working.Wait()
	defer stop()
	s.clusters.follow(watching, s, s.records.note)
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{
		{"first", s.first}, {"rest", s.rest}, {"commits", s.commits}, {"profile", s.profile}, {"records", s.sizes}, {"silent", s.silent}, {"restart", s.restart}, {"restart, one silent", s.restartSilent},
	} {
		began := time.Now()
		if err := part.measure(ctx); err != nil {
			fmt.Print(report([]*result{s.result}, true))
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Fprintf(s.opts.log, "%s: %.1f s\n", part.name, time.Since(began).Seconds())
	}
	fmt.Print(report([]*result{s.result}, true))
	return nil
}

func (s *scale) setUp(ctx context.Context) (err error) {
	address, err := lab.FreeAddress()
	if err != nil {
		return err
	}
	s.daemon = &daemon{address: address, syncer: s.opts.syncer, dir: s.dir}
	s.records = newRecords()
	for name, text := range map[string]string{"git-password": password, "hook-secret": hookSecret} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "kubeconfigs"), 0o700); err != nil {
		return err
	}
	s.git, err = lab.StartGitHTTP(ctx, lab.GitOptions{Dir: filepath.Join(s.dir, "git"), Username: gitUser, Password: password})
	if err != nil {
		return err
	}
	if err := s.git.Create(ctx, repository); err != nil {
		return err
	}
	s.registry, err = lab.StartRegistry(ctx, lab.RegistryOptions{
		Bin: filepath.Join(s.opts.bin, "registry"), Dir: filepath.Join(s.dir, "registry"), Username: gitUser, Password: password,
	})
	if err != nil {
		return err
	}
	digest, err := s.registry.Push(ctx, "data/etl:v1", "etl")
	if err != nil {
		return err
	}
	s.work = &workload{
		dir: filepath.Join(s.dir, "work"), pipelines: s.pipelines(), changed: s.opts.change, places: s.places,
		image: func(string) string { return s.registry.Host + "/data/etl@" + digest },
	}
	if _, err := s.work.begin(ctx, s.git.CloneURL(repository)); err != nil {
		return err
	}
	if err := s.clusters.start(ctx, s, s.records.note); err != nil {
		return err
	}
	if err := s.createNamespaces(ctx); err != nil {
		return err
	}
	server := fmt.Sprintf("server: {listen: %q, webhookSecretFile: hook-secret}\n", address)
	return s.writeConfig("daemon.yaml", s.clusters.names, server)
}

// writeConfig writes a configuration with an environment for each of the clusters.
func (s *scale) writeConfig(name string, clusters []string, server string) error {
	var text strings.Builder
	fmt.Fprintf(&text, `apiVersion: syncer.dev/v1alpha1
kind: Config
name: bench
source:
  url: %s
  branch: main
  interval: %s
  auth: {username: %s, passwordFile: git-password}
registries:
- {host: %q, plainHTTP: true, credentialsFile: %q}
%senvironments:
`, s.git.URL(repository), s.opts.interval, gitUser, s.registry.Host, filepath.Join(s.registry.DockerConfig, "config.json"), server)
	for _, name := range clusters {
		fmt.Fprintf(&text, "- {name: %s, cluster: {kubeconfig: %q, context: %s}}\n", name, s.kubeconfig(name), name)
	}
	return os.WriteFile(filepath.Join(s.dir, name), []byte(text.String()), 0o600)
}

// createNamespaces makes the namespaces of the targets in the real clusters; a stand-in asks for none.
func (s *scale) createNamespaces(ctx context.Context) error {
	made := map[string]bool{}
	for i := range s.pipelines() {
		for _, environment := range s.places(i) {
			name := namespace(i, environment)
			for n := range s.clusters.clients {
				if s.clusters.names[n] != environment || made[name] {
					continue
				}
				made[name] = true
				ns := &unstructured.Unstructured{Object: map[string]any{
					"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
				}}
				if _, err := s.clusters.clients[n].Resource(namespaces).Create(ctx, ns, metav1.CreateOptions{}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *scale) stop() error {
	var errs []error
	if s.daemon != nil {
		errs = append(errs, s.daemon.stop())
	}
	errs = append(errs, s.clusters.stop())
	if s.registry != nil {
		errs = append(errs, s.registry.Stop())
	}
	if s.git != nil {
		errs = append(errs, s.git.Stop())
	}
	return errors.Join(errs...)
}
