package image

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Suspect is a value that looks like an image reference by tag and that Find does not return: a real one runs unpinned.
type Suspect struct {
	Object manifest.ID
	Path   string
	Value  string // the reference
	// Nameable says that Find finds the reference once the field is named.
	Nameable bool
}

// Advice says how the reference is pinned.
func (s Suspect) Advice() string {
	if !s.Nameable {
		return fmt.Sprintf("looks like an image, not pinned; syncer cannot pin it inside of this text: give it a field, a variable or a key of its own, and name that; if it is none, set the annotation %s: %s", Annotation, Disabled)
	}
	kind := s.Object.GroupKind()
	group := ""
	if kind.Group != "" {
		group = "group: " + kind.Group + ", "
	}
	return fmt.Sprintf("looks like an image, not pinned; to pin it, add {%skind: %s, path: '%s'} to images.fields of pipeline.yaml, or set the annotation %s: '%s'; if it is none, %s: %s", group, kind.Kind, s.Path, Annotation, s.Path, Annotation, Disabled)
}

// Suspects lists the values of a set that look like an image reference by tag and are not among the references that Find
// returned for it, in the order of the set. It skips Secrets, and objects whose annotation disables the search.
func Suspects(set manifest.Set, refs []Reference) []Suspect {
	found := map[Suspect]bool{}
	for _, ref := range refs {
		found[Suspect{Object: ref.Object, Path: ref.Path, Value: ref.Value}] = true
		if ref.Form == Template { // a field that was looked at already
			found[Suspect{Object: ref.Object, Path: ref.Path}] = true
		}
	}
	var all []Suspect
	for _, obj := range set {
		if suspicious(obj.Object) && !isSecret(obj) && !looksAway(obj) && obj.GetKind() != "CustomResourceDefinition" {
			all = append(all, suspectsIn(obj, found)...)
		}
	}
	return all
}

// likeness is the common part of all references: a tag behind a name.
var likeness = regexp.MustCompile(`[a-z0-9]:[A-Za-z0-9_]`)

// suspicious is a fast test: it is false for most objects, which have no suspect.
func suspicious(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		for key, below := range value {
			if key != "metadata" && key != "status" && suspicious(below) || strings.HasSuffix(strings.ToLower(key), "repository") {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, suspicious)
	case string:
		return likeness.MatchString(value) || strings.HasSuffix(strings.ToLower(value), "repository") // the name of a variable
	}
	return false
}

func suspectsIn(obj *unstructured.Unstructured, found map[Suspect]bool) []Suspect {
	id := manifest.IDOf(obj)
	var all []Suspect
	var before manifest.Field
	for _, field := range manifest.Leaves(obj.Object) {
		last := before
		before = field
		text, ok := field.Value.(string)
		if !ok || !strings.Contains(text, ":") && !namesRepository(field.Path) || field.Path[0].Name == "metadata" || field.Path[0].Name == "status" {
			continue
		}
		for _, value := range imagesInText(obj, field, text, hintOf(last, field)) {
			suspect := Suspect{Object: id, Path: field.Path.String(), Value: value}
			if found[suspect] || found[Suspect{Object: id, Path: suspect.Path}] || health.KindOf(id.GroupKind()).IsPushTarget(suspect.Path) {
				continue
			}
			found[suspect] = true
			suspect.Nameable = nameable(obj, field, value)
			all = append(all, suspect)
		}
	}
	return all
}

// namesRepository reports whether a field may hold a repository whose tag stands beside it.
func namesRepository(path manifest.Path) bool {
	const word = "repository"
	key := keyOf(path)
	return len(key) >= len(word) && strings.EqualFold(key[len(key)-len(word):], word)
}

// nameable reports whether Find returns a reference after the user named its field.
func nameable(obj *unstructured.Unstructured, field manifest.Field, value string) bool {
	places, err := placesIn(obj.Object, field, true)
	return err == nil && slices.ContainsFunc(places, func(p place) bool { return p.value == value && p.err == nil })
}

// imagesInText lists the possible references by tag of a field: alone, with a tag in a sibling, or within a text.
func imagesInText(obj *unstructured.Unstructured, field manifest.Field, text, hint string) []string {
	if namesRepository(field.Path) {
		if tag, ok := tagOfPair(obj.Object, field.Path); ok && tag.Value != "" {
			pair, named := text+":"+tag.Value.(string), mentionsImage(field.Path)
			if (named || ofRegistry(text)) && looksLikeImage(pair, named) {
				return []string{pair}
			}
			return nil
		}
	}
	var values []string
	for _, span := range wordsIn(text, hint) {
		values = append(values, span.value)
	}
	return values
}

// hintOf returns the word for the meaning of a field: its key, or the argument before it.
func hintOf(before, field manifest.Field) string {
	last := len(field.Path) - 1
	if key := keyOf(field.Path); key != "" {
		return key
	}
	if text, ok := before.Value.(string); ok && len(before.Path) == len(field.Path) && slices.EqualFunc(before.Path[:last], field.Path[:last], sameStep) {
		return text
	}
	for ; last >= 0; last-- { // an item of a list
		if name := field.Path[last].Name; name != "" {
			return name
		}
	}
	return ""
}

func sameStep(a, b manifest.Step) bool {
	return a.Name == b.Name && a.Index == b.Index && slices.Equal(a.Keys, b.Keys)
}

func mentionsImage(path manifest.Path) bool {
	if imageWord.MatchString(keyOf(path)) {
		return true
	}
	return slices.ContainsFunc(path, func(step manifest.Step) bool { return imageWord.MatchString(step.Name) })
}

var (
	// imageWord is in the names of fields, variables and flags that hold images.
	imageWord = regexp.MustCompile(`(?i)image|container_?repository`)
	// imageName matches the end of the names that hold whole references.
	imageName = regexp.MustCompile(`(?i)image(_?(name|uri|url|ref|reference))?["']?\s*[:=]?$`)
	// word matches a possible reference in a text.
	word = regexp.MustCompile("[^\\s\"'`,;()\\[\\]{}<>|=\\\\]+")
)

// wordsIn finds the words of a text that look like references. The hint is the word before the text.
func wordsIn(text, hint string) []span {
	var spans []span
	for _, at := range word.FindAllStringIndex(text, -1) {
		value := strings.TrimRight(text[at[0]:at[1]], ".:")
		hinted := hint
		hint = text[at[0]:at[1]]
		if strings.ContainsAny(value, ":") && looksLikeImage(value, imageWord.MatchString(hinted)) && !isComment(text, at[0]) {
			if strings.Contains(value, "/") || imageName.MatchString(hinted) {
				spans = append(spans, span{value: value, offset: at[0]})
			}
		}
	}
	return spans
}

var (
	// versionTag matches the usual tags of releases.
	versionTag = regexp.MustCompile(`^(v?\d+\.\d[\w.-]*|v\d+[\w.-]*|latest|stable|nightly)$`)
	shaTag     = regexp.MustCompile(`^(?:sha-)?[0-9a-f]{7,40}$`)
	digits     = regexp.MustCompile(`^\d+$`)
	// fileName matches the end of a file name, which a program may write with a line, a mode or a function behind it.
	fileName = regexp.MustCompile(`\.(py|pyc|ipynb|ya?ml|json|toml|ini|cfg|conf|properties|env|jar|whl|zip|gz|tgz|tar|csv|tsv|txt|md|sh|sql|log|xml|html?|js|ts|go|java|scala|rs|c|h|r|rb|parquet|avro|orc|pem|crt|key|sock|db|lock|tmpl|tpl)$`)
	// notTags follow a colon in other values: modes of mounts and effects of taints.
	notTags = []string{"ro", "rw", "z", "Z", "NoSchedule", "NoExecute", "PreferNoSchedule"}
	// notRegistries matches domains in the names of labels, taints, resources and repositories of code.
	notRegistries = regexp.MustCompile(`^(.*\.)?(kubernetes\.io|nvidia\.com|amd\.com|intel\.com|aws\.amazon\.com|istio\.io|helm\.sh|fluxcd\.io|argoproj\.io)$|^(github|gitlab|bitbucket)\.(com|org)$|\.k8s\.io$`)
	domain        = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\.[a-z]{2,}$`)
	hostAndPort   = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?:\d{1,5}$`)
)

// looksLikeImage distinguishes a reference by tag from other values with a colon: addresses, paths, times, coordinates. In a field
// or a flag for images, a reference needs no registry.
func looksLikeImage(value string, hinted bool) bool {
	slash := strings.LastIndex(value, "/")
	repository, tag, tagged := strings.Cut(value[slash+1:], ":")
	if form, err := formOf(value); err != nil || form != Tag || !tagged || slices.Contains(notTags, tag) {
		return false
	}
	if fileName.MatchString(repository) {
		return false
	}
	switch {
	case slash < 0:
		return hinted && !digits.MatchString(repository) && (!digits.MatchString(tag) || len(tag) < 4) // a port has more
	case ofRegistry(value):
		return true
	case strings.ContainsAny(firstPart(value), ".:"):
		return false
	}
	letter := value[0] >= 'a' && value[0] <= 'z'
	return letter && (hinted || versionTag.MatchString(tag) || shaTag.MatchString(tag) && !digits.MatchString(tag))
}

// ofRegistry reports whether a reference names a possible registry.
func ofRegistry(value string) bool {
	first, _, ok := strings.Cut(value, "/")
	if !ok {
		return false
	}
	return first == "registry.k8s.io" || first == "localhost" || hostAndPort.MatchString(first) || domain.MatchString(first) && !notRegistries.MatchString(first)
}

func firstPart(value string) string {
	first, _, _ := strings.Cut(value, "/")
	return first
}

// SortSuspects orders suspects by object, path and value, as every list that syncer prints.
func SortSuspects(all []Suspect) {
	slices.SortFunc(all, func(a, b Suspect) int {
		return cmp.Or(a.Object.Compare(b.Object), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Value, b.Value))
	})
}
