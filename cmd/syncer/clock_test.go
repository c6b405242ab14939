package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/registry"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/daemon"
)

// longJump is more than a pin is kept without being used.
const longJump = 400 * 24 * time.Hour

// A wall clock that is 400 days ahead for the time of a commit deletes neither records nor pins, says of nothing that it
// is stuck, and leaves no date behind: in a daemon that was there before, and in a command that begins then.
func TestAClockThatJumps(t *testing.T) {
	for _, daemon := range []bool{true, false} {
		t.Run(map[bool]string{true: "daemon", false: "sync"}[daemon], func(t *testing.T) {
			j := newJump(t)
			if daemon {
				j.follow(t)
			}
			j.write(t, "stays", "web:1", "1")
			j.write(t, "goes", "web:1", "1")
			j.commit(t, "Both")
			j.await(t, "stays", "1")
			digest := j.pins(t, "goes")["web:1"]
			j.write(t, "stays", "web:2", "2") // web:1 is not in use any more
			if err := os.RemoveAll(filepath.Join(j.dir, "git", "pipelines", "goes")); err != nil {
				t.Fatal(err)
			}
			j.commit(t, "One leaves")
			j.await(t, "stays", "2")
			j.awaitRecord(t, "goes", func(record *unstructured.Unstructured) bool {
				_, removed, _ := unstructured.NestedString(record.Object, "status", "removedAt")
				return removed
			})

			j.ahead.Store(int64(longJump))
			j.write(t, "stays", "web:2", "3")
			j.commit(t, "Three")
			j.await(t, "stays", "3")
			if err := j.alive(); err != nil {
				t.Errorf("it says that it is stuck: %v", err)
			}
			// The records of targets that left git are gone through at the end of a pass.
			j.write(t, "stays", "web:2", "4")
			j.commit(t, "Four")
			j.await(t, "stays", "4")
			j.ahead.Store(0)

			if got := j.pins(t, "stays"); got["web:1"] != digest {
				t.Errorf("the pin that is not used is lost: %v", got)
			}
			j.noDateAhead(t, "stays")
			j.push(t, "web:1", "other bytes")
			j.write(t, "goes", "web:1", "5")
			j.write(t, "stays", "web:2", "5")
			j.commit(t, "It is back")
			j.await(t, "stays", "5")
			j.await(t, "goes", "5")
			if got := j.pins(t, "goes")["web:1"]; got != digest {
				t.Errorf("after the revert web:1 is %s; it was %s", got, digest)
			}
		})
	}
}

// jump is a repository, a registry and a cluster, for a syncer whose wall clock a test sets.
type jump struct {
	dir, host string
	*deployment
	ahead  atomic.Int64 // of the wall clock, a time.Duration
	runner *service
	once   bool // no daemon runs
}

func newJump(t *testing.T) *jump {
	t.Helper()
	images := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(images.Close)
	j := &jump{dir: t.TempDir(), host: strings.TrimPrefix(images.URL, "http://"), once: true}
	plane, err := lab.StartControlPlane(t.Context(), lab.ControlPlaneOptions{Bin: filepath.Join(bin(t), "controlplane"), Dir: filepath.Join(j.dir, "cluster")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Errorf("stopping the control plane: %v", err)
		}
	})
	j.deployment = &deployment{client: connect(t, plane)}
	j.push(t, "web:1", "one")
	j.push(t, "web:2", "two")
	j.git(t, "init", "--quiet", "--initial-branch", "main")
	file := filepath.Join(j.dir, "syncer.yaml")
	text := fmt.Sprintf(`apiVersion: syncer.dev/v1alpha1
kind: Config
source: {url: %q, branch: main, interval: 1s}
environments:
- name: prod
  cluster: {kubeconfig: %q}
  images: {keepPins: {deployments: 0, for: 2160h}}
  prune: {maxPercent: 100}
`, filepath.Join(j.dir, "git"), plane.Kubeconfig)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if code := run([]string{"--config", file, "install"}, nil, io.Discard, os.Stderr); code != exitSame {
		t.Fatal("syncer install failed")
	}
	return j
}

// now is the wall clock, which has a monotonic reading as the process's own.
func (j *jump) now() time.Time { return time.Now().Add(time.Duration(j.ahead.Load())) }

func (j *jump) open(t *testing.T) *service {
	t.Helper()
	runner, err := newService(filepath.Join(j.dir, "syncer.yaml"), commands.Options{UserAgent: "syncer/test", Now: j.now}, daemon.Options{Identity: "jump"})
	if err != nil {
		t.Fatal(err)
	}
	return runner
}

func (j *jump) follow(t *testing.T) {
	t.Helper()
	j.once, j.runner = false, j.open(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- j.runner.daemon.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := j.runner.close(); err != nil {
			t.Error(err)
		}
	})
}

func (j *jump) alive() error {
	if j.once {
		return nil
	}
	return j.runner.daemon.Alive()
}

func (j *jump) push(t *testing.T, reference, seed string) {
	t.Helper()
	image, err := crane.Image(map[string][]byte{"seed": []byte(seed)})
	if err == nil {
		err = crane.Push(image, j.host+"/"+reference, crane.Insecure)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (j *jump) write(t *testing.T, name, image, version string) {
	t.Helper()
	folder := filepath.Join(j.dir, "git", "pipelines", name, "overlays", "prod")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"kustomization.yaml": "namespace: default\nresources: [job.yaml]\n",
		"job.yaml": fmt.Sprintf(`apiVersion: batch/v1
kind: CronJob
metadata: {name: %s, annotations: {version: %q}}
spec:
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: %q}]}}}}
`, name, version, j.host+"/"+image),
	} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (j *jump) git(t *testing.T, args ...string) string {
	t.Helper()
	repository := filepath.Join(j.dir, "git")
	if err := os.MkdirAll(repository, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Env = repository, append(os.Environ(), "HOME="+j.dir, "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v: %s", args[0], err, out)
	}
	return string(out)
}

// commit commits the written files, and syncs them where no daemon runs.
func (j *jump) commit(t *testing.T, subject string) {
	t.Helper()
	j.git(t, "add", "-A")
	j.git(t, "-c", "user.name=Ada Data", "-c", "user.email=ada@example.com", "commit", "--quiet", "-m", subject)
	if !j.once {
		return // the daemon sees it
	}
	session, err := commands.Open(filepath.Join(j.dir, "syncer.yaml"), commands.Options{UserAgent: "syncer/test", Now: j.now})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	pass, err := session.Sync(t.Context(), commands.SyncOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range pass.Targets {
		if target.Error != "" {
			t.Fatalf("%s: %s", target.Pipeline, target.Error)
		}
	}
}

// await waits until a version of a pipeline is live, and its record says so.
func (j *jump) await(t *testing.T, name, version string) {
	t.Helper()
	var commit string
	jobs := j.client.Resource(resource("batch", "v1", "cronjobs")).Namespace("default")
	j.awaitRecord(t, name, func(record *unstructured.Unstructured) bool {
		job, err := jobs.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || job.GetAnnotations()["version"] != version {
			return false
		}
		wanted, _, _ := unstructured.NestedString(record.Object, "spec", "source", "commit")
		commit, _, _ = unstructured.NestedString(record.Object, "status", "lastAppliedCommit")
		return commit == wanted
	})
}

// pins are the digests of a record, by repository and tag.
func (j *jump) pins(t *testing.T, name string) map[string]string {
	t.Helper()
	out := map[string]string{}
	j.awaitRecord(t, name, func(record *unstructured.Unstructured) bool {
		images, _, _ := unstructured.NestedSlice(record.Object, "spec", "images")
		for _, image := range images {
			pin := image.(map[string]any)
			out[strings.TrimPrefix(pin["reference"].(string), j.host+"/")] = pin["digest"].(string)
		}
		return true
	})
	return out
}

// noDateAhead fails where a record has a date of the jump.
func (j *jump) noDateAhead(t *testing.T, name string) {
	t.Helper()
	year := time.Now().Add(longJump).UTC().Format("2006-")
	j.awaitRecord(t, name, func(record *unstructured.Unstructured) bool {
		text, err := record.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.Index(string(text), `"`+year); i >= 0 {
			t.Errorf("the record has a date that is yet to come: %s", text[i:i+30])
		}
		return true
	})
}
