// Command bench measures syncer with real parts: how long a rollout, a commit, a hand edit, a restart and the commands
// take, and what they cost the API server, the processor and the memory. It runs the syncer binary as users run it, and
// compares its times with those of a plain client that applies the same objects in the same run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type options struct {
	bin, syncer     string
	only            []string
	commits, edits  int
	change          string
	rest, interval  time.Duration
	rawRuns, rounds int
	profile         string
	keep            bool
	log             io.Writer
}

// selection is what the flags choose beside the options of a run.
type selection struct {
	pipelines, modes, only string
	write                  string
	requests, check        bool
	real, simulated, each  int
	oneFile                bool
}

func main() {
	var opts options
	var chosen selection
	flag.StringVar(&chosen.pipelines, "pipelines", "34", "how many pipelines, each in three environments; several numbers make several runs")
	flag.StringVar(&chosen.modes, "modes", "settled,progress", "settled: a stand-in operator completes each application; progress: nobody does")
	flag.StringVar(&chosen.only, "only", "", "the parts to measure: "+strings.Join(partNames(), ", ")+"; empty: all of them")
	flag.StringVar(&chosen.write, "write", "", "write the result to this file as well")
	flag.BoolVar(&chosen.requests, "requests", false, "print the requests by verb and resource")
	flag.BoolVar(&chosen.check, "check", false, "end with 1 where a figure is worse than its limit")
	flag.IntVar(&chosen.simulated, "simulated", 0, "measure many clusters instead: this many stand-ins that answer from memory, each an environment")
	flag.IntVar(&chosen.real, "real", 3, "with -simulated: how many clusters are real")
	flag.IntVar(&chosen.each, "each", 10, "with -simulated: how many targets each cluster has")
	flag.BoolVar(&chosen.oneFile, "one-file", false, "with -simulated: one kubeconfig has all clusters, and not each one of its own")
	flag.StringVar(&opts.bin, "bin", "bin", "folder with controlplane/ and registry/")
	flag.StringVar(&opts.syncer, "syncer", "bin/syncer", "the syncer to measure")
	flag.IntVar(&opts.commits, "commits", 30, "how many commits to one pipeline")
	flag.IntVar(&opts.edits, "edits", 30, "how many edits by hand of each sort")
	flag.StringVar(&opts.change, "change", "all", "what a commit to one pipeline changes: all (its four objects), config (the ConfigMap), spec (what the application runs)")
	flag.DurationVar(&opts.rest, "rest", time.Minute, "how long syncer is watched at rest")
	flag.DurationVar(&opts.interval, "interval", time.Minute, "source.interval of the configuration")
	flag.IntVar(&opts.rawRuns, "raw-runs", 3, "how often the plain client applies everything; the median counts")
	flag.IntVar(&opts.rounds, "rounds", 3, "how often each command runs; the median counts")
	flag.StringVar(&opts.profile, "profile", "", "folder for profiles of syncer in a rollout, in commits, in a restart and of its commands, for `go tool pprof`")
	flag.BoolVar(&opts.keep, "keep", false, "keep the folder with the logs")
	flag.Parse()
	opts.log = os.Stderr
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, opts, chosen)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// run measures each chosen size in each chosen mode, and prints one table of all.
func run(ctx context.Context, opts options, chosen selection) error {
	cases, err := chosen.cases()
	if err != nil {
		return err
	}
	if opts.only, err = chosen.parts(); err != nil {
		return err
	}
	for _, path := range []*string{&opts.bin, &opts.syncer} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if chosen.simulated > 0 {
		s := &scale{opts: opts, real: chosen.real, simulated: chosen.simulated, each: chosen.each, oneFile: chosen.oneFile}
		return s.run(ctx)
	}
	var all []*result
	var failed error
	for _, c := range cases {
		r := &result{name: c.name()}
		all = append(all, r)
		if failed = measure(ctx, opts, c, r); failed != nil {
			failed = fmt.Errorf("%s: %w", r.name, failed)
			break
		}
	}
	text := report(all, chosen.requests)
	fmt.Print(text)
	if failed != nil {
		return failed
	}
	if chosen.write != "" {
		if err := os.WriteFile(chosen.write, []byte(page(about(opts, all), text)), 0o644); err != nil {
			return err
		}
	}
	if chosen.check {
		return check(all)
	}
	return nil
}

// kase is one run: a size and a mode.
type kase struct {
	pipelines int
	settle    bool
}

func (c kase) targets() int { return c.pipelines * len(environments) }

func (c kase) name() string {
	mode := "in progress"
	if c.settle {
		mode = "settled"
	}
	return fmt.Sprintf("%d %s", c.targets(), mode)
}

func (s selection) cases() ([]kase, error) {
	var all []kase
	for _, text := range strings.Split(s.pipelines, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-pipelines %s: it takes positive numbers", s.pipelines)
		}
		for _, mode := range strings.Split(s.modes, ",") {
			if mode != "settled" && mode != "progress" {
				return nil, fmt.Errorf("-modes %s: the modes are settled and progress", s.modes)
			}
			all = append(all, kase{pipelines: n, settle: mode == "settled"})
		}
	}
	return all, nil
}

func (s selection) parts() ([]string, error) {
	if s.only == "" {
		return partNames(), nil
	}
	only := strings.Split(s.only, ",")
	for _, name := range only {
		if !slices.Contains(partNames(), name) {
			return nil, fmt.Errorf("-only %s: the parts are %s", name, strings.Join(partNames(), ", "))
		}
	}
	return only, nil
}

// measure runs the parts in a folder of their own, which it removes.
func measure(ctx context.Context, opts options, c kase, out *result) (err error) {
	dir, err := os.MkdirTemp("", "syncer-benchmark-")
	if err != nil {
		return err
	}
	if opts.keep {
		defer fmt.Fprintln(opts.log, "the logs are in", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	out.number("load average of the machine before the run", loadAverage())
	b := &bench{opts: opts, kase: c, dir: dir, result: out}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.setUp(ctx); err != nil {
		return err
	}
	for _, p := range parts {
		if !p.always && !slices.Contains(opts.only, p.name) {
			continue
		}
		began := time.Now()
		if err := p.measure(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Fprintf(opts.log, "%s: %s: %.1f s\n", out.name, p.name, time.Since(began).Seconds())
	}
	return nil
}
