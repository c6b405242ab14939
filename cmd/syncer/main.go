// Command syncer deploys data pipelines from a git repository to Kubernetes and reports drift. Each command has a file
// of its own; pkg/commands and pkg/daemon do the work.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/renderers"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == renderers.WorkerCommand {
		renderers.Serve(os.Stdin, os.Stdout) // started by a pool of this program, never by a user
		return
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Exit codes of every command.
const (
	exitSame      = 0 // the same, or done
	exitDifferent = 1 // diff and drift found differences
	exitFailed    = 2 // failed, or wrong usage
)

// run is the whole command, and the only place that turns an error into an exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// client-go logs here the errors that it also returns, and repeats them at each retry.
	klog.SetLogger(logr.Discard())
	// After the first signal the default handling is back: a second signal ends a command that takes too long to end
	// itself.
	context.AfterFunc(ctx, stop)

	var differs bool
	root := newRootCommand(&differs)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintf(stderr, "syncer: error: %s\n", manifest.Visible(line))
		}
		return exitFailed
	}
	if differs {
		return exitDifferent
	}
	return exitSame
}
