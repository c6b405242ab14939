package server

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(3, time.Second)
		take := func(party string, want bool) {
			t.Helper()
			if wait, ok := l.take(party); ok != want || ok != (wait == 0) || wait > time.Second {
				t.Errorf("%s: %v %v", party, ok, wait)
			}
		}
		for range 3 {
			take("a", true)
		}
		take("a", false)
		take("b", true) // others are not concerned
		time.Sleep(999 * time.Millisecond)
		take("a", false)
		time.Sleep(time.Millisecond)
		take("a", true)
		take("a", false)
		l.giveBack("a")
		take("a", true)
		l.giveBack("b") // twice: no more than the burst is left
		l.giveBack("b")
		for range 3 {
			take("b", true)
		}
		take("b", false)
		time.Sleep(time.Hour)
		for range 3 {
			take("a", true)
		}
		take("a", false) // an hour saves up no more than that
	})
}

// A flood from many addresses neither fills the memory nor lets each of them begin anew.
func TestLimitRemembersABoundedNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(2, time.Minute)
		let := 0
		for i := range 3 * mostParties {
			if _, ok := l.take(fmt.Sprint("address ", i)); ok {
				let++
			}
		}
		if len(l.parties) > mostParties+1 || let > mostParties+2 {
			t.Errorf("%d parties, and %d were let", len(l.parties), let)
		}
		time.Sleep(time.Hour)
		if _, ok := l.take("another"); !ok || len(l.parties) > 2 {
			t.Errorf("%v, and %d parties are remembered", ok, len(l.parties))
		}
	})
}

func TestSource(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.7:1234":          "192.0.2.7",
		"[::ffff:192.0.2.7]:1234": "192.0.2.7",
		"[2001:db8:1:2::7]:1234":  "2001:db8:1:2::/64",
		"[2001:db8:1:2::8]:1234":  "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1234":     "fe80::/64",
		"@":                       "@",
		"name:80":                 "name",
	} {
		if got := source(&http.Request{RemoteAddr: from}); got != want {
			t.Errorf("%s: %s", from, got)
		}
	}
}
