package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// await waits for records as long as the daemon lives.
func (s *scale) await(ctx context.Context, count int, is func(seen) bool, names ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("syncer does not come to it"))
	defer cancel()
	go func() { // until ctx ends
		select {
		case <-s.daemon.program.Ended():
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := s.records.await(ctx, count, is, names...); err != nil {
		return errors.Join(context.Cause(ctx), s.daemon.alive())
	}
	return nil
}

// note adds the requests of a part. A request that no stand-in knows ends the run: the figures would say nothing.
func (s *scale) note(ctx context.Context, part string, per float64) (counts, error) {
	all, unknown, err := s.clusters.asked(ctx)
	if err == nil && len(unknown) > 0 {
		err = fmt.Errorf("no stand-in knows an answer to %q", unknown)
	}
	if part != "" {
		s.result.requests(part, all, per)
	}
	return all, err
}

// held notes what the daemon holds now.
func (s *scale) held(ctx context.Context, when string) error {
	text, err := s.daemon.get(ctx, "/metrics")
	if err != nil {
		return err
	}
	now, err := used(s.daemon.pid)
	if err != nil {
		return err
	}
	s.result.megabytes(when+", RSS", float64(now.rss))
	s.result.megabytes(when+", RSS at its peak", float64(now.peak))
	s.result.megabytes(when+", Go heap in use", metric(text, "go_memstats_heap_inuse_bytes", ""))
	s.result.number(when+", goroutines", metric(text, "go_goroutines", ""))
	s.result.number(when+", open files", metric(text, "process_open_fds", ""))
	s.result.number(when+", connections to stand-ins", float64(s.clusters.standIns.Connections()))
	s.result.number(when+", watches at stand-ins", float64(s.clusters.standIns.Watches()))
	return nil
}

// first measures the first rollout.
func (s *scale) first(ctx context.Context) error {
	if _, err := s.note(ctx, "", 1); err != nil {
		return err
	}
	commit, err := s.work.git(ctx, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	began := time.Now()
	if err := s.daemon.start(ctx); err != nil {
		return err
	}
	if err := s.daemon.until(ctx, func() bool { _, err := s.daemon.get(ctx, "/readyz"); return err == nil }); err != nil {
		return err
	}
	s.result.seconds("first rollout, ready", time.Since(began))
	if err := s.await(ctx, s.targets(), func(r seen) bool { return r.commit == commit }); err != nil {
		return err
	}
	s.result.seconds("first rollout", time.Since(began))
	if err := s.await(ctx, s.targets(), func(r seen) bool { return r.ready }); err != nil {
		return err
	}
	s.result.seconds("first rollout, all targets ready", time.Since(began))
	now, err := used(s.daemon.pid)
	if err != nil {
		return err
	}
	s.result.cpu("first rollout, CPU", now.cpu)
	asked, err := s.note(ctx, "the first rollout", 1)
	if err != nil {
		return err
	}
	s.result.number("first rollout, requests a target", float64(asked.total())/float64(s.targets()))
	_, err = s.clusters.quiet(ctx, 3*time.Second, 30*time.Second)
	return err
}

// rest measures what syncer does while nothing changes.
func (s *scale) rest(ctx context.Context) error {
	before, err := used(s.daemon.pid)
	if err != nil {
		return err
	}
	if _, err := s.note(ctx, "", 1); err != nil {
		return err
	}
	began := time.Now()
	if err := sleep(ctx, s.opts.rest); err != nil {
		return err
	}
	minutes := time.Since(began).Minutes()
	asked, err := s.note(ctx, "at rest, a minute", minutes)
	if err != nil {
		return err
	}
	now, err := used(s.daemon.pid)
	if err != nil {
		return err
	}
	s.result.cpu("at rest, CPU a minute", time.Duration(float64(now.cpu-before.cpu)/minutes))
	s.result.number("at rest, requests a minute", float64(asked.total())/minutes)
	s.result.number("at rest, requests for Leases a minute", float64(asked.leases())/minutes)
	s.result.number("at rest, watches opened a minute", float64(asked.watches())/minutes)
	if err := s.held(ctx, "at rest"); err != nil {
		return err
	}
	return s.profiles(ctx, "rest", s.opts.rest/2)
}

// profiles writes profiles of the daemon, where the options ask for them.
func (s *scale) profiles(ctx context.Context, when string, cpu time.Duration) error {
	if s.opts.profile == "" {
		return nil
	}
	if err := os.MkdirAll(s.opts.profile, 0o755); err != nil {
		return err
	}
	var errs []error
	for name, path := range map[string]string{"heap": "heap", "goroutine": "goroutine", "cpu": fmt.Sprintf("profile?seconds=%d", int(cpu.Seconds()))} {
		content, err := s.daemon.get(ctx, "/debug/pprof/"+path)
		file := filepath.Join(s.opts.profile, fmt.Sprintf("scale-%d-%s-%s.pprof", s.targets(), when, name))
		errs = append(errs, err, os.WriteFile(file, []byte(content), 0o644))
	}
	return errors.Join(errs...)
}

// commit changes a pipeline and waits until the records of the environments show it.
func (s *scale) commit(ctx context.Context, i int, in []string) (time.Duration, error) {
	hash, err := s.work.commitTo(ctx, i)
	if err != nil {
		return 0, err
	}
	began, err := s.daemon.hook(ctx)
	if err != nil {
		return 0, err
	}
	var names []string
	for _, environment := range in {
		names = append(names, recordName(i, environment))
	}
	err = s.await(ctx, len(names), func(r seen) bool { return r.commit == hash }, names...)
	return time.Since(began), err
}

// commits measures commits to one pipeline.
func (s *scale) commits(ctx context.Context) error {
	var took, cpus []time.Duration
	sum := counts{}
	for n := range s.opts.commits {
		if _, err := s.note(ctx, "", 1); err != nil {
			return err
		}
		before, err := used(s.daemon.pid)
		if err != nil {
			return err
		}
		t, err := s.commit(ctx, n%s.pipelines(), s.places(n%s.pipelines()))
		if err != nil {
			return err
		}
		asked, err := s.clusters.quiet(ctx, commitSilence, commitLimit)
		if err != nil {
			return err
		}
		now, err := used(s.daemon.pid)
		if err != nil {
			return err
		}
		sum.add(asked)
		took, cpus = append(took, t), append(cpus, now.cpu-before.cpu)
	}
	per := float64(s.opts.commits)
	s.result.requests("a commit to one pipeline", sum, per)
	s.times("commit to one pipeline", took)
	s.result.cpu(commitCPU, mean(cpus))
	s.result.number(commitRequests, float64(sum.total())/per)
	return nil
}

// profile writes profiles of commits, which are not measured.
func (s *scale) profile(ctx context.Context) error {
	if s.opts.profile == "" {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- s.profiles(ctx, "commits", profileTime) }()
	for n := 0; ; n++ {
		if _, err := s.commit(ctx, n%s.pipelines(), s.places(n%s.pipelines())); err != nil {
			return err
		}
		select {
		case err := <-done:
			return err
		default:
		}
	}
}

func (s *scale) times(name string, took []time.Duration) {
	for _, p := range []int{50, 90, 100} {
		s.result.seconds(name+", "+percentileName(p), percentile(took, p))
	}
}

func (s *scale) sizes(ctx context.Context) error {
	return recordSizes(ctx, s.result, s.clusters.clients...)
}

// silentCluster is the stand-in that stops answering.
func (s *scale) silentCluster() string { return s.clusters.names[len(s.clusters.names)-1] }

// away reports whether a pipeline has a target in the silent cluster.
func (s *scale) away(i int) (others []string, away bool) {
	for _, environment := range s.places(i) {
		if environment == s.silentCluster() {
			away = true
			continue
		}
		others = append(others, environment)
	}
	return others, away
}

// silent measures commits while one cluster takes requests and does not answer: to pipelines of other clusters, and to one
// that has a target there.
func (s *scale) silent(ctx context.Context) error {
	end := s.clusters.standIns.Silence(s.silentCluster())
	defer end()
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	if err := s.commitsBeside(ctx, "one cluster silent"); err != nil {
		return err
	}
	end()
	for i := range s.pipelines() {
		if _, away := s.away(i); away { // it has a commit that did not arrive
			began := time.Now()
			commit, err := s.work.git(ctx, "log", "-1", "--format=%H", "--", "pipelines/"+pipeline(i))
			if err != nil {
				return err
			}
			err = s.await(ctx, 1, func(r seen) bool { return s.isNewer(ctx, r.commit, commit) }, recordName(i, s.silentCluster()))
			s.result.seconds("one cluster silent, then its commit is there after", time.Since(began))
			return err
		}
	}
	return nil
}

// isNewer reports whether a commit is another one, or comes after it.
func (s *scale) isNewer(ctx context.Context, commit, than string) bool {
	_, err := s.work.git(ctx, "merge-base", "--is-ancestor", than, commit)
	return commit != "" && err == nil
}

// commitsBeside measures commits to pipelines with and without a target in the silent cluster.
func (s *scale) commitsBeside(ctx context.Context, when string) error {
	var took, half []time.Duration
	for i := range s.pipelines() {
		others, away := s.away(i)
		if enough := len(took) >= s.opts.commits; away && len(half) > 0 || !away && enough {
			if enough && len(half) > 0 {
				break
			}
			continue
		}
		t, err := s.commit(ctx, i, others)
		if err != nil {
			return err
		}
		if away {
			half = append(half, t)
		} else {
			took = append(took, t)
		}
	}
	s.times(when+", commit to a pipeline of other clusters", took)
	s.times(when+", commit to a pipeline that has a target there, its other targets", half)
	return nil
}

// restart measures a start with nothing to change.
func (s *scale) restart(ctx context.Context) error {
	if _, err := s.clusters.quiet(ctx, 3*time.Second, 60*time.Second); err != nil {
		return err
	}
	if err := s.startAgain(ctx, "restart", s.targets()); err != nil {
		return err
	}
	return s.held(ctx, "restart")
}

// restartSilent measures a start while one cluster does not answer.
func (s *scale) restartSilent(ctx context.Context) error {
	end := s.clusters.standIns.Silence(s.silentCluster())
	defer end()
	if err := s.startAgain(ctx, "restart, one cluster silent", s.targets()-s.each-1); err != nil {
		return err
	}
	return s.commitsBeside(ctx, "restart, one cluster silent")
}

func (s *scale) startAgain(ctx context.Context, name string, targets int) error {
	if err := s.daemon.stop(); err != nil {
		return err
	}
	if _, err := s.note(ctx, "", 1); err != nil {
		return err
	}
	began := time.Now()
	if err := s.daemon.start(ctx); err != nil {
		return err
	}
	if err := s.daemon.until(ctx, func() bool { _, err := s.daemon.get(ctx, "/readyz"); return err == nil }); err != nil {
		return err
	}
	s.result.seconds(name+", ready", time.Since(began))
	profiled := make(chan error, 1)
	go func() { profiled <- s.profiles(ctx, strings.ReplaceAll(name, ", ", "-"), profileTime) }()
	defer func() { <-profiled }() // what it says is not measured
	if err := s.daemon.until(ctx, func() bool {
		text, err := s.daemon.get(ctx, "/metrics")
		return err == nil && metric(text, "syncer_targets", `state="Unknown"`) >= float64(targets) || time.Since(began) > patience
	}); err != nil {
		return err
	}
	s.result.seconds(name+", all targets compared", time.Since(began))
	now, err := used(s.daemon.pid)
	if err != nil {
		return err
	}
	s.result.cpu(name+", CPU", now.cpu)
	_, err = s.note(ctx, name, 1)
	return err
}
