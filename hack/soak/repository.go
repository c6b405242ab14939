package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// head is the commit of the branch from a time on.
type head struct {
	commit string
	model  model
	at     time.Time
}

// repository is the clone in which the soak commits. Only the soak pushes, so that it has the full history of the
// branch.
type repository struct {
	dir string

	mu      sync.Mutex
	models  map[string]model // by commit, those that were pushed away included
	heads   []head           // every place of the branch, the newest last
	commits []string         // of the present branch, the newest last
}

func (r *repository) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", r.dir}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return strings.TrimSpace(string(out)), nil
}

// begin makes the clone with a first commit, and pushes it.
func (r *repository) begin(ctx context.Context, url string) error {
	r.models = map[string]model{}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"config", "user.name", "Soak"},
		{"config", "user.email", "soak@example.com"},
		{"config", "gc.auto", "0"},
		{"remote", "add", "origin", url},
	} {
		if _, err := r.git(ctx, args...); err != nil {
			return err
		}
	}
	return r.commit(ctx, firstModel(), "First")
}

// commit writes a model, commits and pushes it.
func (r *repository) commit(ctx context.Context, m model, subject string) error {
	files, err := m.files()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(r.dir, "pipelines")); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(r.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			return err
		}
	}
	if _, err := r.git(ctx, "add", "--all"); err != nil {
		return err
	}
	if _, err := r.git(ctx, "commit", "--quiet", "--allow-empty", "-m", subject); err != nil {
		return err
	}
	hash, err := r.git(ctx, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.models[hash] = m
	r.commits = append(r.commits, hash)
	r.mu.Unlock()
	return r.push(ctx, hash)
}

// back moves the branch back by n commits and pushes it by force.
func (r *repository) back(ctx context.Context, n int) error {
	r.mu.Lock()
	n = min(n, len(r.commits)-1)
	r.commits = r.commits[:len(r.commits)-n]
	hash := r.commits[len(r.commits)-1]
	r.mu.Unlock()
	if _, err := r.git(ctx, "reset", "--quiet", "--hard", hash); err != nil {
		return err
	}
	return r.push(ctx, hash)
}

func (r *repository) push(ctx context.Context, hash string) error {
	// The soak notes the head before the push returns: syncer may have it by then.
	r.mu.Lock()
	r.heads = append(r.heads, head{hash, r.models[hash], time.Now()})
	r.mu.Unlock()
	_, err := r.git(ctx, "push", "--quiet", "--force", "origin", "HEAD:main")
	return err
}

// head is the present model of git.
func (r *repository) head() head {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heads[len(r.heads)-1]
}

// before is the model n commits before the branch's newest one.
func (r *repository) before(n int) model {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.models[r.commits[max(0, len(r.commits)-1-n)]]
}

// at is the model of a commit.
func (r *repository) at(commit string) (model, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.models[commit]
	return m, ok
}

// since returns every place of the branch from a time on. The first one is the place at that time.
func (r *repository) since(t time.Time) []head {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := len(r.heads) - 1
	for first > 0 && r.heads[first].at.After(t) {
		first--
	}
	return slices.Clone(r.heads[first:])
}
