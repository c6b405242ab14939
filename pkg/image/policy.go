package image

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Policy says which references may be deployed. The zero value allows all.
type Policy struct {
	// DenyTags are refused, also beside a digest. latest covers references without a tag or digest.
	DenyTags []string
	// Allow lists repositories, with * for any text; empty: all.
	Allow []string
}

// RefusedError says which rule refuses which reference.
type RefusedError struct {
	Object manifest.ID
	Path   string
	Value  string
	Rule   string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s: %s: %s is refused: %s", e.Object, e.Path, e.Value, e.Rule)
}

// Check applies a policy to references. The error names every reference that the policy refuses. A list of allowed
// repositories refuses a template, since its final value is unknown.
func (p Policy) Check(refs []Reference) error {
	var errs []error
	for _, ref := range refs {
		if rule := p.refuses(ref); rule != "" {
			errs = append(errs, &RefusedError{Object: ref.Object, Path: ref.Path, Value: ref.Value, Rule: rule})
		}
	}
	return errors.Join(errs...)
}

func (p Policy) refuses(ref Reference) string {
	if tag := tagOf(ref); slices.Contains(p.DenyTags, tag) {
		return fmt.Sprintf("images.denyTags has %s", tag)
	}
	if len(p.Allow) == 0 {
		return ""
	}
	if ref.Form == Template {
		return "images.allow lists what may run, and a template may become anything"
	}
	repository := Repository(ref.Value)
	if slices.ContainsFunc(p.Allow, func(pattern string) bool { return Matches(pattern, repository) }) {
		return ""
	}
	return fmt.Sprintf("images.allow has no pattern for %s", repository)
}

// tagOf is the tag that a reference names; latest where it names neither tag nor digest. A template may get either
// where it is completed.
func tagOf(ref Reference) string {
	if tag := TagName(ref.Value); tag != "" || ref.Form != Tag {
		return tag
	}
	return name.DefaultTag
}

// TagName is the tag that a reference writes, also beside a digest; "" where it writes none.
func TagName(reference string) string {
	before, _, _ := strings.Cut(reference, "@")
	_, tag, _ := strings.Cut(before[strings.LastIndex(before, "/")+1:], ":")
	return tag
}

// Repository is a reference without its tag and digest, with the registry that it means, written in one way however git
// spells it: busybox and docker.io/library/busybox are index.docker.io/library/busybox. Rules compare repositories in
// this form; Located is the one to ask for.
func Repository(reference string) string {
	parsed, err := name.ParseReference(reference)
	if err != nil {
		return reference
	}
	return repositoryAt(oneSpelling(parsed.Context().RegistryStr()), parsed.Context().RepositoryStr())
}

// Located is a reference without its tag and digest, with its registry as git spells it.
func Located(reference string) string {
	parsed, err := name.ParseReference(reference)
	if err != nil {
		return reference
	}
	return parsed.Context().Name()
}

func repositoryAt(host, path string) string {
	path = strings.ToLower(path)
	if host == name.DefaultRegistry && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	return host + "/" + path
}

// dockerHubHosts all answer for Docker Hub.
var dockerHubHosts = []string{"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}

// oneSpelling is a registry's host in the one form in which hosts are compared: in lower case, without the port that
// goes without saying. Both 443 and 80 do: which of the two a host speaks is set up on the nodes, and a rule about a
// host is not to be escaped by either.
func oneSpelling(host string) string {
	host = strings.ToLower(host)
	hostname, port, ported := cutPort(host)
	if address, err := netip.ParseAddr(strings.Trim(hostname, "[]")); err == nil {
		if hostname = address.Unmap().String(); strings.Contains(hostname, ":") {
			hostname = "[" + hostname + "]"
		}
	}
	hostname = strings.TrimSuffix(hostname, ".") // the root of all names goes without saying as well
	if slices.Contains(dockerHubHosts, hostname) {
		hostname = name.DefaultRegistry
	}
	if port = strings.TrimLeft(port, "0"); !ported || port == "443" || port == "80" {
		return hostname
	}
	return hostname + ":" + port
}

// cutPort cuts a host before its port. An IPv6 address stands in brackets.
func cutPort(host string) (name, port string, ok bool) {
	colon := strings.LastIndex(host, ":")
	if colon < 0 || colon < strings.LastIndex(host, "]") {
		return host, "", false
	}
	return host[:colon], host[colon+1:], true
}

// Matches reports whether a repository, as Repository writes it, matches a pattern in which * stands for any text. A
// pattern that names no registry means Docker Hub, as a reference does; * alone matches every repository.
func Matches(pattern, repository string) bool {
	glob := glob(onePattern(pattern))
	if glob.MatchString(repository) {
		return true
	}
	// A pattern for any port is for the ports that go without saying too.
	host, path, _ := strings.Cut(repository, "/")
	_, _, ported := cutPort(host)
	return !ported && (glob.MatchString(host+":443/"+path) || glob.MatchString(host+":80/"+path))
}

// MayMatch reports whether a template may become a reference of a repository that matches a pattern, as far as it is
// written out.
func MayMatch(pattern, templated string) bool {
	written := templated
	if at := template.FindStringIndex(templated); at != nil {
		written = templated[:at[0]]
	}
	host, path, ok := strings.Cut(written, "/")
	switch {
	case !ok:
		return true // it may become any host
	case !isHost(host):
		host, path = name.DefaultRegistry, written
	}
	if path, _, ended := strings.Cut(path, ":"); ended {
		return Matches(pattern, repositoryAt(oneSpelling(host), path))
	}
	written = oneSpelling(host) + "/" + strings.ToLower(path)
	before, _, open := strings.Cut(onePattern(pattern), "*")
	return strings.HasPrefix(before, written) || open && strings.HasPrefix(written, before)
}

// isHost reports whether the first part of a reference or a pattern is a host, and not a part of a repository's name.
func isHost(component string) bool {
	return strings.ContainsAny(component, ".:") || component == "localhost"
}

func glob(pattern string) *regexp.Regexp {
	parts := strings.Split(pattern, "*")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
}

// onePattern writes a pattern in the form that Repository gives to repositories.
func onePattern(pattern string) string {
	pattern = strings.ToLower(pattern)
	host, path, ok := strings.Cut(pattern, "/")
	switch {
	case pattern == "*":
		return pattern
	case !ok && isHost(host) && strings.Contains(host, "*"):
		return host // the beginning of a host, as 10.0.0.1*
	case !ok && isHost(host):
		path = "*" // the pattern is a host alone: a pattern that matches nothing would be a rule without effect
	case !ok || !isHost(host):
		host, path = name.DefaultRegistry, pattern
	}
	if path == "*" {
		return oneSpelling(host) + "/*"
	}
	return repositoryAt(oneSpelling(host), path)
}
