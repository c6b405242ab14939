package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Repositories is a folder of bare repositories, which a GitHTTP and a GitSSH may serve at the same time.
type Repositories struct {
	Dir string
}

// Create makes an empty bare repository with the branch main. Like the big forges it lets a client fetch any commit by
// its hash, and accepts pushes over HTTP.
func (r Repositories) Create(ctx context.Context, repo string) error {
	path := r.Path(repo)
	for _, args := range [][]string{
		{"init", "--quiet", "--bare", "--initial-branch=main", path},
		{"-C", path, "config", "http.receivepack", "true"},
		{"-C", path, "config", "uploadpack.allowAnySHA1InWant", "true"},
	} {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Env = gitEnvironment()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("creating repository %s: git %s: %w: %s", repo, args[0], err, out)
		}
	}
	return nil
}

// Path is the folder of a repository, for git commands that read or change it directly.
func (r Repositories) Path(repo string) string { return filepath.Join(r.Dir, repo+".git") }

// gitEnvironment is this program's environment, without the settings of the user or the machine for git.
func gitEnvironment() []string {
	env := []string{"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull}
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "GIT_") {
			env = append(env, setting)
		}
	}
	return env
}

// Test is what the lab needs of a test that it may end.
type Test interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Git runs git in a folder, as the committer and author "merger", and returns its output. A failure ends the test.
func Git(t Test, dir, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	cmd.Env = append(gitEnvironment(),
		"GIT_COMMITTER_NAME=merger", "GIT_COMMITTER_EMAIL=merger@example.com", "GIT_AUTHOR_NAME=merger", "GIT_AUTHOR_EMAIL=merger@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s\n%s", strings.Join(args, " "), err, out, stdin)
	}
	return string(out)
}

// debianProgram finds a program of a Debian package.
func debianProgram(name, pkg string, folders ...string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.Abs(path)
	}
	for _, folder := range folders {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		} else if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s is not installed: it is part of the Debian package %s", name, pkg)
}
