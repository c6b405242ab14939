// Package image finds the image references in a set of objects, resolves tags to digests and writes the digests back.
// It talks to registries and to nothing else; it never pulls an image.
package image

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Form is the way in which a reference names its image.
type Form string

const (
	// Tag names a tag, or none, which means latest. Such a reference is resolved.
	Tag Form = "Tag"
	// Digest names the very bytes. It is left as it is.
	Digest Form = "Digest"
	// Template is completed later by another program: {{...}}, $(VAR), ${VAR}, $VAR. It is left as it is.
	Template Form = "Template"
)

// Reference is one place in a set that names an image.
type Reference struct {
	Object manifest.ID
	Path   string
	Value  string // as git writes it
	Form   Form

	set func(string) // writes another reference in its place; nil: the reference is not one of a set any more
}

// ReferenceError is a reference that no client can pull, such as one with two tags.
type ReferenceError struct {
	Object manifest.ID
	Path   string
	Value  string
	Err    error
}

func (e *ReferenceError) Error() string {
	return fmt.Sprintf("%s: %s: %q is not an image reference: %v", e.Object, e.Path, e.Value, e.Err)
}

func (e *ReferenceError) Unwrap() error { return e.Err }

// newReferenceError shows neither the value of a Secret nor the library's text about it.
func newReferenceError(id manifest.ID, path, value string, err error) *ReferenceError {
	if id.GroupKind().Group == "" && id.Kind == "Secret" {
		value, err = "(not shown)", errors.New("a Secret's field was named that holds something else")
	}
	return &ReferenceError{Object: id, Path: path, Value: value, Err: err}
}

// Find lists the image references of a set, in the set's order: those in the fields that syncer knows, in the extra
// fields, and in the settings of Spark and Airflow. The error names every invalid reference.
func Find(set manifest.Set, extra []Field) ([]Reference, error) {
	var refs []Reference
	var errs []error
	for _, obj := range set {
		found, err := findIn(obj, extra)
		for _, ref := range found {
			ref.set, ref.Value = nil, strings.Clone(ref.Value) // so that the references do not keep the objects
			refs = append(refs, ref)
		}
		errs = append(errs, err)
	}
	return refs, errors.Join(errs...)
}

func findIn(obj *unstructured.Unstructured, extra []Field) ([]Reference, error) {
	id := manifest.IDOf(obj)
	paths, err := annotated(obj)
	if err != nil {
		return nil, err
	}
	var refs []Reference
	errs := []error{absent(obj, paths)}
	seen := map[string]bool{}
	builtin := known[id.GroupKind()]
	for i, pattern := range slices.Concat(builtin, named(id, extra), paths) {
		for _, field := range manifest.Find(obj.Object, pattern) {
			path := field.Path.String()
			if seen[path] || health.KindOf(id.GroupKind()).IsPushTarget(path) {
				continue
			}
			seen[path] = true
			places, err := placesIn(obj.Object, field, i >= len(builtin))
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %w", id, path, err))
			}
			for _, place := range places {
				form, err := formOf(place.value)
				if err = cmp.Or(place.err, err); err != nil {
					errs = append(errs, newReferenceError(id, path, place.value, err))
					continue
				}
				refs = append(refs, Reference{Object: id, Path: path, Value: place.value, Form: form, set: place.set})
			}
		}
	}
	if looksAway(obj) {
		return refs, errors.Join(errs...)
	}
	for _, found := range implied(obj) {
		path := found.field.Path.String()
		if seen[path] {
			continue
		}
		for _, place := range found.places {
			form, _ := formOf(place.value) // implied gives valid ones
			refs = append(refs, Reference{Object: id, Path: path, Value: place.value, Form: form, set: place.set})
		}
	}
	return refs, errors.Join(errs...)
}

var template = regexp.MustCompile(`\{\{|\$[({A-Za-z_]`)

func formOf(value string) (Form, error) {
	if template.MatchString(value) {
		return Template, nil
	}
	if strings.Contains(value, "@") {
		digest, err := name.NewDigest(value)
		if err == nil {
			err = strict(digest.Context(), "")
		}
		return Digest, withoutValue(err, value)
	}
	tag, err := name.NewTag(value)
	if err == nil {
		err = strict(tag.Context(), tag.TagStr())
	}
	return Tag, withoutValue(err, value)
}

// The grammar of names in the OCI distribution specification, which go-containerregistry reads more freely than the
// programs that pull: `https://host/a` passes there.
var (
	repositoryName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagName        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]*$`)
)

func strict(repository name.Repository, tag string) error {
	if !repositoryName.MatchString(repository.RepositoryStr()) {
		return fmt.Errorf("%s is not a repository's name", repository.RepositoryStr())
	}
	if tag != "" && !tagName.MatchString(tag) {
		return fmt.Errorf("%s is not a tag", tag)
	}
	return nil
}

// withoutValue drops the reference from the library's error, since ReferenceError shows it already.
func withoutValue(err error, value string) error {
	if err == nil {
		return nil
	}
	text := strings.TrimPrefix(err.Error(), "could not parse reference: "+value)
	if text = strings.TrimLeft(text, ": "); text == "" {
		text = "write repository:tag or repository@sha256:..."
	}
	return errors.New(text)
}

// Resolved is the digest of a reference and its source.
type Resolved struct {
	Tag    string // the tag to name in place of the written one; "": the written one
	Digest string
}

// Pin returns a copy of the set in which each reference that is resolved carries its digest: repository:tag@sha256:...
// stays readable and names the bytes. A reference without a tag gets its default tag. References that are
// not among the resolved ones are left alone. The keys are references as git writes them.
func Pin(set manifest.Set, extra []Field, resolved map[string]Resolved) (manifest.Set, error) {
	set = set.Copy()
	for _, obj := range set {
		refs, err := findIn(obj, extra)
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			if r, ok := resolved[ref.Value]; ok && ref.Form == Tag {
				ref.set(WithTag(ref.Value, r.Tag) + "@" + r.Digest)
			}
		}
	}
	return set, nil
}

// WithTag is a reference with another tag; "" keeps its own, and gives it the one that it stands for if it has none.
func WithTag(ref, tag string) string {
	slash := strings.LastIndex(ref, "/") + 1
	repository, written, _ := strings.Cut(ref[slash:], ":")
	return ref[:slash] + repository + ":" + cmp.Or(tag, written, name.DefaultTag)
}

// WithTagOrDigest is WithTag for references of either form: one by digest stays as it is.
func WithTagOrDigest(ref, tag string) string {
	if strings.Contains(ref, "@") {
		return ref
	}
	return WithTag(ref, tag)
}

// Tags lists the distinct references of a list that must be resolved, sorted.
func Tags(refs []Reference) []string {
	var out []string
	for _, ref := range refs {
		if ref.Form == Tag {
			out = append(out, ref.Value)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// SortReferences orders references by object and path, as every list that syncer prints.
func SortReferences(refs []Reference) {
	slices.SortStableFunc(refs, func(a, b Reference) int {
		return cmp.Or(a.Object.Compare(b.Object), cmp.Compare(a.Path, b.Path))
	})
}
