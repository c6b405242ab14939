package v1alpha1

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Select returns the named environments in the order of the configuration; all of them without a name.
func (c *Config) Select(names []string) ([]*Environment, error) {
	known := make([]string, len(c.Environments))
	var out []*Environment
	for i := range c.Environments {
		environment := &c.Environments[i]
		known[i] = environment.Name
		if len(names) == 0 || slices.Contains(names, environment.Name) {
			out = append(out, environment)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no environment %q in the configuration; it has %s", name, strings.Join(known, ", "))
		}
	}
	return out, nil
}

// Names lists the names of environments.
func Names(environments []*Environment) []string {
	out := make([]string, len(environments))
	for i, e := range environments {
		out[i] = e.Name
	}
	return out
}

// IsLocalPath tells a path of this machine from a URL and from ssh's short form host:path.
func IsLocalPath(url string) bool {
	if strings.Contains(url, "://") {
		return false
	}
	host, _, short := strings.Cut(url, ":")
	return !short || strings.Contains(host, "/")
}

// PublicURL is the address of the repository without credentials.
func (s Source) PublicURL() string {
	raw := s.URL
	if !strings.Contains(raw, "://") {
		return raw // a path, or ssh's short form, which has no room for a password
	}
	parsed, err := url.Parse(raw)
	if err != nil {
		// A URL that cannot be parsed may still hold a password before its last @.
		return raw[strings.LastIndex(raw, "@")+1:]
	}
	parsed.RawQuery, parsed.Fragment = "", ""
	if parsed.User == nil {
		return parsed.String()
	}
	if parsed.Scheme == "ssh" {
		parsed.User = url.User(parsed.User.Username())
	} else {
		parsed.User = nil
	}
	return parsed.String()
}

// Selection narrows a command to some pipelines and environments; empty means all.
type Selection struct{ Pipelines, Environments []string }

// Has reports whether a selection covers a target.
func (s Selection) Has(target Target) bool {
	return (len(s.Pipelines) == 0 || slices.Contains(s.Pipelines, target.Pipeline)) &&
		(len(s.Environments) == 0 || slices.Contains(s.Environments, target.Environment))
}
