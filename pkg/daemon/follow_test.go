package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/view"
)

// maxWait is how long a test waits for a daemon on a busy machine.
const maxWait = time.Minute

// project is a git repository of pipelines, an image registry, and namespaces that no other test uses.
type project struct {
	*bench.Bench
	dir      string
	registry string // host:port
	config   string // a file
}

// newProject prepares a project. Its configuration has some settings, and the environment prod with some more.
func newProject(t *testing.T, settings, environment string) *project {
	t.Helper()
	images := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(images.Close)
	p := &project{Bench: bench.New(t), dir: t.TempDir(), registry: strings.TrimPrefix(images.URL, "http://")}
	p.config = filepath.Join(p.dir, "syncer.yaml")
	if err := os.Mkdir(filepath.Join(p.dir, "git"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.write("../syncer.yaml", fmt.Sprintf(`apiVersion: syncer.dev/v1alpha1
kind: Config
namespace: %s
source: {url: %q, branch: main, interval: 1s}
%s
environments:
- name: prod
  cluster: {kubeconfig: %q}
  prune: {maxPercent: 100}
%s
`, p.Records, filepath.Join(p.dir, "git"), settings, p.Plane.Kubeconfig, environment))
	p.git("init", "--quiet", "--initial-branch", "main")
	return p
}

// write writes a file of the repository.
func (p *project) write(name, text string) {
	p.T.Helper()
	file := filepath.Join(p.dir, "git", name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		p.T.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		p.T.Fatal(err)
	}
}

// pipeline writes a pipeline with one object.
func (p *project) pipeline(name, object string) {
	p.T.Helper()
	at := "pipelines/" + name + "/overlays/prod/"
	p.write(at+"kustomization.yaml", "namespace: "+p.Namespace+"\nresources: [object.yaml]\n")
	p.write(at+"object.yaml", object)
}

// configMap is a ConfigMap with one value.
func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {value: %q}\n", name, value)
}

// cronJob is a CronJob with an image of the project's registry.
func (p *project) cronJob(name, image string) string {
	return fmt.Sprintf("apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: %s}\nspec: {schedule: 0 3 * * *, jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: '%s/%s'}]}}}}}\n", name, p.registry, image)
}

// push pushes an image and returns its digest.
func (p *project) push(reference, seed string) string {
	p.T.Helper()
	image, err := crane.Image(map[string][]byte{"seed": []byte(seed)})
	if err == nil {
		err = crane.Push(image, p.registry+"/"+reference, crane.Insecure)
	}
	if err != nil {
		p.T.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		p.T.Fatal(err)
	}
	return digest.String()
}

func (p *project) git(args ...string) {
	p.T.Helper()
	lab.Git(p.T, filepath.Join(p.dir, "git"), "", args...)
}

// commit commits the written files.
func (p *project) commit(subject string) {
	p.T.Helper()
	p.git("add", "-A")
	p.git("commit", "--quiet", "--allow-empty", "-m", subject)
}

// value is the value of a ConfigMap of the project; nil: there is none.
func (p *project) value(name string) any {
	p.T.Helper()
	return bench.Value(p.Get(bench.ConfigMaps, p.Namespace, name), "data", "value")
}

// replica is a daemon that runs until its test ends, or stop.
type replica struct {
	*Daemon
	t      *testing.T
	access *Access
	logged *text
	stop   func()
}

// text is a buffer for several goroutines.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (x *text) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.Write(p)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String()
}

// follow starts a daemon, as `syncer run` does.
func (p *project) follow(identity string, edit ...func(*target.Planner)) *replica {
	p.T.Helper()
	r := &replica{t: p.T, logged: &text{}}
	metrics := NewMetrics(time.Now)
	session, err := commands.Open(p.config, commands.Options{
		UserAgent: "syncer/test", Log: slog.New(slog.NewTextHandler(r.logged, nil)),
		Observe: commands.Observer{
			Requested: metrics.Requested, AskedRegistry: metrics.AskedRegistry, Rendered: metrics.Rendered, Panicked: metrics.Panicked,
			FetchFailed: func(err error) { r.FetchFailed(err) },
		},
	})
	if err != nil {
		p.T.Fatal(err)
	}
	r.access = NewAccess(session.Config, session.Clusters)
	session.Reconciler.ChecksImages, session.Reconciler.Rating.AuditLog = true, r.access.AuditLog
	r.Daemon = New(Parts{
		Config: session.Config, Source: session.Source, Clusters: session.Clusters, Planner: session.Planner, Reconciler: session.Reconciler,
		Metrics: metrics, Log: session.Reconciler.Log, Version: "test",
	}, Options{Identity: identity})
	session.Reconciler.Observe = r.Observe
	for _, change := range edit {
		change(session.Planner)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			p.T.Error(err)
		}
		if err := session.Close(); err != nil {
			p.T.Error(err)
		}
	})
	p.T.Cleanup(r.stop)
	return r
}

// until waits until something is so, which a new view may tell.
func (r *replica) until(what string, is func(*view.View) bool) {
	r.t.Helper()
	tooLate := time.After(maxWait)
	for {
		changed := r.Changed()
		if is(r.View()) {
			return
		}
		select {
		case <-changed:
		case <-time.After(50 * time.Millisecond): // for what no view tells
		case <-tooLate:
			r.t.Fatalf("not seen in time: %s\n%+v\n%s", what, r.View().Targets, r.logged)
		}
	}
}

// inProd is a target of the environment prod in a view; the zero Target: there is none.
func inProd(v *view.View, pipeline string) view.Target {
	if found := v.Target(pipeline, "prod"); found != nil {
		return *found
	}
	return view.Target{}
}

func prod(pipeline string) v1alpha1.Target {
	return v1alpha1.Target{Pipeline: pipeline, Environment: "prod"}
}
