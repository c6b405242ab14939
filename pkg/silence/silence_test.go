package silence_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncerdev/syncer/pkg/silence"
)

const limit = 30 * time.Second

// server answers after a while, and sends one part of its body for each pause.
type server struct {
	think  time.Duration
	part   string
	pauses []time.Duration
}

func (s server) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case <-time.After(s.think):
	case <-req.Context().Done():
		return nil, context.Cause(req.Context())
	}
	r, w := io.Pipe()
	go func() {
		for _, pause := range s.pauses {
			select {
			case <-time.After(pause):
			case <-req.Context().Done():
				w.CloseWithError(context.Cause(req.Context()))
				return
			}
			if _, err := io.WriteString(w, s.part); err != nil {
				return
			}
		}
		w.Close()
	}()
	return &http.Response{StatusCode: http.StatusOK, Body: r}, nil
}

func TestTransport(t *testing.T) {
	both := func(*http.Request) (answer, part time.Duration) { return limit, limit }
	for name, c := range map[string]struct {
		server server
		limit  func(*http.Request) (answer, part time.Duration)
		slow   time.Duration // the reader takes for itself
		silent bool
		took   time.Duration
	}{
		"an answer in time":          {server{29 * time.Second, "x", []time.Duration{29 * time.Second, 29 * time.Second}}, both, 0, false, 87 * time.Second},
		"no answer":                  {server{time.Hour, "x", nil}, both, 0, true, limit},
		"no more of the answer":      {server{0, "x", []time.Duration{0, time.Hour}}, both, 0, true, limit},
		"a reader that takes longer": {server{0, "x", []time.Duration{0, 0}}, both, time.Minute, false, 3*time.Minute + 30*time.Second},
		"a watch that has nothing to say": {
			server{0, "x", []time.Duration{time.Hour}}, func(*http.Request) (answer, part time.Duration) { return limit, 0 }, 0, false, time.Hour,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := exchange(t, &silence.Transport{Next: c.server, Limit: c.limit}, c.slow)
				if took := time.Since(began); took != c.took {
					t.Errorf("that took %s, want %s", took, c.took)
				}
				if _, silent := errors.AsType[*silence.Error](err); silent != c.silent || (err != nil) != c.silent {
					t.Errorf("error %v", err)
				}
				if c.silent && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v is none of a deadline", err)
				}
			})
		})
	}
}

func exchange(t *testing.T, transport http.RoundTripper, slow time.Duration) error {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://server", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for b := make([]byte, 8); ; time.Sleep(slow) {
		time.Sleep(slow / 2) // before the first read as well
		if _, err := resp.Body.Read(b); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}
