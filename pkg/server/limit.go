package server

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limit allows each of many parties a burst of events, and then one event per interval. It is safe for concurrent use
// and remembers a bounded number of parties.
type limit struct {
	burst    int
	interval time.Duration

	mu      sync.Mutex
	parties map[string]*rate.Limiter
	swept   time.Time // when the parties with a full burst were forgotten last
}

// mostParties bounds the parties that are remembered. All others share one limiter.
const mostParties = 4096

// everybody is the name of the party where one limit holds for all.
const everybody = ""

func newLimit(burst int, interval time.Duration) *limit {
	return &limit{burst: burst, interval: interval, parties: map[string]*rate.Limiter{}}
}

// take uses one event of a party. If the party has none left, take returns how long to wait.
func (l *limit) take(party string) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	event := l.of(party, now).ReserveN(now, 1)
	if wait = event.DelayFrom(now); wait > 0 {
		event.CancelAt(now)
		return wait, false
	}
	return 0, true
}

// giveBack undoes a take.
func (l *limit) giveBack(party string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	// The library can cancel only events in the future. A negative event returns one, and never more than the burst.
	l.of(party, now).AllowN(now, -1)
}

// of returns the limiter of a party.
func (l *limit) of(party string, now time.Time) *rate.Limiter {
	if known := l.parties[party]; known != nil {
		return known
	}
	if len(l.parties) >= mostParties {
		if now.Sub(l.swept) >= l.interval {
			l.forget(now)
		}
		if len(l.parties) >= mostParties {
			party = everybody
		}
	}
	limiter := l.parties[party]
	if limiter == nil {
		limiter = rate.NewLimiter(rate.Every(l.interval), l.burst)
		l.parties[party] = limiter
	}
	return limiter
}

// forget drops the parties that have their whole burst left.
func (l *limit) forget(now time.Time) {
	l.swept = now
	for party, limiter := range l.parties {
		if limiter.TokensAt(now) >= float64(l.burst) {
			delete(l.parties, party)
		}
	}
}

// source identifies the sender of a request by its address, and for IPv6 by the network of one customer.
func source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		network, _ := ip.Prefix(64) // always possible
		return network.String()
	}
	return ip.String()
}
