package server

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// limit lets each of many parties do something some times at once, and then once per interval. It is safe for
// concurrent use and remembers a bounded number of parties.
type limit struct {
	burst    int
	interval time.Duration

	mu      sync.Mutex
	parties map[string]*allowance
	swept   time.Time // when those were forgotten last that have all of their times
}

// allowance is what is left to a party.
type allowance struct {
	left float64
	at   time.Time // when that much was left
}

// mostParties is how many are remembered. Those beyond share one allowance.
const mostParties = 4096

// everybody is a party's name where there is but one limit for all.
const everybody = ""

func newLimit(burst int, interval time.Duration) *limit {
	return &limit{burst: burst, interval: interval, parties: map[string]*allowance{}}
}

// take uses one of a party's times; where none is left it says how long to wait.
func (l *limit) take(party string) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of(party, time.Now())
	if a.left < 1 {
		return time.Duration((1 - a.left) * float64(l.interval)), false
	}
	a.left--
	return 0, true
}

// giveBack undoes a take.
func (l *limit) giveBack(party string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of(party, time.Now())
	a.left = min(a.left+1, float64(l.burst))
}

// of is what a party has left now.
func (l *limit) of(party string, now time.Time) *allowance {
	a := l.parties[party]
	if a == nil && len(l.parties) >= mostParties {
		if now.Sub(l.swept) >= l.interval {
			l.forget(now)
		}
		if len(l.parties) >= mostParties {
			party = everybody
			a = l.parties[party]
		}
	}
	if a == nil {
		a = &allowance{left: float64(l.burst), at: now}
		l.parties[party] = a
	}
	l.refill(a, now)
	return a
}

func (l *limit) refill(a *allowance, now time.Time) {
	a.left = min(float64(l.burst), a.left+float64(now.Sub(a.at))/float64(l.interval))
	a.at = now
}

// forget drops the parties that have all of their times left.
func (l *limit) forget(now time.Time) {
	l.swept = now
	for party, a := range l.parties {
		if l.refill(a, now); a.left >= float64(l.burst) {
			delete(l.parties, party)
		}
	}
}

// source is who a request comes from: an address, and for IPv6 the network that one customer has whole.
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
