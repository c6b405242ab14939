package cluster

import "time"

// Date is what the API server's clock shows, by the answers that it gave; false where it has not given any. The clock of
// this process has no part in it but to measure the time since.
func (c *Cluster) Date() (time.Time, bool) { return c.server.dates.Now() }

// Now is Date, or the own clock's where the API server has not answered yet.
func (c *Cluster) Now() time.Time {
	if now, known := c.Date(); known {
		return now
	}
	return time.Now()
}

// Since is how long ago something was that the API server dated.
func Since(c *Cluster, date time.Time) time.Duration { return c.Now().Sub(date) }
