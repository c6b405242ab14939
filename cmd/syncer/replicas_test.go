package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// takeover is the time in which an operator may expect a second replica to take over after a sudden death of the first
// one.
const takeover = 15 * time.Second

// replica is one `syncer run` among several.
type replica struct {
	name   string
	cmd    *exec.Cmd
	exited chan struct{}
}

// startReplica starts a daemon under a name of its own, with its log in NAME.log.
func startReplica(ts *testscript.TestScript, name string) *replica {
	path, err := exec.LookPath("syncer")
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), string(filepath.ListSeparator)) {
		if file := filepath.Join(dir, "syncer"); err != nil {
			if info, statErr := os.Stat(file); statErr == nil && !info.IsDir() {
				path, err = file, nil
			}
		}
	}
	ts.Check(err)
	log, err := os.Create(ts.MkAbs(name + ".log"))
	ts.Check(err)
	cmd := exec.Command(path, "run", "--config", ts.MkAbs("syncer.yaml"), "--cache-dir", ts.MkAbs("cache-"+name))
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, ts.MkAbs(".")
	for _, key := range []string{"PATH", "HOME", "KUBECONFIG", "DOCKER_CONFIG", "TMPDIR", "GORACE"} {
		cmd.Env = append(cmd.Env, key+"="+ts.Getenv(key))
	}
	cmd.Env = append(cmd.Env, "POD_NAME="+name)
	ts.Check(cmd.Start())
	r := &replica{name: name, cmd: cmd, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // it is killed
		_ = log.Close()
		close(r.exited)
	}()
	return r
}

func (r *replica) end(signal syscall.Signal) {
	_ = r.cmd.Process.Signal(signal) // it may have ended
	<-r.exited
}

// leader is the name of the replica that holds the Lease; "" where none does.
func leader(ts *testscript.TestScript) string {
	if err := ts.Exec("kubectl", "-n", ts.Getenv("NS")+"-syncer", "get", "lease", "syncer-"+ts.Getenv("NS"), "-o", "jsonpath={.spec.holderIdentity}"); err != nil {
		return ""
	}
	name, _, _ := strings.Cut(ts.ReadFile("stdout"), "_")
	return name
}

// until polls for something that a busy machine may take its time for.
func until(ts *testscript.TestScript, what string, met func() bool) time.Duration {
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		if time.Since(began) > awaitTimeout {
			ts.Fatalf("after %s: %s", awaitTimeout, what)
		}
		<-tick.C
	}
	return time.Since(began)
}

// succession KILLS runs two replicas and kills the one that leads in the middle of each rollout. Each commit has every
// pipeline run a Job of its own: all of them have to run, and once.
func (p *parts) succession(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: succession KILLS")
	}
	kills, err := strconv.Atoi(args[0])
	ts.Check(err)
	replicas := map[string]*replica{}
	start := func() {
		name := fmt.Sprintf("replica-%d", len(replicas))
		replicas[name] = startReplica(ts, name)
	}
	defer func() {
		for _, r := range replicas {
			r.end(syscall.SIGKILL)
		}
	}()
	start()
	start()
	until(ts, "nobody leads", func() bool { return leader(ts) != "" })
	var took []time.Duration
	for n := range kills {
		commit := pushRuns(ts, n)
		until(ts, "the rollout has not begun", func() bool {
			return atCommit(ts, commit, func(r v1alpha1.PipelineSync) string { return r.Spec.Source.Commit }) > 0
		})
		first := leader(ts)
		replicas[first].end(syscall.SIGKILL)
		start()
		took = append(took, until(ts, "nobody took over from "+first, func() bool { now := leader(ts); return now != first && now != "" }))
		until(ts, "the rollout does not end", func() bool {
			return atCommit(ts, commit, func(r v1alpha1.PipelineSync) string { return r.Status.LastAppliedCommit }) == targetsOfRuns
		})
	}
	ts.Logf("the takeovers took %s", took)
	if kills > 0 && slices.Min(took) > takeover { // on a busy machine one of them takes longer
		ts.Fatalf("the takeovers took %s, and %s is promised", took, takeover)
	}
	// A replica that gets SIGTERM gives its Lease back, so no other replica waits until the Lease runs out. One quick
	// hand-over proves it: on a busy machine others take longer.
	var handed []time.Duration
	for len(handed) == 0 || slices.Min(handed) > takeover/3 {
		if len(handed) == 5 {
			ts.Fatalf("replicas that were told to stop kept their Lease for %s", handed)
		}
		if len(handed) > 0 {
			start()
		}
		first := leader(ts)
		replicas[first].end(syscall.SIGTERM)
		handed = append(handed, until(ts, "nobody took over from "+first, func() bool { now := leader(ts); return now != first && now != "" }))
	}
	ts.Logf("the Lease was handed over within %s", handed)
	p.ranOnce(ts, kills)
}

// sharing runs two replicas that share four shards of pipelines, kills one of them, and starts a third.
func (p *parts) sharing(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: sharing")
	}
	replicas := map[string]*replica{}
	for _, name := range []string{"replica-0", "replica-1"} {
		replicas[name] = startReplica(ts, name)
	}
	defer func() {
		for _, r := range replicas {
			r.end(syscall.SIGKILL)
		}
	}()
	evenly := func(names ...string) func() bool {
		return func() bool {
			held := map[string]int{}
			for _, name := range holders(ts) {
				held[name]++
			}
			for _, name := range names {
				if held[name] != 4/len(names) {
					return false
				}
			}
			return true
		}
	}
	carriedOut := func(n int) {
		commit := pushRuns(ts, n)
		until(ts, "the commit is not everywhere", func() bool {
			return atCommit(ts, commit, func(r v1alpha1.PipelineSync) string { return r.Status.LastAppliedCommit }) == targetsOfRuns
		})
	}
	until(ts, "the shards are not spread over two replicas", evenly("replica-0", "replica-1"))
	carriedOut(0)
	replicas["replica-0"].end(syscall.SIGKILL)
	// The election is that of succession; on a busy machine it takes longer than is promised.
	if took := until(ts, "the shards of the dead replica did not move", evenly("replica-1")); took > 4*takeover {
		ts.Fatalf("the shards of a dead replica moved after %s", took)
	}
	carriedOut(1)
	replicas["replica-2"] = startReplica(ts, "replica-2")
	until(ts, "the new replica got no share", evenly("replica-1", "replica-2"))
	carriedOut(2)
	p.ranOnce(ts, 3)
}

// holders are the replicas that hold the shards' Leases.
func holders(ts *testscript.TestScript) []string {
	ts.Check(ts.Exec("kubectl", "-n", ts.Getenv("NS")+"-syncer", "get", "lease", "-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.holderIdentity}{"\n"}{end}`))
	var out []string
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		lease, holder, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name, _, ok := strings.Cut(holder, "_"); ok && strings.HasSuffix(lease, "-of-4") {
			out = append(out, name)
		}
	}
	return out
}

// targetsOfRuns is how many targets pushRuns changes.
const targetsOfRuns = 6

// pushRuns pushes a commit by which each of three pipelines runs a new Job in two environments, and returns its hash.
func pushRuns(ts *testscript.TestScript, n int) string {
	for _, pipeline := range []string{"ingest", "clean", "load"} {
		file := ts.MkAbs(filepath.Join("repo", "pipelines", pipeline, "base", "job.yaml"))
		ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
		job := fmt.Sprintf(`apiVersion: batch/v1
kind: Job
metadata: {name: %s-%d}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: %s/app:v1}]
`, pipeline, n, ts.Getenv("IMAGES"))
		ts.Check(os.WriteFile(file, []byte(job), 0o644))
	}
	repo := ts.MkAbs("repo")
	for _, args := range [][]string{{"add", "-A"}, {"commit", "-q", "-m", fmt.Sprintf("Run %d", n)}, {"push", "-q"}, {"rev-parse", "HEAD"}} {
		ts.Check(ts.Exec("git", append([]string{"-C", repo}, args...)...))
	}
	return strings.TrimSpace(ts.ReadFile("stdout"))
}

// atCommit counts the records that name a commit.
func atCommit(ts *testscript.TestScript, commit string, of func(v1alpha1.PipelineSync) string) int {
	var list struct{ Items []v1alpha1.PipelineSync }
	ts.Check(ts.Exec("kubectl", "-n", ts.Getenv("NS")+"-syncer", "get", "psync", "-o", "json"))
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &list))
	n := 0
	for _, record := range list.Items {
		if of(record) == commit {
			n++
		}
	}
	return n
}

// ranOnce compares the API server's own log with the expected runs.
func (p *parts) ranOnce(ts *testscript.TestScript, commits int) {
	created := map[string]int{}
	until(ts, "the API server has not logged every Job", func() bool {
		events, err := lab.ReadAudit(p.audit)
		ts.Check(err)
		clear(created)
		for _, e := range events {
			if e.Object.Resource == "jobs" && e.Object.Subresource == "" && e.Response.Code == 201 && !strings.Contains(e.RequestURI, "dryRun") && strings.HasPrefix(e.Object.Namespace, ts.Getenv("NS")+"-") {
				created[e.Object.Namespace+"/"+e.Object.Name]++
			}
		}
		return len(created) >= commits*targetsOfRuns
	})
	for job, times := range created {
		if times != 1 {
			ts.Fatalf("%s was made %d times", job, times)
		}
	}
	if len(created) != commits*targetsOfRuns {
		ts.Fatalf("%d Jobs ran, want %d: %v", len(created), commits*targetsOfRuns, created)
	}
}

// silence VARIABLE starts a server that takes connections and never says a word, until the script ends.
func silence(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: silence VARIABLE")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		var kept []net.Conn
		for {
			conn, err := listener.Accept()
			if err != nil {
				break
			}
			kept = append(kept, conn)
		}
		for _, conn := range kept {
			_ = conn.Close()
		}
	}()
	ts.Defer(func() {
		_ = listener.Close()
		<-taken
	})
	ts.Setenv(args[0], listener.Addr().String())
}

// soon DURATION PATTERN COMMAND... is await with a promise: the output matches within a time.
func soon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: soon DURATION PATTERN COMMAND...")
	}
	within, err := time.ParseDuration(args[0])
	ts.Check(err)
	began := time.Now()
	await(ts, false, args[1:])
	if took := time.Since(began); took > within {
		ts.Fatalf("it took %s, and %s is promised", took, within)
	}
}
