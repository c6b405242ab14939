package fault

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Answer answers every request with a status, and with Retry-After in seconds where retryAfter is not 0.
func Answer(status int, retryAfter time.Duration) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		if retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
		}
		http.Error(w, "a fault was injected", status)
	}
}

// Delay executes a request after a time between least and most.
func Delay(least, most time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if wait(r.Context(), least+rand.N(most-least+1)) {
			next.ServeHTTP(w, r)
		}
	}
}

// Hold leaves a request without an answer until ctx ends, and executes it then.
func Hold(ctx context.Context) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case <-ctx.Done():
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}
}

// Drop ends the connection of a request that was not executed; with HTTP/2, its stream.
func Drop() Fault {
	return func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }
}

// LoseAnswer executes a request and then ends its connection, or its stream, in place of an answer.
func LoseAnswer() Fault {
	return func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		// The request is executed to its end, also when the client is gone by then.
		next.ServeHTTP(&void{header: http.Header{}}, r.WithContext(context.WithoutCancel(r.Context())))
		panic(http.ErrAbortHandler)
	}
}

// Silence executes a request, passes on the first bytes of the body, and then nothing until ctx ends.
func Silence(ctx context.Context, first int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&metered{ResponseWriter: w, pass: func(written int) (int, bool) {
			if written < first {
				return first - written, true
			}
			select {
			case <-ctx.Done():
				return 1 << 20, true
			case <-r.Context().Done():
				return 0, false
			}
		}}, r)
	}
}

// Trickle executes a request and passes its body on in pieces of size bytes, one for each interval, until ctx ends.
func Trickle(ctx context.Context, size int, interval time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&metered{ResponseWriter: w, pass: func(int) (int, bool) {
			select {
			case <-ctx.Done():
				return 1 << 20, true
			case <-time.After(interval):
				return size, true
			case <-r.Context().Done():
				return 0, false
			}
		}}, r)
	}
}

// Only applies a fault to the requests that match.
func Only(match func(*http.Request) bool, fault Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if match(r) {
			fault(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// Some applies a fault to a share of the requests, from 0 to 1, drawn from a seed.
func Some(seed uint64, share float64, fault Fault) Fault {
	var mu sync.Mutex
	drawn := rand.New(rand.NewPCG(seed, seed))
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		hit := drawn.Float64() < share
		mu.Unlock()
		if hit {
			fault(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// Moment is a point in the life of a request.
type Moment int

const (
	Before   Moment = iota // it has come
	Done                   // it is executed, and gets no answer
	Answered               // it is executed, and the answer is on its way
)

// String implements fmt.Stringer.
func (m Moment) String() string {
	return [...]string{"before it is carried out", "when it is carried out", "as it is answered"}[m]
}

// Nth calls do at a moment of the nth request, counted from 1. Except for Answered, the request gets no answer.
func Nth(n int, when Moment, do func()) Fault {
	var mu sync.Mutex
	came := 0
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		came++
		hit := came == n
		mu.Unlock()
		switch {
		case !hit:
			next.ServeHTTP(w, r)
		case when == Before:
			do()
			panic(http.ErrAbortHandler)
		case when == Done:
			next.ServeHTTP(&void{header: http.Header{}}, r.WithContext(context.WithoutCancel(r.Context())))
			do()
			panic(http.ErrAbortHandler)
		default:
			next.ServeHTTP(w, r)
			do()
		}
	}
}

// wait reports whether a time passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// void receives an answer that no client gets.
type void struct{ header http.Header }

func (v *void) Header() http.Header         { return v.header }
func (v *void) Write(b []byte) (int, error) { return len(b), nil }
func (v *void) WriteHeader(int)             {}

// metered passes a body on at the rate of pass. pass returns the number of bytes that may go, which may block, and false
// when the client is gone.
type metered struct {
	http.ResponseWriter
	pass    func(written int) (int, bool)
	written int
}

func (m *metered) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, ok := m.pass(m.written)
		if !ok {
			panic(http.ErrAbortHandler)
		}
		sent, err := m.ResponseWriter.Write(b[done:min(len(b), done+n)])
		done, m.written = done+sent, m.written+sent
		if err != nil {
			return done, err
		}
		m.FlushError()
	}
	return done, nil
}

// FlushError sends the written bytes. Unwrap would find the same function, but without pass.
func (m *metered) FlushError() error { return http.NewResponseController(m.ResponseWriter).Flush() }
