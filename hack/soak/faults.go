package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/syncerdev/syncer/internal/lab/fault"
)

// trouble is one way in which the systems around syncer fail. inflict starts it; it ends with ctx, or, where now is
// true, at once.
type trouble struct {
	what    string
	now     bool
	inflict func(s *stage, ctx context.Context) error
}

var troubles = []trouble{
	{"the API server is slow", false, func(s *stage, ctx context.Context) error {
		return s.onAPI(ctx, fault.Only(notWatch, fault.Delay(200*time.Millisecond, 2*time.Second)))
	}},
	{"the API server throttles: half of the requests get 429, Retry-After 1", false, func(s *stage, ctx context.Context) error {
		return s.onAPI(ctx, fault.Some(s.random.Uint64(), 0.5, fault.Answer(http.StatusTooManyRequests, time.Second)))
	}},
	{"the API server throttles writes: 429, Retry-After 2", false, func(s *stage, ctx context.Context) error {
		return s.onAPI(ctx, fault.Only(isWrite, fault.Some(s.random.Uint64(), 0.7, fault.Answer(http.StatusTooManyRequests, 2*time.Second))))
	}},
	{"watches are refused: 429, Retry-After 900", false, func(s *stage, ctx context.Context) error {
		end, err := s.onEachAPI(fault.Only(isWatch, fault.Answer(http.StatusTooManyRequests, 15*time.Minute)))
		if err != nil {
			return err
		}
		defer end()
		for _, name := range names { // open connections as well
			if err := s.api[name].Refuse(true); err != nil {
				return err
			}
			if err := s.api[name].Refuse(false); err != nil {
				return err
			}
		}
		return wait(ctx)
	}},
	{"everything is refused: 429, Retry-After 900", false, func(s *stage, ctx context.Context) error {
		return s.onAPI(ctx, fault.Answer(http.StatusTooManyRequests, 15*time.Minute))
	}},
	{"the API server answers 503", false, func(s *stage, ctx context.Context) error {
		return s.onAPI(ctx, fault.Answer(http.StatusServiceUnavailable, 0))
	}},
	{"the API server answers a third of the requests 500", false, func(s *stage, ctx context.Context) error {
		return s.onAPI(ctx, fault.Some(s.random.Uint64(), 0.3, fault.Answer(http.StatusInternalServerError, 0)))
	}},
	{"the status of records cannot be written: 503", false, func(s *stage, ctx context.Context) error {
		return s.onAPI(ctx, fault.Only(isStatus, fault.Answer(http.StatusServiceUnavailable, 0)))
	}},
	{"connections to the API server go half-open", true, func(s *stage, _ context.Context) error {
		for _, name := range names {
			s.api[name].Forget()
		}
		return nil
	}},
	{"the API server is silent", false, func(s *stage, ctx context.Context) error {
		return s.onAPI(ctx, fault.Hold(ctx))
	}},
	{"the API server refuses connections", false, func(s *stage, ctx context.Context) error {
		for _, name := range names {
			if err := s.api[name].Refuse(true); err != nil {
				return err
			}
		}
		err := wait(ctx)
		for _, name := range names {
			if err := s.api[name].Refuse(false); err != nil {
				return err
			}
		}
		return err
	}},
	{"answers of the API server are lost: one of three writes", false, func(s *stage, ctx context.Context) error {
		return s.onAPI(ctx, fault.Only(isWrite, fault.Some(s.random.Uint64(), 0.35, fault.LoseAnswer())))
	}},
	{"answers of the API server about records are lost", false, func(s *stage, ctx context.Context) error {
		return s.onAPI(ctx, fault.Only(func(r *http.Request) bool { return isWrite(r) && pathHas(r, "/pipelinesyncs/") }, fault.LoseAnswer()))
	}},
	{"one of three requests to the API server is dropped", false, func(s *stage, ctx context.Context) error {
		return s.onAPI(ctx, fault.Some(s.random.Uint64(), 0.35, fault.Drop()))
	}},
	{"the API server trickles", false, func(s *stage, ctx context.Context) error {
		return s.onAPI(ctx, fault.Some(s.random.Uint64(), 0.3, fault.Trickle(ctx, 200, 500*time.Millisecond)))
	}},
	{"one syncer's writes come late", false, func(s *stage, ctx context.Context) error {
		end := s.api["a"].Inject(fault.Only(isWrite, fault.Some(s.random.Uint64(), 0.5, fault.Delay(time.Second, 6*time.Second))))
		defer end()
		return wait(ctx)
	}},
	{"one syncer's writes get 429, Retry-After 1", false, func(s *stage, ctx context.Context) error {
		end := s.api["a"].Inject(fault.Only(isWrite, fault.Some(s.random.Uint64(), 0.5, fault.Answer(http.StatusTooManyRequests, time.Second))))
		defer end()
		return wait(ctx)
	}},
	{"git goes silent in the middle of an answer", false, func(s *stage, ctx context.Context) error {
		return s.onGit(ctx, fault.Silence(ctx, 30+s.random.IntN(400)))
	}},
	{"git does not answer", false, func(s *stage, ctx context.Context) error { return s.onGit(ctx, fault.Hold(ctx)) }},
	{"git answers 503", false, func(s *stage, ctx context.Context) error {
		return s.onGit(ctx, fault.Answer(http.StatusServiceUnavailable, 0))
	}},
	{"git trickles", false, func(s *stage, ctx context.Context) error {
		return s.onGit(ctx, fault.Trickle(ctx, 16, time.Second))
	}},
	{"connections to git go half-open", true, func(s *stage, _ context.Context) error { s.git.Forget(); return nil }},
	{"the registry refuses connections", false, func(s *stage, ctx context.Context) error {
		if err := s.pulls.Refuse(true); err != nil {
			return err
		}
		err := wait(ctx)
		if err := s.pulls.Refuse(false); err != nil {
			return err
		}
		return err
	}},
	{"the registry answers 503", false, func(s *stage, ctx context.Context) error {
		return s.onRegistry(ctx, fault.Answer(http.StatusServiceUnavailable, 0))
	}},
	{"the registry answers 429, Retry-After 900", false, func(s *stage, ctx context.Context) error {
		return s.onRegistry(ctx, fault.Answer(http.StatusTooManyRequests, 15*time.Minute))
	}},
	{"the registry does not answer", false, func(s *stage, ctx context.Context) error { return s.onRegistry(ctx, fault.Hold(ctx)) }},
	{"the registry trickles", false, func(s *stage, ctx context.Context) error {
		return s.onRegistry(ctx, fault.Trickle(ctx, 1, time.Second))
	}},
	{"a record is edited", true, (*stage).editRecord},
	{"a daemon is killed", true, (*stage).killBeside},
	{"a sync by hand beside the daemons", true, (*stage).syncBeside},
	{"a leader is paused for longer than its Lease", false, (*stage).pauseBeside},
}

// faults injects one trouble after the other until a time is over, while people go on committing, and judges the results
// of each.
func (s *stage) faults(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	for i := 1; time.Now().Before(end) && s.journal.count() < tooMany; i++ {
		if err := s.fault(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) fault(ctx context.Context, i int) error {
	if _, err := s.runningDaemon("a", true); err != nil {
		return err
	}
	s.mu.Lock()
	b := s.running["b"]
	s.mu.Unlock()
	switch second := s.random.IntN(3) > 0; {
	case second:
		if _, err := s.runningDaemon("b", true); err != nil {
			return err
		}
	case b != nil && !b.ended():
		if err := b.stop(); err != nil {
			return err
		}
	}
	if i == 1 {
		if err := s.settleOrReset(ctx, "the start", nil); err != nil {
			return err
		}
	}
	t := []trouble{troubles[s.random.IntN(len(troubles))]}
	if s.random.IntN(4) == 0 {
		t = append(t, troubles[s.random.IntN(len(troubles))])
	}
	if s.random.IntN(2) == 0 {
		if err := s.acts(ctx, 1); err != nil {
			return err
		}
	}
	what := t[0].what
	for _, other := range t[1:] {
		what += "; " + other.what
	}
	s.journal.say("fault %d: %s", i, what)
	lasts := time.Duration(3+s.random.IntN(22)) * time.Second
	if err := s.suffer(ctx, t, lasts); err != nil {
		return err
	}
	s.journal.say("fault %d is over", i)
	return s.settleOrReset(ctx, "the fault ("+what+")", nil)
}

// suffer runs troubles while people go on. Troubles with a duration begin first, so that the others happen during them.
func (s *stage) suffer(ctx context.Context, all []trouble, lasts time.Duration) error {
	s.judge.disturb(true)
	defer s.judge.disturb(false)
	during, over := context.WithTimeout(ctx, lasts)
	defer over()
	done := make(chan error, len(all))
	lasting := 0
	for _, t := range all {
		if !t.now {
			lasting++
			go func() { done <- t.inflict(s, during) }()
		}
	}
	err := s.live(ctx, all, lasting > 0)
	if err != nil {
		over()
	}
	for range lasting {
		err = errors.Join(err, <-done)
	}
	return errors.Join(err, ctx.Err())
}

// live makes people act while troubles last, and inflicts the troubles without a duration.
func (s *stage) live(ctx context.Context, all []trouble, lasting bool) error {
	for _, t := range all {
		if !t.now {
			continue
		}
		if lasting {
			// The other troubles need a moment until they are in force.
			if err := pause(ctx, time.Duration(s.random.IntN(1000))*time.Millisecond); err != nil {
				return err
			}
		}
		if err := t.inflict(s, ctx); err != nil {
			return err
		}
	}
	if !lasting {
		return s.acts(ctx, s.random.IntN(2))
	}
	for range 1 + s.random.IntN(3) {
		if err := pause(ctx, time.Duration(s.random.IntN(3000))*time.Millisecond); err != nil {
			return err
		}
		if err := s.acts(ctx, 1); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) onEachAPI(f fault.Fault) (end func(), err error) {
	var ends []func()
	for _, name := range names {
		ends = append(ends, s.api[name].Inject(f))
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}, nil
}

// onAPI applies a fault to the requests of all syncers until ctx ends.
func (s *stage) onAPI(ctx context.Context, f fault.Fault) error {
	end, err := s.onEachAPI(f)
	if err != nil {
		return err
	}
	defer end()
	return wait(ctx)
}

func (s *stage) onGit(ctx context.Context, f fault.Fault) error {
	defer s.git.Inject(f)()
	return wait(ctx)
}

func (s *stage) onRegistry(ctx context.Context, f fault.Fault) error {
	defer s.pulls.Inject(f)()
	return wait(ctx)
}

// syncBeside runs one or two syncs by hand during the commits.
func (s *stage) syncBeside(ctx context.Context) error {
	s.mu.Lock()
	b := s.running["b"]
	s.mu.Unlock()
	if b != nil && !b.ended() {
		if err := b.stop(); err != nil {
			return err
		}
	}
	for range 1 + s.random.IntN(3) {
		if err := s.acts(ctx, 1); err != nil {
			return err
		}
		if err := pause(ctx, time.Duration(s.random.IntN(1500))*time.Millisecond); err != nil {
			return err
		}
		if s.random.IntN(2) == 0 {
			if err := s.acts(ctx, 1); err != nil {
				return err
			}
		}
		s.journal.say("sync beside")
		if err := s.syncOnce(ctx, "b"); err != nil {
			return err
		}
	}
	return nil
}

// killBeside kills one of the daemons and starts it again at once.
func (s *stage) killBeside(ctx context.Context) error {
	name := names[s.random.IntN(len(names))]
	y, err := s.runningDaemon(name, true)
	if err != nil {
		return err
	}
	if err := s.acts(ctx, 1); err != nil {
		return err
	}
	if _, err := s.killSomewhere(ctx, y, 2*time.Second); err != nil {
		return err
	}
	if err := y.kill(); err != nil {
		return err
	}
	_, err = s.daemon(name, true)
	return err
}

// pauseBeside pauses one of two daemons.
func (s *stage) pauseBeside(ctx context.Context) error {
	s.mu.Lock()
	y := s.running[names[s.random.IntN(len(names))]]
	s.mu.Unlock()
	if y == nil || y.ended() {
		return wait(ctx)
	}
	if err := y.program.Pause(); err != nil {
		return err
	}
	err := wait(ctx)
	return errors.Join(err, y.program.Resume())
}

// wait returns when ctx ends; the end of a fault is no error.
func wait(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func pathHas(r *http.Request, part string) bool { return strings.Contains(r.URL.Path+"/", part) }

func isWatch(r *http.Request) bool { return r.URL.Query().Get("watch") != "" }

func notWatch(r *http.Request) bool { return !isWatch(r) }

func isStatus(r *http.Request) bool {
	return pathHas(r, "/pipelinesyncs/") && strings.HasSuffix(r.URL.Path, "/status") && isWrite(r)
}
