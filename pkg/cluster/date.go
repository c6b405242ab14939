package cluster

import "time"

// Date is the time of the API server's clock, from its answers; false where it has not answered yet. The clock of this
// process only measures the time since the last answer.
func (c *Cluster) Date() (time.Time, bool) { return c.server.dates.Now() }

// Now is Date, or the time of the own clock where the API server has not answered yet.
func (c *Cluster) Now() time.Time {
	if now, known := c.Date(); known {
		return now
	}
	return time.Now()
}

// Since is the time since a date of the API server.
func Since(c *Cluster, date time.Time) time.Duration { return c.Now().Sub(date) }
