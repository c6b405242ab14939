package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/render"
)

const (
	user, password = "data-team", "demo-password"
	registryHost   = "registry.example.com" // as the examples write it; the local registry replaces it
	repository     = "pipelines"
)

var environments = []string{"dev", "staging", "prod"}

// stage is everything that the demo runs.
type stage struct {
	dir, bin string
	plane    *lab.ControlPlane
	registry *lab.Registry
	git      *lab.GitHTTP
	syncer   *exec.Cmd
	ended    chan error // of syncer run
	page     string     // HOST:PORT of its pages
}

// setUp starts every part. The caller closes the stage also after an error.
func setUp(ctx context.Context, bin, dir string) (*stage, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir, bin: bin}
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"a Kubernetes API server, controllers, 3 simulated nodes and a Spark life cycle", s.startPlane},
		{"a registry with the example images", s.startRegistry},
		{"a git server with the example pipelines", s.startGit},
		{"syncer: install, then run", s.startSyncer},
	}
	for _, step := range steps {
		began := time.Now()
		fmt.Printf("starting %s ... ", step.what)
		if err := step.do(ctx); err != nil {
			fmt.Println("failed")
			return s, err
		}
		fmt.Printf("%.1f s\n", time.Since(began).Seconds())
	}
	return s, nil
}

func (s *stage) startPlane(ctx context.Context) (err error) {
	s.plane, err = lab.StartControlPlane(ctx, lab.ControlPlaneOptions{
		Bin: filepath.Join(s.bin, "controlplane"), Dir: filepath.Join(s.dir, "cluster"),
		Controllers: true, Nodes: 3, Spark: true,
	})
	return err
}

func (s *stage) startRegistry(ctx context.Context) (err error) {
	s.registry, err = lab.StartRegistry(ctx, lab.RegistryOptions{
		Bin: filepath.Join(s.bin, "registry"), Dir: filepath.Join(s.dir, "registry"), Username: user, Password: password,
	})
	if err != nil {
		return err
	}
	references, err := exampleImages(os.DirFS("examples"))
	if err != nil {
		return err
	}
	for _, reference := range references {
		if _, err := s.push(ctx, reference, reference); err != nil {
			return err
		}
	}
	return nil
}

// push makes an image from a seed and puts it under a reference of the examples.
func (s *stage) push(ctx context.Context, reference, seed string) (digest string, err error) {
	return s.registry.Push(ctx, strings.TrimPrefix(reference, registryHost+"/"), seed)
}

// exampleImages lists the references of every overlay that name a tag.
func exampleImages(files fs.FS) ([]string, error) {
	overlays, err := fs.Glob(files, "pipelines/*/overlays/*")
	if err != nil {
		return nil, err
	}
	// The worker images of airflow are in a ConfigMap; its pipeline.yaml names them for syncer, and this line names them
	// for the demo.
	var fields []image.Field
	for _, key := range []string{"AIRFLOW_WORKER_IMAGE", "AIRFLOW_VAR_SESSION_REPORT_IMAGE"} {
		field, err := image.NewField("", "ConfigMap", "data."+key)
		if err != nil {
			return nil, err
		}
		fields = append(fields, field)
	}
	var all manifest.Set
	for _, overlay := range overlays {
		set, err := render.Build(files, overlay)
		if err != nil {
			return nil, err
		}
		all = append(all, set...)
	}
	refs, err := image.Find(all, fields)
	if err != nil {
		return nil, err
	}
	tags := image.Tags(refs)
	if len(tags) == 0 {
		return nil, errors.New("the examples name no image")
	}
	return slices.DeleteFunc(tags, func(tag string) bool { return !strings.HasPrefix(tag, registryHost+"/") }), nil
}

func (s *stage) startGit(ctx context.Context) (err error) {
	s.git, err = lab.StartGitHTTP(ctx, lab.GitOptions{Dir: filepath.Join(s.dir, "git"), Username: user, Password: password})
	if err != nil {
		return err
	}
	if err := s.git.Create(ctx, repository); err != nil {
		return err
	}
	work := s.work()
	if err := os.CopyFS(work, os.DirFS("examples")); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"config", "user.name", "Ada Data"},
		{"config", "user.email", "ada@example.com"},
		{"remote", "add", "origin", s.git.CloneURL(repository)},
		{"add", "."},
		{"commit", "--quiet", "-m", "Our pipelines"},
		{"push", "--quiet", "-u", "origin", "main"},
	} {
		if _, err := s.runGit(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// work is the clone in which the demo's user works.
func (s *stage) work() string { return filepath.Join(s.dir, "work") }

func (s *stage) runGit(ctx context.Context, args ...string) (string, error) {
	return output(exec.CommandContext(ctx, "git", append([]string{"-C", s.work()}, args...)...))
}

func (s *stage) config() string { return filepath.Join(s.dir, "syncer.yaml") }

func (s *stage) writeConfig() error {
	var err error
	if s.page, err = lab.FreeAddress(); err != nil {
		return fmt.Errorf("finding a port for the page: %w", err)
	}
	passwordFile := filepath.Join(s.dir, "git-password")
	if err := os.WriteFile(passwordFile, []byte(password), 0o600); err != nil {
		return err
	}
	text := fmt.Sprintf(`apiVersion: syncer.dev/v1alpha1
kind: Config
name: data-platform
source:
  url: %s
  branch: main
  interval: 2s
  auth: {username: %s, passwordFile: %s}
registries:
# The examples name %s; the demo's own registry answers for it.
- host: %s
  mirror: %s
  credentialsFile: %s
environments:
- name: dev
  cluster: {kubeconfig: %s}
  images: {policy: Track}
- name: staging
  cluster: {kubeconfig: %[8]s}
- name: prod
  cluster: {kubeconfig: %[8]s}
server: {listen: %[9]q}
`, s.git.URL(repository), user, passwordFile, registryHost, registryHost, s.registry.Host,
		filepath.Join(s.registry.DockerConfig, "config.json"), s.plane.Kubeconfig, s.page)
	return os.WriteFile(s.config(), []byte(text), 0o644)
}

func (s *stage) startSyncer(ctx context.Context) error {
	if err := s.writeConfig(); err != nil {
		return err
	}
	if _, err := s.run(ctx, "install"); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.dir, "syncer.log"))
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own copy
	s.syncer = exec.Command(filepath.Join(s.bin, "syncer"), "run", "--config", s.config(), "--cache-dir", filepath.Join(s.dir, "cache"))
	s.syncer.Stdout, s.syncer.Stderr = log, log
	if err := s.syncer.Start(); err != nil {
		return err
	}
	s.ended = make(chan error, 1)
	go func() { s.ended <- s.syncer.Wait() }()
	return nil
}

// run runs a syncer command beside the daemon and returns its output.
func (s *stage) run(ctx context.Context, args ...string) (string, error) {
	return output(exec.CommandContext(ctx, filepath.Join(s.bin, "syncer"), append(args, "--config", s.config())...))
}

func (s *stage) kubectl(ctx context.Context, args ...string) (string, error) {
	return output(exec.CommandContext(ctx, filepath.Join(s.bin, "controlplane", "kubectl"), append([]string{"--kubeconfig", s.plane.Kubeconfig}, args...)...))
}

// commandError is a command that ended with a code other than 0.
type commandError struct {
	command string
	code    int
	stderr  string
}

func (e *commandError) Error() string {
	return fmt.Sprintf("%s ended with %d: %s", e.command, e.code, e.stderr)
}

func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = &commandError{filepath.Base(cmd.Path) + " " + strings.Join(cmd.Args[1:], " "), exit.ExitCode(), strings.TrimSpace(stderr.String())}
	}
	return strings.TrimSpace(stdout.String()), err
}

// close ends every part that was started. It ends syncer first, so that syncer does not see the end of the others.
func (s *stage) close() error {
	var errs []error
	if s.ended != nil {
		errs = append(errs, s.syncer.Process.Signal(os.Interrupt), <-s.ended)
	}
	if s.git != nil {
		errs = append(errs, s.git.Stop())
	}
	if s.registry != nil {
		errs = append(errs, s.registry.Stop())
	}
	if s.plane != nil {
		errs = append(errs, s.plane.Stop())
	}
	return errors.Join(errs...)
}

// wait prints what a person can try, and waits until the person ends it.
func (s *stage) wait(ctx context.Context) error {
	fmt.Printf(`
syncer follows the example pipelines now, and shows them at

  http://%[6]s

In another terminal:

  export KUBECONFIG=%[1]s
  export PATH=%[2]s:%[2]s/controlplane:$PATH
  cd %[3]s

See what runs where:

  syncer status --config %[4]s
  kubectl get psync -A

Deploy a new version of one pipeline (its image is in the registry already): on
a branch first, to see what it would change, then by a merge, which arrives in
three environments.

  git switch -c api-ingest-v1
  sed -i 's/newTag: .*/newTag: "v1.0.0"/' pipelines/api-ingest/overlays/*/kustomization.yaml
  git commit -am "api-ingest v1.0.0" && git push -u origin api-ingest-v1
  syncer diff --revision api-ingest-v1 --config %[4]s

  git switch main && git merge --no-ff -m "Merge api-ingest-v1" api-ingest-v1 && git push
  kubectl get psync -A -w

Change something by hand, and ask who it was:

  kubectl -n data-prod patch cronjob api-ingest -p '{"spec":{"schedule":"0 3 * * *"}}'
  syncer drift --config %[4]s

Roll back, to the very digests that ran before:

  git revert --no-edit -m 1 HEAD && git push

syncer's log: %[5]s
End with Ctrl-C.
`, s.plane.Kubeconfig, s.bin, s.work(), s.config(), filepath.Join(s.dir, "syncer.log"), s.page)
	if _, err := s.push(ctx, newImage, newImage); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.ended:
		s.ended <- nil
		return fmt.Errorf("syncer run ended: %w; see %s", err, filepath.Join(s.dir, "syncer.log"))
	}
}
