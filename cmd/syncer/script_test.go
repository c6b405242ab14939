package main

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// The scripts below testdata run the real command: those in offline without any server, those in cluster against a real
// API server, registry and git server, all with passwords.
func TestMain(m *testing.M) {
	// Scripts wait more than they work. -parallel on the command line has the last word.
	if err := flag.Set("test.parallel", strconv.Itoa(runtime.GOMAXPROCS(0)+1)); err != nil {
		panic(err) // the flag is go's own
	}
	testscript.Main(m, map[string]func(){"syncer": main})
}

func TestOffline(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/offline",
		Setup:               common,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"expand": expand},
		RequireExplicitExec: true, RequireUniqueNames: true,
	})
}

const (
	gitUser, gitPassword           = "data-team", "git-canary-b3f1"
	registryUser, registryPassword = "puller", "registry-canary-77ac"
)

// parts are the servers that all cluster scripts share. Each script has its own repository, namespaces and images.
type parts struct {
	plane    *lab.ControlPlane
	registry *lab.Registry
	git      *lab.GitHTTP
	ssh      *lab.GitSSH
	bin      string
	audit    string // the API server's audit log

	manifests string // the folder config of this repository
}

func TestCluster(t *testing.T) {
	p := startParts(t)
	testscript.Run(t, p.params(t, "testdata/cluster"))
}

// params are those of scripts that need the parts.
func (p *parts) params(t *testing.T, dir string) testscript.Params {
	return testscript.Params{
		Dir:   dir,
		Setup: func(env *testscript.Env) error { return p.setup(t.Context(), env) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"expand": expand,
			"image":  p.image,
			"untag":  p.untag,
			"lose":   p.lose,
			"await":  await,
			"finds":  finds,
			"user":   p.user,
			"port":   port,
			"hook":   hook,

			"asked":      p.asked,
			"clean":      clean,
			"costs":      costs,
			"hundred":    hundred,
			"rests":      p.rests,
			"sharing":    p.sharing,
			"silence":    silence,
			"soon":       soon,
			"succession": p.succession,
			"traffic":    p.traffic,
		},
		RequireExplicitExec: true, RequireUniqueNames: true,
	}
}

// bin is the folder that `make parts` fills.
func bin(t testing.TB) string {
	dir := os.Getenv("SYNCER_BIN")
	if dir == "" {
		dir = filepath.Join("..", "..", "bin")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func startParts(t *testing.T) *parts {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	manifests, err := filepath.Abs(filepath.Join("..", "..", "config"))
	if err != nil {
		t.Fatal(err)
	}
	p := &parts{bin: bin(t), audit: filepath.Join(dir, "audit.log"), manifests: manifests}
	stop := func(part string, stop func() error) {
		t.Cleanup(func() {
			if err := stop(); err != nil {
				t.Errorf("stopping %s: %v", part, err)
			}
		})
	}
	p.plane, err = lab.StartControlPlane(ctx, lab.ControlPlaneOptions{
		Bin: filepath.Join(p.bin, "controlplane"), Dir: filepath.Join(dir, "cluster"), Controllers: true, Nodes: 1, Spark: true,
		AuditLog: p.audit,
	})
	if err != nil {
		t.Fatal(err)
	}
	stop("the control plane", p.plane.Stop)
	p.registry, err = lab.StartRegistry(ctx, lab.RegistryOptions{
		Bin: filepath.Join(p.bin, "registry"), Dir: filepath.Join(dir, "registry"), Username: registryUser, Password: registryPassword,
	})
	if err != nil {
		t.Fatal(err)
	}
	stop("the registry", p.registry.Stop)
	repositories := filepath.Join(dir, "git")
	p.git, err = lab.StartGitHTTP(ctx, lab.GitOptions{Dir: repositories, Username: gitUser, Password: gitPassword})
	if err != nil {
		t.Fatal(err)
	}
	stop("git over http", p.git.Stop)
	p.ssh, err = lab.StartGitSSH(ctx, lab.SSHOptions{Dir: repositories})
	if err != nil {
		t.Fatal(err)
	}
	stop("git over ssh", p.ssh.Stop)
	return p
}

// common prepares what every script needs.
func common(env *testscript.Env) error {
	env.Setenv("GORACE", strings.TrimSpace(raceExit+" "+os.Getenv("GORACE")))
	return gitIdentity(env)
}

// raceExit has a command that is built with the race detector end at once. By default it sleeps for a second then, and
// scripts run more than five hundred commands.
const raceExit = "atexit_sleep_ms=0"

// gitIdentity makes git independent of the machine's configuration.
func gitIdentity(env *testscript.Env) error {
	for key, value := range map[string]string{
		"HOME":                env.WorkDir,
		"XDG_CACHE_HOME":      filepath.Join(env.WorkDir, ".cache"),
		"GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "Ada Data", "GIT_AUTHOR_EMAIL": "ada@example.com",
		"GIT_COMMITTER_NAME": "Ada Data", "GIT_COMMITTER_EMAIL": "ada@example.com",
	} {
		env.Setenv(key, value)
	}
	return os.WriteFile(filepath.Join(env.WorkDir, ".gitconfig"), []byte("[init]\ndefaultBranch = main\n[advice]\ndetachedHead = false\n"), 0o644)
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// setup gives each script its own repository at $GIT_URL, cloned to repo, and a configuration syncer.yaml for three
// environments in the namespaces $NS-dev, $NS-staging and $NS-prod.
func (p *parts) setup(ctx context.Context, env *testscript.Env) error {
	if err := common(env); err != nil {
		return err
	}
	// testscript names the folder script-NAME.
	name := strings.Trim(notInName.ReplaceAllString(strings.TrimPrefix(filepath.Base(env.WorkDir), "script-"), "-"), "-")
	if err := p.git.Create(ctx, name); err != nil {
		return err
	}
	for key, value := range map[string]string{
		"NS": name, "REPO": name, "KUBECONFIG": p.plane.Kubeconfig, "DOCKER_CONFIG": p.registry.DockerConfig,
		"GIT_URL": p.git.URL(name), "GIT_CLONE_URL": p.git.CloneURL(name), "GIT_SSH_URL": p.ssh.URL(name),
		"SSH_KEY": p.ssh.KeyFile, "SSH_KNOWN_HOSTS": p.ssh.KnownHosts,
		"AUDIT_LOG": p.audit, "SYNCER_KILLS": cmp.Or(os.Getenv("SYNCER_KILLS"), "2"), "CONFIG": p.manifests,
		"IMAGES": p.registry.Host + "/" + name,
		"PATH":   filepath.Join(p.bin, "controlplane") + string(filepath.ListSeparator) + env.Getenv("PATH"),
	} {
		env.Setenv(key, value)
	}
	if err := os.WriteFile(filepath.Join(env.WorkDir, "git-password"), []byte(gitPassword+"\n"), 0o600); err != nil {
		return err
	}
	config := fmt.Sprintf(`apiVersion: syncer.dev/v1alpha1
kind: Config
name: %[1]s
namespace: %[1]s-syncer
source:
  url: %[2]s
  branch: main
  interval: 1s
  auth: {username: %[3]s, passwordFile: git-password}
environments:
- name: dev
- name: staging
- name: prod
`, name, p.git.URL(name), gitUser)
	// A script may bring a configuration of its own.
	file := filepath.Join(env.WorkDir, "syncer.yaml")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			return err
		}
	}
	// The script's files are there already, so a clone would refuse the folder.
	work := filepath.Join(env.WorkDir, "repo")
	for _, args := range [][]string{
		{"init", "--quiet", work},
		{"-C", work, "remote", "add", "origin", p.git.CloneURL(name)},
		{"-C", work, "config", "push.default", "current"},
	} {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Env = env.Vars
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

// finds TARGET TOTAL [KIND OBJECT PATH MANAGER] waits until the record of a target has that many findings, and the one that
// is named among them. @FILE as the path reads it from a file, such as stdout.
func finds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 && len(args) != 6 {
		ts.Fatalf("usage: finds TARGET TOTAL [KIND OBJECT PATH MANAGER]")
	}
	total, err := strconv.Atoi(args[1])
	ts.Check(err)
	if len(args) == 6 && strings.HasPrefix(args[4], "@") {
		args[4] = strings.TrimSpace(ts.ReadFile(args[4][1:]))
	}
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		record := &v1alpha1.PipelineSync{}
		ts.Check(ts.Exec("kubectl", "-n", ts.Getenv("NS")+"-syncer", "get", "psync", args[0], "-o", "json"))
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), record))
		summary := record.Status.Drift
		if summary == nil {
			summary = &v1alpha1.DriftSummary{}
		}
		var have strings.Builder
		found := len(args) == 2
		for _, f := range summary.Findings {
			fmt.Fprintln(&have, f.Kind, f.Object.Kind+"/"+f.Object.Name, f.Path, cmp.Or(f.Manager, "-"), f.FirstSeen)
			if len(args) == 6 && f.Kind == args[2] && f.Object.Kind+"/"+f.Object.Name == args[3] && f.Path == args[4] && cmp.Or(f.Manager, "-") == args[5] {
				found = true
			}
		}
		if found && summary.Total == total {
			ts.Logf("found within %s", time.Since(began).Round(time.Millisecond))
			return
		}
		if time.Since(began) > awaitTimeout {
			ts.Fatalf("after %s there are %d findings, not %d with that one:\n%s", awaitTimeout, summary.Total, total, have.String())
		}
		<-tick.C
	}
}

// expand FILE... replaces ${NAME} by the script's variable in files.
func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: expand FILE...")
	}
	for _, arg := range args {
		file := ts.MkAbs(arg)
		ts.Check(filepath.WalkDir(file, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text := os.Expand(ts.ReadFile(path), ts.Getenv)
			return os.WriteFile(path, []byte(text), 0o644)
		}))
	}
}

// image NAME:TAG SEED [VARIABLE] pushes an image and stores its digest.
func (p *parts) image(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: image NAME:TAG SEED [VARIABLE]")
	}
	digest, err := p.registry.Push(context.Background(), ts.Getenv("NS")+"/"+args[0], args[1])
	ts.Check(err)
	if len(args) == 3 {
		ts.Setenv(args[2], digest)
	}
}

// untag NAME:TAG deletes a tag's manifest.
func (p *parts) untag(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: untag NAME:TAG")
	}
	ts.Check(p.registry.DeleteTag(context.Background(), ts.Getenv("NS")+"/"+args[0]))
}

// lose NAME:TAG deletes an image, so that its digest is gone too.
func (p *parts) lose(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lose NAME:TAG")
	}
	ts.Check(p.registry.DeleteImage(context.Background(), ts.Getenv("NS")+"/"+args[0]))
}

// user NAME VARIABLE makes a cluster user without rights and stores the path of its kubeconfig.
func (p *parts) user(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: user NAME VARIABLE")
	}
	kubeconfig, err := p.plane.AddUser(ts.Getenv("NS") + "-" + args[0])
	ts.Check(err)
	ts.Setenv(args[1], kubeconfig)
}

// port VARIABLE stores a port of the loopback address that stays free until the script's daemon listens at it.
func port(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: port VARIABLE")
	}
	number, err := lab.FreePort()
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(number))
}

// hook URL SECRET posts a webhook as GitHub does. With ! it must be refused.
func hook(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: hook URL SECRET")
	}
	const body = `{"ref":"refs/heads/main"}`
	mac := hmac.New(sha256.New, []byte(args[1]))
	mac.Write([]byte(body))
	request, err := http.NewRequest(http.MethodPost, args[0], strings.NewReader(body))
	ts.Check(err)
	request.Header.Set("X-Hub-Signature-256", fmt.Sprintf("sha256=%x", mac.Sum(nil)))
	answer, err := http.DefaultClient.Do(request)
	ts.Check(err)
	ts.Check(answer.Body.Close())
	if want := map[bool]int{false: http.StatusAccepted, true: http.StatusForbidden}[neg]; answer.StatusCode != want {
		ts.Fatalf("it answers %s", answer.Status)
	}
}

// awaitTimeout bounds the waits of a script, also on a busy machine.
const awaitTimeout = 5 * time.Minute

// await PATTERN COMMAND... runs a command until its output matches. With ! it runs it until it does not.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: await PATTERN COMMAND...")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	deadline := time.Now().Add(awaitTimeout)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		_ = ts.Exec(args[1], args[2:]...) // the output decides; a command may fail until then
		out := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if pattern.MatchString(out) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("after %s the output of %s still is:\n%s", awaitTimeout, strings.Join(args[1:], " "), out)
		}
		<-tick.C
	}
}
