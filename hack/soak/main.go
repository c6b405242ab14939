// Command soak tests syncer with real parts for a long time. It kills syncer and injects faults into everything around
// it, and judges from outside whether syncer kept its invariants, which are in docs/reliability.md. It ends with 0 when
// all of them held and with 1 when one did not, or when the result is not known.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// tooMany violations end the soak early.
const tooMany = 30

type options struct {
	dir, bin, syncer string
	kills            int
	minutes          float64
	seed             uint64
}

func main() {
	var opts options
	flag.IntVar(&opts.kills, "kills", 5, "how often syncer is killed")
	flag.Float64Var(&opts.minutes, "minutes", 1, "how long faults are injected after that")
	flag.Uint64Var(&opts.seed, "seed", 0, "repeats what another soak did, as far as time allows; 0: a random one")
	flag.StringVar(&opts.dir, "dir", ".soak", "folder for everything that the soak writes; emptied first")
	flag.StringVar(&opts.bin, "bin", "bin", "folder with controlplane/ and registry/")
	flag.StringVar(&opts.syncer, "syncer", "bin/syncer", "the syncer to try")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, opts); err != nil {
		fmt.Fprintf(os.Stderr, "soak: %v\n", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, opts options) (err error) {
	if opts.seed == 0 {
		opts.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	dir, err := emptied(opts.dir)
	if err != nil {
		return err
	}
	journal, err := openJournal(dir, os.Stdout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.close()) }()
	s := &stage{
		dir: dir, journal: journal, running: map[string]*syncer{},
		random: rand.New(&source{drawn: rand.NewPCG(opts.seed, opts.seed)}),
	}
	if s.bin, err = filepath.Abs(opts.bin); err != nil {
		return err
	}
	if s.syncer, err = filepath.Abs(opts.syncer); err != nil {
		return err
	}
	journal.say("seed %d: %d kills, %g minutes of faults", opts.seed, opts.kills, opts.minutes)
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.setUp(ctx); err != nil {
		return err
	}
	if err := s.kills(ctx, opts.kills); err != nil {
		return err
	}
	if err := s.faults(ctx, time.Duration(opts.minutes*float64(time.Minute))); err != nil {
		return err
	}
	if err := s.stopSyncers(); err != nil {
		return err
	}
	s.judge.wg.Wait()
	return journal.verdict(opts.seed)
}

// source makes random draws safe for a fault while people act.
type source struct {
	mu    sync.Mutex
	drawn *rand.PCG
}

// Uint64 draws a number.
func (s *source) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drawn.Uint64()
}

// marker marks a folder as one of the soak, so that a mistyped -dir empties no other folder.
const marker = ".syncer-soak"

func emptied(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, marker)); err != nil {
			return "", fmt.Errorf("%s is not empty and was not made by a soak; name another folder with -dir", dir)
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
