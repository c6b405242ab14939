package apply

import "time"

// Date is what the API server's clock shows, by the answers that it gave; false where it has not given any. The clock of
// this process has no part in it but to measure the time since.
func (c *Cluster) Date() (time.Time, bool) { return c.Server().dates.Now() }

// now is Date, or the own clock's where the API server has not answered yet.
func (c *Cluster) now() time.Time {
	if now, known := c.Date(); known {
		return now
	}
	return time.Now()
}

// since is how long ago something was that the API server dated.
func (c *Cluster) since(date time.Time) time.Duration { return c.now().Sub(date) }
