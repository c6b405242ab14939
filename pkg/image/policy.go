package image

import (
	"errors"
	"fmt"
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

// Check holds references to a policy. Every reference that it refuses is named in the error. A template is refused
// where there is a list of what is allowed, since nobody can say what it will become.
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
	before, _, _ := strings.Cut(ref.Value, "@")
	last := before[strings.LastIndex(before, "/")+1:]
	if _, tag, ok := strings.Cut(last, ":"); ok {
		return tag
	}
	if ref.Form == Tag {
		return name.DefaultTag
	}
	return ""
}

// Repository is a reference without its tag and digest, with the registry that it means: busybox is
// index.docker.io/library/busybox. It is in lower case, in which hosts are compared.
func Repository(reference string) string {
	parsed, err := name.ParseReference(reference)
	if err != nil {
		return reference
	}
	return strings.ToLower(parsed.Context().Name())
}

// Matches reports whether a repository, as Repository writes it, matches a pattern in which * stands for any text. A
// pattern that names no registry means Docker Hub, as a reference does.
func Matches(pattern, repository string) bool {
	return glob(pattern).MatchString(repository) || glob(dockerHub(pattern)).MatchString(repository)
}

func glob(pattern string) *regexp.Regexp {
	parts := strings.Split(pattern, "*")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	return regexp.MustCompile("(?i)^" + strings.Join(parts, ".*") + "$")
}

// dockerHub writes a pattern's registry as Repository does.
func dockerHub(pattern string) string {
	host, rest, ok := strings.Cut(pattern, "/")
	switch {
	case ok && host == "docker.io" && rest == "*":
		return name.DefaultRegistry + "/*"
	case ok && host == "docker.io":
		pattern = rest
	case ok && strings.ContainsAny(host, ".:*") || host == "localhost" || pattern == "*":
		return pattern
	}
	if !strings.Contains(pattern, "/") {
		pattern = "library/" + pattern
	}
	return name.DefaultRegistry + "/" + pattern
}
