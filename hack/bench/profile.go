package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// profileTime is how long the processor is profiled.
const profileTime = 20 * time.Second

// profiles reports whether this run writes profiles.
func (b *bench) profiles() bool {
	return b.opts.profile != "" && slices.Contains(b.opts.only, "profile")
}

// profileStart profiles the daemon from the moment when its server answers. The returned function waits for the profiles.
func (b *bench) profileStart(ctx context.Context, name string) func() error {
	if !b.profiles() {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() {
		done <- b.daemon.until(ctx, func() bool { _, err := b.daemon.get(ctx, "/healthz"); return err == nil })
		done <- b.fetchCPU(ctx, name)
	}()
	return func() error { return errors.Join(<-done, <-done, b.fetchHeap(ctx, name)) }
}

// profile writes profiles of commits, which are not measured, and of the commands of a user.
func profile(b *bench, ctx context.Context) error {
	if !b.profiles() {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- b.fetchCPU(ctx, "commits") }()
	for n := 0; ; n++ {
		if _, err := b.commit(ctx, n%b.kase.pipelines); err != nil {
			return err
		}
		select {
		case err := <-done:
			return errors.Join(err, b.fetchHeap(ctx, "commits"), b.profileCommands(ctx))
		default:
		}
	}
}

// profileCommands profiles each command once, after a run that fills its cache.
func (b *bench) profileCommands(ctx context.Context) error {
	for _, args := range [][]string{
		{"status"}, {"diff"}, {"drift"}, {"drift", "--full"},
		{"status", pipeline(0)}, {"diff", pipeline(0)}, {"drift", pipeline(0)}, {"render", pipeline(0), "--env", "prod"},
	} {
		folder := filepath.Join(b.opts.profile, b.kase.file()+"-command-"+strings.ReplaceAll(strings.Join(args, "-"), "---", "-"))
		args = append(args, "--config", filepath.Join(b.dir, "commands.yaml"), "--cache-dir", filepath.Join(b.dir, "command-cache"))
		for _, more := range [][]string{nil, {"--profile", folder}} {
			if _, _, err := timed(b.daemon.command(ctx, append(args, more...)...)); err != nil {
				return fmt.Errorf("syncer %s: %w", args[0], err)
			}
		}
	}
	return nil
}

func (b *bench) fetchCPU(ctx context.Context, name string) error {
	return b.fetch(ctx, "profile?seconds="+fmt.Sprint(profileTime.Seconds()), name+"-cpu")
}

func (b *bench) fetchHeap(ctx context.Context, name string) error {
	return errors.Join(b.fetch(ctx, "heap", name+"-heap"), b.fetch(ctx, "allocs", name+"-allocs"), b.fetch(ctx, "goroutine", name+"-goroutine"))
}

// fetch writes a profile of the daemon to a file.
func (b *bench) fetch(ctx context.Context, path, name string) error {
	if err := os.MkdirAll(b.opts.profile, 0o755); err != nil {
		return err
	}
	content, err := b.daemon.get(ctx, "/debug/pprof/"+path)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.opts.profile, fmt.Sprintf("%s-%s.pprof", b.kase.file(), name)), []byte(content), 0o644)
}

// file is the name of a case in names of files.
func (c kase) file() string { return strings.ReplaceAll(c.name(), " ", "-") }
