package commands

import (
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/reconcile"
)

func TestMain(m *testing.M) { os.Exit(bench.Run(m, lab.ControlPlaneOptions{})) }

// project is a configuration with a repository and a registry, on a bench. Its environments dev and prod have a namespace each.
type project struct {
	*bench.Bench
	dir      string // of the repository
	registry string // its host
	session  *Session

	mu       sync.Mutex
	progress []Progress
}

// newProject opens a configuration with some more settings.
func newProject(t *testing.T, settings string) *project {
	t.Helper()
	p := &project{Bench: bench.New(t), dir: t.TempDir()}
	p.CreateNamespace(p.Namespace + "-dev")
	p.CreateNamespace(p.Namespace + "-prod")
	images := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(images.Close)
	p.registry = strings.TrimPrefix(images.URL, "http://")
	lab.Git(t, p.dir, "", "init", "-q", "-b", "main")
	p.session = p.open(settings)
	return p
}

// open opens the configuration as another process does.
func (p *project) open(settings string) *Session {
	p.T.Helper()
	file := filepath.Join(p.T.TempDir(), "syncer.yaml")
	text := p.expand(`apiVersion: syncer.dev/v1alpha1
kind: Config
name: $RECORDS
namespace: $RECORDS
source: {url: $DIR, branch: main}
registries: [{host: $REGISTRY, plainHTTP: true}]
environments:
- {name: dev, cluster: {kubeconfig: $KUBECONFIG}}
- {name: prod, cluster: {kubeconfig: $KUBECONFIG}}
` + settings)
	write(p.T, file, text)
	session, err := Open(file, Options{UserAgent: p.Agent, Progress: func(step Progress) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.progress = append(p.progress, step)
	}})
	if err != nil {
		p.T.Fatal(err)
	}
	p.T.Cleanup(func() {
		if err := session.Close(); err != nil {
			p.T.Error(err)
		}
	})
	return session
}

func (p *project) expand(text string) string {
	return strings.NewReplacer("$NS", p.Namespace, "$RECORDS", p.Records, "$DIR", p.dir, "$REGISTRY", p.registry, "$KUBECONFIG", p.Plane.Kubeconfig).Replace(text)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// files are the files of a repository, by path.
type files map[string]string

// pipeline are the files of a pipeline whose overlays share some objects.
func pipeline(name string, docs ...string) files {
	folder := "pipelines/" + name
	out := files{folder + "/base/kustomization.yaml": "resources: [all.yaml]\n", folder + "/base/all.yaml": strings.Join(docs, "---\n")}
	for _, environment := range []string{"dev", "prod"} {
		out[folder+"/overlays/"+environment+"/kustomization.yaml"] = "namespace: $NS-" + environment + "\nresources: [../../base]\n"
	}
	return out
}

// and returns the files together with others.
func (f files) and(others files) files {
	out := maps.Clone(f)
	maps.Copy(out, others)
	return out
}

// commit makes files the content of the repository.
func (p *project) commit(f files, message string) {
	p.T.Helper()
	if err := os.RemoveAll(filepath.Join(p.dir, "pipelines")); err != nil {
		p.T.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		write(p.T, filepath.Join(p.dir, name), p.expand(f[name]))
	}
	lab.Git(p.T, p.dir, "", "add", "-A")
	lab.Git(p.T, p.dir, "", "commit", "-q", "--allow-empty", "-m", message)
}

// push puts a new image under a reference of the registry, and returns its digest.
func (p *project) push(reference string) string {
	p.T.Helper()
	image, err := random.Image(16, 1)
	if err != nil {
		p.T.Fatal(err)
	}
	ref, err := name.ParseReference(p.registry+"/"+reference, name.Insecure)
	if err != nil {
		p.T.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		p.T.Fatal(err)
	}
	return digestOf(p.T, image)
}

func digestOf(t *testing.T, image v1.Image) string {
	t.Helper()
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// sync syncs some environments, all of them without names, and checks that no target failed.
func (p *project) sync(environments ...string) *Pass {
	p.T.Helper()
	pass, err := p.session.Sync(p.Ctx, SyncOptions{Selection: v1alpha1.Selection{Environments: environments}})
	if err != nil || pass.Failures() > 0 {
		p.T.Fatalf("%v, %+v", err, pass)
	}
	return pass
}

// verdicts are the results of a pass, as "TARGET VERDICT".
func verdicts(pass *Pass) string {
	var out []string
	for _, t := range pass.Targets {
		out = append(out, t.Target().String()+" "+string(t.Result))
	}
	return strings.Join(out, ", ")
}

// wantVerdicts checks the results of a pass.
func wantVerdicts(t *testing.T, pass *Pass, want string) {
	t.Helper()
	if got := verdicts(pass); got != want {
		t.Errorf("%s\nwant %s", got, want)
		for _, result := range pass.Targets {
			if result.Result == reconcile.Failed {
				t.Log(result.Error)
			}
		}
	}
}
