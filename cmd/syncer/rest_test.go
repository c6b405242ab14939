package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/daemon"
)

// A daemon asks the API server nothing while nothing changes. BenchmarkAtRest says so of 10,000 objects.
func TestAtRest(t *testing.T) {
	d := deploy(t, 5, 100)
	d.asksNothing(t, 10*time.Second)
	t.Logf("%d bytes of heap for each of %d objects", d.heap/uint64(d.objects), d.objects)
	// It was no sleep: a change by hand wakes it.
	d.edit(t, 0, "hand")
	d.awaitFindings(t, "team-0", 1)
	if len(d.asked(t)) == 0 {
		t.Error("the audit log does not show its requests")
	}
}

// BenchmarkAtRest measures the cost of 10,000 objects in 20 targets while nothing changes: requests, and memory.
func BenchmarkAtRest(b *testing.B) {
	d := deploy(b, 20, 500)
	for b.Loop() {
		d.asksNothing(b, 30*time.Second)
	}
	b.ReportMetric(0, "requests") // else it had failed
	b.ReportMetric(float64(d.heap)/float64(d.objects), "heap-B/object")
	b.ReportMetric(d.took.Seconds(), "s-to-deploy")
}

// BenchmarkNoticing measures the time from a change by hand to its finding in the record.
func BenchmarkNoticing(b *testing.B) {
	d := deploy(b, 5, 100)
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		team := len(took) % d.targets
		d.edit(b, team*d.each, fmt.Sprintf("hand-%d", len(took)))
		d.awaitFindings(b, fmt.Sprintf("team-%d", team), len(took)/d.targets+1)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	for _, percent := range []int{50, 95} {
		b.ReportMetric(float64(took[(len(took)-1)*percent/100].Milliseconds()), fmt.Sprintf("ms-p%d", percent))
	}
}

// deployment is a daemon that has deployed many ConfigMaps to a real API server and is at rest.
type deployment struct {
	targets, each, objects int
	client                 dynamic.Interface
	audit                  string
	heap                   uint64        // bytes that the daemon has added to the heap of the process
	took                   time.Duration // to deploy everything
}

const restNamespace = "rest"

func deploy(tb testing.TB, targets, each int) *deployment {
	tb.Helper()
	dir := tb.TempDir()
	d := &deployment{targets: targets, each: each, objects: targets * each, audit: filepath.Join(dir, "audit.log")}
	plane, err := lab.StartControlPlane(tb.Context(), lab.ControlPlaneOptions{
		Bin: filepath.Join(bin(tb), "controlplane"), Dir: filepath.Join(dir, "cluster"), AuditLog: d.audit,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			tb.Errorf("stopping the control plane: %v", err)
		}
	})
	d.client = connect(tb, plane)
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": restNamespace}}}
	if _, err := d.client.Resource(resource("", "v1", "namespaces")).Create(tb.Context(), namespace, metav1.CreateOptions{}); err != nil {
		tb.Fatal(err)
	}
	file := filepath.Join(dir, "syncer.yaml")
	text := fmt.Sprintf(`apiVersion: syncer.dev/v1alpha1
kind: Config
leaderElection: false
source: {url: %q, branch: main, interval: 1s}
environments:
- name: prod
  cluster: {kubeconfig: %q}
`, repository(tb, filepath.Join(dir, "git"), targets, each), plane.Kubeconfig)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	var stderr bytes.Buffer
	if code := run([]string{"--config", file, "install"}, nil, io.Discard, &stderr); code != exitSame {
		tb.Fatalf("syncer install: %s", stderr.String())
	}
	before, began := heap(), time.Now()
	d.follow(tb, file, filepath.Join(dir, "cache"))
	for i := range targets {
		d.awaitRecord(tb, fmt.Sprintf("team-%d", i), func(record *unstructured.Unstructured) bool {
			commit, _, _ := unstructured.NestedString(record.Object, "status", "lastAppliedCommit")
			return commit != ""
		})
	}
	d.took = time.Since(began)
	d.settle(tb)
	d.heap = heap() - before
	return d
}

// connect is a person's connection to a cluster.
func connect(tb testing.TB, plane *lab.ControlPlane) dynamic.Interface {
	tb.Helper()
	config := plane.Config()
	config.QPS, config.UserAgent = -1, "somebody"
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		tb.Fatal(err)
	}
	return client
}

// follow runs the daemon until the test has ended.
func (d *deployment) follow(tb testing.TB, file, cache string) {
	tb.Helper()
	runner, err := newService(file, commands.Options{CacheDir: cache, UserAgent: "syncer/test"}, daemon.Options{Identity: "rest"})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- runner.daemon.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
		if err := runner.close(); err != nil {
			tb.Error(err)
		}
	})
}

// repository makes one with pipelines team-0 and on, each of that many ConfigMaps, and gives its path.
func repository(tb testing.TB, dir string, pipelines, each int) string {
	tb.Helper()
	write := func(file, text string) {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	for i := range pipelines {
		overlay := filepath.Join(dir, "pipelines", fmt.Sprintf("team-%d", i), "overlays", "prod")
		var all strings.Builder
		for n := range each {
			fmt.Fprintf(&all, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings-%d, labels: {team: team-%d}}\ndata: {size: \"%d\", mode: fast, path: s3a://lake/raw/%d}\n", i*each+n, i, n, n)
		}
		write(filepath.Join(overlay, "kustomization.yaml"), "namespace: "+restNamespace+"\nresources: [all.yaml]\n")
		write(filepath.Join(overlay, "all.yaml"), all.String())
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch", "main"}, {"add", "-A"},
		{"-c", "user.name=Ada Data", "-c", "user.email=ada@example.com", "commit", "--quiet", "-m", "All"},
	} {
		cmd := exec.CommandContext(tb.Context(), "git", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			tb.Fatalf("git %s: %v: %s", args[0], err, out)
		}
	}
	return dir
}

// asked lists the daemon's requests to the API server so far; a continued watch does not count.
func (d *deployment) asked(tb testing.TB) []lab.AuditEvent {
	tb.Helper()
	events, err := lab.ReadAudit(d.audit)
	if err != nil {
		tb.Fatal(err)
	}
	return slices.DeleteFunc(events, func(e lab.AuditEvent) bool { return e.UserAgent != "syncer/test" || e.Verb == "watch" })
}

// settle waits until nothing was asked for restTime.
func (d *deployment) settle(tb testing.TB) {
	tb.Helper()
	began, last, asked := time.Now(), time.Now(), -1
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for time.Since(last) < restTime {
		<-tick.C
		if now := len(d.asked(tb)); now != asked {
			asked, last = now, time.Now()
		}
		if time.Since(began) > awaitTimeout {
			tb.Fatalf("it does not come to rest after %d requests", asked)
		}
	}
}

// asksNothing fails where the daemon asks the API server anything within a time, in which it polls git each second.
func (d *deployment) asksNothing(tb testing.TB, span time.Duration) {
	tb.Helper()
	before := len(d.asked(tb))
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < span; {
		<-tick.C
		if news := d.asked(tb)[before:]; len(news) > 0 {
			tb.Fatalf("it made %d requests, such as %+v", len(news), news[0])
		}
	}
}

// edit adds a key to an object.
func (d *deployment) edit(tb testing.TB, object int, manager string) {
	tb.Helper()
	patch := fmt.Sprintf(`{"data":{%q:"by hand"}}`, manager)
	_, err := d.client.Resource(resource("", "v1", "configmaps")).Namespace(restNamespace).Patch(tb.Context(), fmt.Sprintf("settings-%d", object%d.objects), types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager})
	if err != nil {
		tb.Fatal(err)
	}
}

func (d *deployment) awaitFindings(tb testing.TB, name string, total int) {
	tb.Helper()
	d.awaitRecord(tb, name, func(record *unstructured.Unstructured) bool {
		got, _, _ := unstructured.NestedInt64(record.Object, "status", "drift", "total")
		return got == int64(total)
	})
}

// deployTimeout bounds the deployment of 10,000 objects on a busy machine.
const deployTimeout = 20 * time.Minute

// awaitRecord looks at a pipeline's record until it is as wanted.
func (d *deployment) awaitRecord(tb testing.TB, name string, as func(*unstructured.Unstructured) bool) {
	tb.Helper()
	records := d.client.Resource(resource("syncer.dev", "v1alpha1", "pipelinesyncs")).Namespace("syncer-system")
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < deployTimeout; <-tick.C {
		record, err := records.Get(tb.Context(), name+".prod", metav1.GetOptions{})
		if err == nil && as(record) {
			return
		}
	}
	tb.Fatalf("the record of %s never came to be as it should", name)
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
