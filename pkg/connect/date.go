package connect

import (
	"net/http"
	"time"

	"github.com/syncerdev/syncer/pkg/clock"
)

// dated reads the date of each answer of an API server.
type dated struct {
	next  http.RoundTripper
	dates *clock.Clock
}

func (d dated) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := time.Now()
	resp, err := d.next.RoundTrip(req)
	if err != nil {
		return resp, err
	}
	// The header has full seconds, and the time at which the answer began.
	if date, bad := http.ParseTime(resp.Header.Get("Date")); bad == nil {
		d.dates.Tell(date, date.Add(time.Second+time.Since(sent)))
	}
	return resp, nil
}
