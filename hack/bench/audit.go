package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab"
)

// counts are requests by verb and resource, such as "patch configmaps (dry run)".
type counts map[string]int

// total leaves out Leases, which a daemon renews whatever happens, and watches, which count by themselves.
func (c counts) total() int {
	sum := 0
	for what, n := range c {
		if !isBackground(what) {
			sum += n
		}
	}
	return sum
}

func (c counts) leases() int {
	sum := 0
	for what, n := range c {
		if strings.HasSuffix(what, " leases") {
			sum += n
		}
	}
	return sum
}

// watches is how many were opened.
func (c counts) watches() int {
	sum := 0
	for what, n := range c {
		if strings.HasPrefix(what, "watch ") {
			sum += n
		}
	}
	return sum
}

func (c counts) add(other counts) {
	for what, n := range other {
		c[what] += n
	}
}

func isBackground(what string) bool {
	return strings.HasSuffix(what, " leases") || strings.HasPrefix(what, "watch ")
}

// countOf counts the requests of a user. A watch counts when it begins.
func countOf(events []lab.AuditEvent, user string) counts {
	c := counts{}
	for _, e := range events {
		if e.User.Username != user || (e.Verb == "watch" && e.Stage != "ResponseStarted") {
			continue
		}
		c[describe(e)]++
	}
	return c
}

func describe(e lab.AuditEvent) string {
	what := e.Object.Resource
	if what == "" { // discovery, health and the like
		what, _, _ = strings.Cut(e.RequestURI, "?")
	}
	if e.Object.Subresource != "" {
		what += "/" + e.Object.Subresource
	}
	if strings.Contains(e.RequestURI, "dryRun") {
		what += " (dry run)"
	}
	return e.Verb + " " + what
}

// audit reads the API server's audit log as it grows.
type audit struct {
	path   string
	offset int64
	marks  int
	config *rest.Config
}

// next returns the events since the last call.
func (a *audit) next() ([]lab.AuditEvent, error) {
	events, end, err := lab.ReadAuditFrom(a.path, a.offset)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	a.offset = end
	return events, err
}

// upToNow returns the events since the last call up to now. The API server logs a request after its answer, so a last
// request marks the end.
func (a *audit) upToNow(ctx context.Context) ([]lab.AuditEvent, error) {
	a.marks++
	config := rest.CopyConfig(a.config)
	config.UserAgent = fmt.Sprintf("mark-%d", a.marks)
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	if _, err := client.Resource(namespaces).Get(ctx, "default", metav1.GetOptions{}); err != nil {
		return nil, err
	}
	var all []lab.AuditEvent
	marked := func(e lab.AuditEvent) bool { return e.UserAgent == config.UserAgent }
	for !slices.ContainsFunc(all, marked) {
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
		events, err := a.next()
		if err != nil {
			return nil, err
		}
		all = append(all, events...)
	}
	return all, nil
}

// quiet returns the requests of a user until it has asked nothing for a time, or until the limit.
func (a *audit) quiet(ctx context.Context, user string, silence, limit time.Duration) (c counts, reached bool, err error) {
	c = counts{}
	for began, last := time.Now(), time.Now(); time.Since(began) < limit; {
		events, err := a.next()
		if err != nil {
			return nil, false, err
		}
		news := countOf(events, user)
		c.add(news)
		if news.total() > 0 {
			last = time.Now()
		}
		if time.Since(last) > silence {
			return c, true, nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, false, err
		}
	}
	return c, false, nil
}

// sleep waits for a time, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// sorted lists the requests, the most frequent first.
func (c counts) sorted() []string {
	return slices.SortedFunc(maps.Keys(c), func(a, b string) int {
		if c[a] != c[b] {
			return c[b] - c[a]
		}
		return strings.Compare(a, b)
	})
}
