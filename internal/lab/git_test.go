package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestGitHTTP(t *testing.T) {
	ctx, dir := start(t), t.TempDir()
	server, err := StartGitHTTP(ctx, GitOptions{Dir: dir, Username: "syncer", Password: "p@ss:word/1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopped(t, dir, server.Stop) })
	if err := server.Create(ctx, "team/pipelines"); err != nil {
		t.Fatal(err)
	}

	work := t.TempDir()
	git(t, work, nil, "clone", "--quiet", server.CloneURL("team/pipelines"), ".")
	commit(t, work, "one")
	git(t, work, nil, "push", "--quiet", "origin", "HEAD:main")
	if head := git(t, "", nil, "ls-remote", server.CloneURL("team/pipelines"), "refs/heads/main"); !strings.HasPrefix(head, git(t, work, nil, "rev-parse", "HEAD")) {
		t.Errorf("main is at %s", head)
	}
	if got := server.Requests(); got.Pushes != 1 || got.Refs < 2 || got.Refused == 0 {
		t.Errorf("counted %+v", got) // git asks without credentials first
	}

	for why, url := range map[string]string{
		"no credentials": server.URL("team/pipelines"),
		"wrong password": strings.Replace(server.CloneURL("team/pipelines"), "word", "wort", 1),
	} {
		if out, err := gitCommand("", nil, "ls-remote", url).CombinedOutput(); err == nil {
			t.Errorf("%s: let in: %s", why, out)
		}
	}

	if err := server.Down(true); err != nil {
		t.Fatal(err)
	}
	if out, err := gitCommand("", nil, "ls-remote", server.CloneURL("team/pipelines")).CombinedOutput(); err == nil {
		t.Errorf("answered while down: %s", out)
	}
	if err := server.Down(false); err != nil {
		t.Fatal(err)
	}
	git(t, "", nil, "ls-remote", server.CloneURL("team/pipelines"))
}

func TestGitHTTPS(t *testing.T) {
	ctx, dir := start(t), t.TempDir()
	server, err := StartGitHTTP(ctx, GitOptions{Dir: dir, TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopped(t, dir, server.Stop) })
	if err := server.Create(ctx, "pipelines"); err != nil {
		t.Fatal(err)
	}
	git(t, "", nil, "-c", "http.sslCAInfo="+server.CAFile, "ls-remote", server.CloneURL("pipelines"))
	if out, err := gitCommand("", nil, "ls-remote", server.CloneURL("pipelines")).CombinedOutput(); err == nil {
		t.Errorf("trusted without its authority: %s", out)
	}
}

func TestGitSSH(t *testing.T) {
	ctx, dir := start(t), t.TempDir()
	server, err := StartGitSSH(ctx, SSHOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopped(t, dir, server.Stop) })
	if err := server.Create(ctx, "pipelines"); err != nil {
		t.Fatal(err)
	}

	env := []string{"GIT_SSH_COMMAND=" + server.Command()}
	work := t.TempDir()
	git(t, work, env, "clone", "--quiet", server.URL("pipelines"), ".")
	commit(t, work, "one")
	git(t, work, env, "push", "--quiet", "origin", "HEAD:main")

	strangers := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(strangers, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	env = []string{"GIT_SSH_COMMAND=" + strings.Replace(server.Command(), server.KnownHosts, strangers, 1)}
	out, err := gitCommand("", env, "ls-remote", server.URL("pipelines")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Host key verification failed") {
		t.Errorf("unknown host key: %v: %s", err, out)
	}

	// A client that says nothing holds a connection open; Stop ends it.
	waiting := exec.Command("sh", "-c", server.Command()+" "+sshTarget(server)+" git-upload-pack "+server.Path("pipelines"))
	stdin, err := waiting.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "git-upload-pack to run", func() (bool, error) {
		return strings.Contains(strings.Join(commandsNaming(t, server.Path("pipelines")), "\n"), "upload-pack"), nil
	})
	if err := server.Stop(); err != nil {
		t.Error(err)
	}
	if err := waiting.Wait(); err == nil {
		t.Error("the connection outlived the server")
	}
	eventually(t, ctx, "git-upload-pack to end", func() (bool, error) {
		return len(commandsNaming(t, server.Path("pipelines"))) == 0, nil
	})
}

func sshTarget(server *GitSSH) string {
	return strings.TrimSuffix(server.URL("pipelines"), server.Path("pipelines"))
}

func TestMissingDebianPackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := StartGitHTTP(start(t), GitOptions{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "package git") {
		t.Errorf("the error does not name the package: %v", err)
	}
	if _, err := debianProgram("sshd", "openssh-server"); err == nil || !strings.Contains(err.Error(), "package openssh-server") {
		t.Errorf("the error does not name the package: %v", err)
	}
}

// gitCommand is git without the settings of the user who runs the test.
func gitCommand(dir string, env []string, args ...string) *exec.Cmd {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(gitEnvironment(), "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

func git(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	out, err := gitCommand(dir, env, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func commit(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	git(t, dir, nil, "add", ".")
	git(t, dir, nil, "commit", "--quiet", "-m", text)
}
