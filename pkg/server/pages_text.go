package server

import (
	"net/url"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/syncerdev/syncer/pkg/drift"
)

// total counts the findings of one severity.
type total struct {
	Severity drift.Severity
	Count    int
}

// totals counts the findings that are not only waiting, the worst first.
func totals(findings []drift.Finding) []total {
	var out []total
	for _, severity := range []drift.Severity{drift.Critical, drift.Warning, drift.Info} {
		n := 0
		for _, f := range findings {
			if f.Severity == severity && f.Kind != drift.Held {
				n++
			}
		}
		if n > 0 {
			out = append(out, total{severity, n})
		}
	}
	return out
}

// tagOf is the tag of a reference: v1.4.2. A reference without a tag is shown by its last name.
func tagOf(reference string) string {
	last := reference[strings.LastIndex(reference, "/")+1:]
	name, _, _ := strings.Cut(last, "@")
	if _, tag, ok := strings.Cut(name, ":"); ok {
		return tag
	}
	return name
}

func span(d time.Duration) string { return duration.HumanDuration(max(0, d)) }

// query is the query of a page's address, which holds the page's whole state.
type query struct {
	path   string
	values url.Values
}

// Get returns one parameter of the address; empty: it is not there.
func (q query) Get(key string) string { return q.values.Get(key) }

// With is the address with one part set to another value; an empty one takes it out.
func (q query) With(key, value string) string {
	values := url.Values{}
	for k, v := range q.values {
		values[k] = v
	}
	values.Del(key)
	if value != "" {
		values.Set(key, value)
	}
	if encoded := values.Encode(); encoded != "" {
		return q.path + "?" + encoded
	}
	return q.path
}

// asked takes the known parameters of an address and ignores all others.
func asked(path string, values url.Values, keys ...string) query {
	q := query{path: path, values: url.Values{}}
	for _, key := range keys {
		for _, value := range values[key] {
			if value != "" {
				q.values.Add(key, value)
			}
		}
	}
	return q
}

// finds reports whether every word of a search is in one of some texts.
func finds(search string, texts ...string) bool {
	whole := strings.ToLower(strings.Join(texts, "\n"))
	for word := range strings.FieldsSeq(strings.ToLower(search)) {
		if !strings.Contains(whole, word) {
			return false
		}
	}
	return true
}
