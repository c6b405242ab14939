// Command demo runs syncer with real parts: a Kubernetes API server with its controllers, simulated nodes and a
// simulated Spark operator, a registry with the example images, and a git server with the example pipelines. It starts
// them, runs `syncer run` against them, and prints how to push a commit and watch its deployment. With -script it runs a
// story by itself and ends with 0 only if every step succeeded.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	script := flag.Bool("script", false, "play the story and end")
	dir := flag.String("dir", ".demo", "folder for everything that the demo writes; emptied first")
	bin := flag.String("bin", "bin", "folder with syncer, controlplane/ and registry/")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin, *dir, *script); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, dir string, script bool) (err error) {
	dir, err = emptied(dir)
	if err != nil {
		return err
	}
	stage, err := setUp(ctx, bin, dir)
	if stage != nil {
		defer func() { err = errors.Join(err, stage.close()) }()
	}
	if err != nil {
		return err
	}
	if script {
		return stage.play(ctx)
	}
	return stage.wait(ctx)
}

// marker marks a folder as one of the demo, so that a mistyped -dir empties no other folder.
const marker = ".syncer-demo"

func emptied(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, marker)); err != nil {
			return "", fmt.Errorf("%s is not empty and was not made by the demo; name another folder with -dir", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, marker), nil, 0o644)
}
