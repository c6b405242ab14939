package main

import (
	"context"
	"net/http"
	"time"

	"github.com/syncerdev/syncer/internal/lab/fault"
)

// kills ends syncers n times at random points, with SIGKILL or by a SIGSTOP that outlasts a Lease, while people go on
// committing, and judges the result.
func (s *stage) kills(ctx context.Context, n int) error {
	s.judge.disturb(true)
	defer s.judge.disturb(false)
	for done := 0; done < n; {
		round := s.killSync
		rounds := 4
		switch s.random.IntN(5) {
		case 0, 1:
			round = s.killDaemon
		case 2:
			round, rounds = s.killReplica, 2
		}
		for ; rounds > 0 && done < n; rounds-- {
			if s.journal.count() >= tooMany {
				return nil
			}
			killed, err := round(ctx)
			if err != nil {
				return err
			}
			if killed {
				done++
				s.journal.say("kill %d of %d done", done, n)
			}
		}
		if err := s.stopSyncers(); err != nil {
			return err
		}
	}
	return nil
}

// killSync kills a one-shot sync.
func (s *stage) killSync(ctx context.Context) (bool, error) {
	if err := s.acts(ctx, 1+s.random.IntN(2)); err != nil {
		return false, err
	}
	y, err := s.start("a", false, "sync")
	if err != nil {
		return false, err
	}
	killed, err := s.killSomewhere(ctx, y, 1500*time.Millisecond)
	if err != nil {
		return false, err
	}
	if err := s.actAfterKill(ctx); err != nil || s.random.IntN(4) == 0 {
		return killed, err // the next sync finds this state
	}
	return killed, s.settleOrReset(ctx, "a killed sync", func(ctx context.Context) error { return s.syncOnce(ctx, "a") })
}

// killDaemon kills a daemon without an election, and starts it again.
func (s *stage) killDaemon(ctx context.Context) (bool, error) {
	y, err := s.runningDaemon("a", false)
	if err != nil {
		return false, err
	}
	if err := s.acts(ctx, 1+s.random.IntN(2)); err != nil {
		return false, err
	}
	killed, err := s.killSomewhere(ctx, y, 3*time.Second)
	if err != nil {
		return false, err
	}
	if !killed {
		s.journal.say("kill daemon a")
		if err := y.kill(); err != nil {
			return false, err
		}
	}
	if err := s.actAfterKill(ctx); err != nil {
		return true, err
	}
	if _, err := s.daemon("a", false); err != nil || s.random.IntN(4) == 0 {
		return true, err
	}
	return true, s.settleOrReset(ctx, "a killed daemon", nil)
}

// killReplica kills or pauses one of two daemons, mostly the leader.
func (s *stage) killReplica(ctx context.Context) (bool, error) {
	for _, name := range names {
		if _, err := s.runningDaemon(name, true); err != nil {
			return false, err
		}
	}
	if err := s.acts(ctx, 1+s.random.IntN(2)); err != nil {
		return false, err
	}
	y := s.running[names[s.random.IntN(len(names))]]
	if s.random.IntN(3) == 0 {
		return true, s.pauseReplica(ctx, y)
	}
	if killed, err := s.killSomewhere(ctx, y, 3*time.Second); err != nil || !killed {
		s.journal.say("kill daemon %s", y.name)
		if err := y.kill(); err != nil {
			return false, err
		}
	}
	if err := s.actAfterKill(ctx); err != nil {
		return true, err
	}
	if err := pause(ctx, time.Duration(s.random.IntN(5000))*time.Millisecond); err != nil {
		return true, err
	}
	if _, err := s.daemon(y.name, true); err != nil {
		return true, err
	}
	return true, s.settleOrReset(ctx, "a killed replica", nil)
}

// pauseReplica stops a daemon for longer than a Lease, right after it has received an object where it works.
func (s *stage) pauseReplica(ctx context.Context, y *syncer) error {
	paused := make(chan error, 1)
	n := 1 + s.random.IntN(12)
	end := s.api[y.name].Inject(fault.Only(isObject, fault.Nth(n, fault.Answered, func() {
		s.journal.say("pause daemon %s at request %d", y.name, n)
		paused <- y.program.Pause()
	})))
	defer end()
	select {
	case err := <-paused:
		if err != nil {
			return err
		}
	case <-time.After(4 * time.Second):
		s.journal.say("pause daemon %s, which has nothing to do", y.name)
		if err := y.program.Pause(); err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	for range 1 + s.random.IntN(2) {
		if err := s.acts(ctx, 1); err != nil {
			return err
		}
		if err := pause(ctx, 8*time.Second); err != nil {
			return err
		}
	}
	s.journal.say("resume daemon %s", y.name)
	if err := y.program.Resume(); err != nil {
		return err
	}
	return s.settleOrReset(ctx, "a paused replica", nil)
}

// killSomewhere kills a syncer at a random point: half of the time at one of its requests, else at a random time. It
// returns false when the syncer ended by itself, or did nothing.
func (s *stage) killSomewhere(ctx context.Context, y *syncer, most time.Duration) (bool, error) {
	if s.random.IntN(2) == 0 {
		after := time.Duration(s.random.Int64N(int64(most)))
		select {
		case <-y.program.Ended():
			y.expect()
			return false, nil
		case <-time.After(after):
		case <-ctx.Done():
			return false, ctx.Err()
		}
		s.journal.say("kill %s after %s", y.name, after.Round(time.Millisecond))
		return true, y.kill()
	}
	n, when := 1+s.random.IntN(15), fault.Moment(s.random.IntN(3))
	killed := make(chan error, 1)
	end := s.api[y.name].Inject(fault.Only(isWrite, fault.Nth(n, when, func() {
		s.journal.say("kill %s at write %d, %s", y.name, n, when)
		killed <- y.kill()
	})))
	defer end()
	select {
	case err := <-killed:
		return true, err
	case <-y.program.Ended():
		select {
		case err := <-killed:
			return true, err
		default:
			y.expect()
			return false, nil
		}
	case <-time.After(5 * time.Second):
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// actAfterKill makes people act as they do when a deployment seems to be broken: most often they revert.
func (s *stage) actAfterKill(ctx context.Context) error {
	switch s.random.IntN(6) {
	case 0, 1:
		return s.revert(ctx)
	case 2:
		return s.forceBack(ctx)
	case 3:
		return s.act(ctx)
	}
	return nil
}

func (s *stage) acts(ctx context.Context, n int) error {
	for range n {
		if err := s.act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// runningDaemon returns the daemon of that name. It starts the daemon unless it runs.
func (s *stage) runningDaemon(name string, elects bool) (*syncer, error) {
	s.mu.Lock()
	y := s.running[name]
	s.mu.Unlock()
	if y != nil && !y.ended() {
		return y, nil
	}
	return s.daemon(name, elects)
}

// settleOrReset waits until the cluster equals git. If it does not, everything is deleted and begins again, so that one
// violation is counted once.
func (s *stage) settleOrReset(ctx context.Context, what string, step func(context.Context) error) error {
	equal, err := s.judge.settle(ctx, time.Now(), what, step)
	if err != nil || equal {
		return err
	}
	return s.reset(ctx)
}

// reset deletes the objects that syncer has put into the cluster, so that syncer begins again.
func (s *stage) reset(ctx context.Context) error {
	if len(s.judge.wrong()) == 0 {
		return nil
	}
	s.journal.say("begin anew")
	s.mu.Lock()
	was := map[string]*syncer{}
	for name, y := range s.running {
		if !y.ended() {
			was[name] = y
		}
	}
	s.mu.Unlock()
	if err := s.stopSyncers(); err != nil {
		return err
	}
	s.judge.mu.Lock()
	s.judge.paused = true
	s.judge.mu.Unlock()
	for range 20 {
		if err := s.cluster.empty(ctx); err != nil {
			return err
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
	s.judge.begin()
	// The next round starts the daemons again.
	return ctx.Err()
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func isWrite(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead && r.URL.Query().Get("dryRun") == "" && !isLease(r)
}

// isObject reports whether a request is about objects and records, and not about Leases and the server itself.
func isObject(r *http.Request) bool {
	return !isLease(r) && r.URL.Query().Get("watch") == "" && pathHas(r, "/namespaces/")
}

func isLease(r *http.Request) bool { return pathHas(r, "/leases") }
