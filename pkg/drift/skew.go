package drift

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Side is one environment of a pipeline.
type Side struct {
	Environment string
	Rendered    manifest.Set // the set of the commit last applied there, with digests
	Written     manifest.Set // the same as git writes it, with tags; nil: not known
	Findings    []Finding    // how the cluster differs from it
}

// ExpectedRule names fields in which environments may differ. Empty parts match everything.
type ExpectedRule struct {
	Group, Kind, Namespace, Name string
	Paths                        []manifest.Path // and every field below them
}

// CompareEnvironments lists the fields in which two environments of a pipeline differ, sorted by object and path. A
// difference between the overlays is declared; a difference between the clusters alone is not. Objects are matched
// without the parts of their names that belong to an environment or come from a generator. An object without a certain
// match counts as one that only its environment has.
func CompareEnvironments(pipeline string, a, b Side, expected []ExpectedRule) []Skew {
	c := comparison{pipeline: pipeline, a: newSide(a), b: newSide(b), expected: expected}
	c.match()
	for _, pair := range c.pairs {
		c.declared(pair)
	}
	c.unexplained()
	slices.SortFunc(c.found, func(x, y Skew) int { return cmp.Or(x.Object.Compare(y.Object), cmp.Compare(x.Path, y.Path)) })
	return c.found
}

// OnlyIn lists the objects of a pipeline that one of two environments has and the other one has not: as git says, or,
// where git has the pipeline there as well, because it has not been deployed yet. first says that the environment that
// has them is the first of the two.
func OnlyIn(pipeline string, side Side, other string, first, inGit bool) []Skew {
	side.Findings = nil
	a, b := side, Side{Environment: other}
	if !first {
		a, b = b, a
	}
	found := CompareEnvironments(pipeline, a, b, nil)
	for i := range found {
		s := &found[i]
		s.Message = fmt.Sprintf("%s is only in %s: %s has no overlay of %s", s.Object, side.Environment, other, pipeline)
		if inGit {
			s.Declared, s.Expected = false, true
			s.Message = fmt.Sprintf("%s is only in %s: %s has not been deployed to %s yet", s.Object, side.Environment, pipeline, other)
		}
	}
	return found
}

type comparison struct {
	pipeline string
	a, b     *side
	expected []ExpectedRule
	pairs    []pair
	found    []Skew
}

// pair is one object in both environments; nil where an environment does not have it.
type pair struct{ a, b *unstructured.Unstructured }

type side struct {
	Side
	names      map[string]string // of objects, to their names in both environments
	namespaces *regexp.Regexp    // as words of their own; nil: there are none
}

func newSide(s Side) *side {
	out := &side{Side: s, names: map[string]string{}}
	namespaces := map[string]bool{}
	for _, obj := range s.Rendered {
		namespaces[obj.GetNamespace()] = true
		if obj.GetKind() == "Namespace" {
			namespaces[obj.GetName()] = true
		}
	}
	delete(namespaces, "")
	delete(namespaces, "default") // a word as well
	var words []string
	for name := range namespaces {
		words = append(words, regexp.QuoteMeta(name))
	}
	if len(words) > 0 {
		// The longest first, so that none is taken for the beginning of another one.
		slices.SortFunc(words, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b)) })
		out.namespaces = regexp.MustCompile(`(^|[^a-zA-Z0-9-])(?:` + strings.Join(words, "|") + `)($|[^a-zA-Z0-9-])`)
	}
	return out
}

// stem is a name without the additions of an environment or a generator.
func (s *side) stem(obj *unstructured.Unstructured) string {
	name := obj.GetName()
	if id, generated := manifest.IDOf(obj).WithoutSuffix(); generated {
		name = id.Name
	}
	return s.withoutEnvironment(name)
}

func (s *side) withoutEnvironment(name string) string {
	name = strings.TrimPrefix(name, s.Environment+"-")
	name = strings.TrimSuffix(name, "-"+s.Environment)
	return strings.ReplaceAll(name, "-"+s.Environment+"-", "-")
}

// match pairs the objects of both environments: by name, by stem, and at last without the beginning and the end that all
// names of an environment share.
func (c *comparison) match() {
	left, right := c.a.Rendered, c.b.Rendered
	for _, nameIn := range []func(*side) func(*unstructured.Unstructured) string{
		func(*side) func(*unstructured.Unstructured) string {
			return func(obj *unstructured.Unstructured) string { return obj.GetName() }
		},
		func(s *side) func(*unstructured.Unstructured) string { return s.stem },
		func(s *side) func(*unstructured.Unstructured) string {
			prefix, suffix := sharedEnds(s.Rendered)
			return func(obj *unstructured.Unstructured) string {
				return strings.TrimSuffix(strings.TrimPrefix(s.stem(obj), prefix), suffix)
			}
		},
	} {
		// One name may be in several namespaces of a pipeline.
		for _, namespaced := range []bool{true, false} {
			left, right = c.matchBy(left, right, c.a.keyBy(nameIn(c.a), namespaced), c.b.keyBy(nameIn(c.b), namespaced))
		}
	}
	for _, obj := range left {
		c.pairs = append(c.pairs, pair{a: obj})
	}
	for _, obj := range right {
		c.pairs = append(c.pairs, pair{b: obj})
	}
}

// keyBy returns the key that an object has in common with its match in another environment.
func (s *side) keyBy(name func(*unstructured.Unstructured) string, namespaced bool) func(*unstructured.Unstructured) manifest.Key {
	return func(obj *unstructured.Unstructured) manifest.Key {
		key := manifest.IDOf(obj).Key()
		key.Name = name(obj)
		if key.Namespace = s.withoutEnvironment(key.Namespace); !namespaced {
			key.Namespace = ""
		}
		return key
	}
}

// matchBy pairs the objects that have one key, each only once in its environment. It returns the others.
func (c *comparison) matchBy(left, right manifest.Set, keyA, keyB func(*unstructured.Unstructured) manifest.Key) (restA, restB manifest.Set) {
	index := func(set manifest.Set, key func(*unstructured.Unstructured) manifest.Key) map[manifest.Key]manifest.Set {
		out := map[manifest.Key]manifest.Set{}
		for _, obj := range set {
			out[key(obj)] = append(out[key(obj)], obj)
		}
		return out
	}
	inA, inB := index(left, keyA), index(right, keyB)
	for _, obj := range left {
		key := keyA(obj)
		if len(inA[key]) != 1 || len(inB[key]) != 1 {
			restA = append(restA, obj)
			continue
		}
		other := inB[key][0]
		c.pairs = append(c.pairs, pair{obj, other})
		c.a.names[obj.GetName()], c.b.names[other.GetName()] = key.Name, key.Name
	}
	for _, obj := range right {
		if key := keyB(obj); len(inA[key]) != 1 || len(inB[key]) != 1 {
			restB = append(restB, obj)
		}
	}
	return restA, restB
}

// sharedEnds are the beginning and the end that all names of a set share, up to a dash.
func sharedEnds(set manifest.Set) (prefix, suffix string) {
	if len(set) < 2 {
		return "", ""
	}
	prefix, suffix = set[0].GetName(), set[0].GetName()
	for _, obj := range set[1:] {
		name := obj.GetName()
		for !strings.HasPrefix(name, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
		for !strings.HasSuffix(name, suffix) {
			suffix = suffix[1:]
		}
	}
	prefix = prefix[:strings.LastIndex(prefix, "-")+1]
	if at := strings.Index(suffix, "-"); at >= 0 {
		return prefix, suffix[at:]
	}
	return prefix, ""
}

// neutral is an object without the names of its environment: in its identity, references to other objects of the
// pipeline, and namespaces.
func (s *side) neutral(obj *unstructured.Unstructured) *unstructured.Unstructured {
	fields, _ := s.neutralValue(runtime.DeepCopyJSON(obj.Object)).(map[string]any)
	out := &unstructured.Unstructured{Object: fields}
	out.SetName("")
	out.SetNamespace("")
	labels := out.GetLabels()
	delete(labels, "applyset.kubernetes.io/part-of")
	out.SetLabels(labels)
	return out
}

func (s *side) neutralValue(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, item := range v {
			v[key] = s.neutralValue(item)
		}
	case []any:
		for i, item := range v {
			v[i] = s.neutralValue(item)
		}
	case string:
		return s.neutralText(v)
	}
	return value
}

func (s *side) neutralText(text string) string {
	if name, ok := s.names[text]; ok {
		return name
	}
	if s.namespaces == nil {
		return text
	}
	return s.namespaces.ReplaceAllString(text, "${1}(namespace)${2}")
}

// declared lists the differences of one object between the overlays of both environments.
func (c *comparison) declared(p pair) {
	switch {
	case p.b == nil:
		c.add(p.a, "", p.a.GetName(), nil, true)
		return
	case p.a == nil:
		c.add(p.b, "", nil, p.b.GetName(), true)
		return
	}
	for _, field := range manifest.Diff(c.a.neutral(p.a), c.b.neutral(p.b), nil) {
		from, to := ownValue(p.a, field.Path, field.From), ownValue(p.b, field.Path, field.To)
		c.add(p.a, field.Path, from, to, !sameTag(from, to) || c.a.writesDigest(p.a, field.Path) || c.b.writesDigest(p.b, field.Path))
	}
}

// writesDigest reports whether git itself names the bytes of an image, which is a declaration like any other.
func (s *side) writesDigest(obj *unstructured.Unstructured, at string) bool {
	path, err := manifest.ParsePath(at)
	if err != nil {
		return false
	}
	for _, written := range s.Written {
		if manifest.IDOf(written).Key() != manifest.IDOf(obj).Key() {
			continue
		}
		for _, field := range manifest.Find(written.Object, path) {
			text, _ := field.Value.(string)
			return strings.Contains(text, "@")
		}
	}
	return false
}

// ownValue is the value of a field as the environment itself has it, masked.
func ownValue(obj *unstructured.Unstructured, at string, neutral any) any {
	path, err := manifest.ParsePath(at)
	if err != nil || neutral == nil {
		return neutral
	}
	if found := manifest.Find(obj.Object, path); len(found) == 1 {
		return manifest.Mask{Object: obj}.Value(path, found[0].Value)
	}
	return neutral
}

// sameTag reports whether two image references name one tag and other bytes.
func sameTag(a, b any) bool {
	x, isText := a.(string)
	y, both := b.(string)
	tagA, digestA, pinnedA := strings.Cut(x, "@")
	tagB, digestB, pinnedB := strings.Cut(y, "@")
	return isText && both && pinnedA && pinnedB && tagA == tagB && digestA != digestB && strings.HasPrefix(digestA, "sha256:")
}

// unexplained lists the drift of one environment that the other does not have in the same way.
func (c *comparison) unexplained() {
	other := map[manifest.Key]pair{}
	for _, p := range c.pairs {
		for _, obj := range []*unstructured.Unstructured{p.a, p.b} {
			if obj != nil {
				other[manifest.IDOf(obj).Key()] = p
			}
		}
	}
	done := map[string]bool{}
	for _, from := range []*side{c.a, c.b} {
		for _, f := range from.Findings {
			p, ok := other[f.Object.Key()]
			if f.Kind != Modified && f.Kind != Added && f.Kind != Missing || !ok || p.a == nil || p.b == nil {
				continue
			}
			if f.Kind == Modified && f.Path == "" {
				continue // the manager of an object does not change its values
			}
			id := manifest.IDOf(p.a)
			if done[id.String()+" "+f.Path] {
				continue
			}
			done[id.String()+" "+f.Path] = true
			x, inA := c.a.live(p.a, f)
			y, inB := c.b.live(p.b, f)
			// Drift of only one of them is a difference, even if a mask hides the values.
			if inA != inB || fmt.Sprint(c.a.neutralValue(x)) != fmt.Sprint(c.b.neutralValue(y)) {
				c.add(p.a, f.Path, x, y, false)
			}
		}
	}
}

// live is the value that an environment has in the field that a finding of either one is about, and whether it drifted
// there.
func (s *side) live(obj *unstructured.Unstructured, about Finding) (value any, drifted bool) {
	key := manifest.IDOf(obj).Key()
	for _, f := range s.Findings {
		if f.Object.Key() == key && f.Path == about.Path && f.Kind != Held {
			return f.Live, true // a missing object has no value
		}
	}
	if about.Path == "" {
		return obj.GetName(), false
	}
	path, err := manifest.ParsePath(about.Path)
	if err != nil {
		return nil, false
	}
	if found := manifest.Find(obj.Object, path); len(found) == 1 {
		return manifest.Mask{Object: obj}.Value(path, found[0].Value), false
	}
	return nil, false
}

func (c *comparison) add(obj *unstructured.Unstructured, path string, a, b any, declared bool) {
	skew := Skew{
		Pipeline: c.pipeline, Environments: []string{c.a.Environment, c.b.Environment}, Object: manifest.IDOf(obj), Path: path,
		Values: map[string]any{c.a.Environment: a, c.b.Environment: b}, Declared: declared,
	}
	parsed, _ := manifest.ParsePath(path) // empty: the whole object
	switch {
	case sameTag(a, b) && !declared:
		skew.Message = fmt.Sprintf("%s runs other bytes in %s than in %s under one tag; refresh the pin in one of them", skew.Object, c.a.Environment, c.b.Environment)
	case !declared:
		skew.Message = fmt.Sprintf("%s of %s differs between %s and %s, and git does not say so; see who changed it in the findings", nameOf(path), skew.Object, c.a.Environment, c.b.Environment)
	case path == "" && b == nil:
		skew.Message = fmt.Sprintf("only %s has %s", c.a.Environment, skew.Object)
	case path == "":
		skew.Message = fmt.Sprintf("only %s has %s", c.b.Environment, skew.Object)
	default:
		skew.Message = fmt.Sprintf("the overlays of %s and %s set %s of %s differently", c.a.Environment, c.b.Environment, path, skew.Object)
	}
	if sameTag(a, b) && !declared {
		c.found = append(c.found, skew) // no rule makes this expected
		return
	}
	skew.Expected = slices.ContainsFunc(c.expected, func(rule ExpectedRule) bool { return rule.matches(skew.Object, parsed) }) ||
		declared && path != "" && (isSize(parsed) || c.nameTheEnvironment(a, b))
	c.found = append(c.found, skew)
}

func nameOf(path string) string {
	if path == "" {
		return "the existence"
	}
	return path
}

func (r ExpectedRule) matches(id manifest.ID, path manifest.Path) bool {
	kind := id.GroupKind()
	return (r.Kind == "" || r.Kind == kind.Kind) && (r.Group == "" || r.Group == kind.Group) &&
		(r.Namespace == "" || r.Namespace == id.Namespace) && (r.Name == "" || r.Name == id.Name) &&
		slices.ContainsFunc(r.Paths, path.Under)
}

// sizes are fields for an amount, in which environments usually differ.
var sizes = []string{
	"replicas", "minReplicas", "maxReplicas", "parallelism", "completions", "instances", "minExecutors", "maxExecutors", "initialExecutors",
	"cores", "coreRequest", "coreLimit", "memory", "memoryOverhead",
}

// isSize reports whether a field of a spec is a size: one of the above, a part of `resources`, or of a quota.
func isSize(path manifest.Path) bool {
	if path[0].Name != "spec" {
		return false
	}
	for i, step := range path[1:] {
		last, below := i+2 == len(path), ""
		if !last {
			below = path[i+2].Name
		}
		switch {
		case last && slices.Contains(sizes, step.Name), step.Name == "hard":
			return true
		case step.Name == "resources" && (last || below == "limits" || below == "requests"):
			return true
		}
	}
	return false
}

// nameTheEnvironment reports whether two values differ only in the names of their environments.
func (c *comparison) nameTheEnvironment(a, b any) bool {
	x, isText := a.(string)
	y, both := b.(string)
	return isText && both && withoutName(x, c.a.Environment) == withoutName(y, c.b.Environment)
}

// withoutName replaces a name where it stands as a word of its own.
func withoutName(text, name string) string {
	word := regexp.MustCompile(`(^|[^a-zA-Z0-9])` + regexp.QuoteMeta(name) + `($|[^a-zA-Z0-9])`)
	return word.ReplaceAllString(text, "${1}(environment)${2}")
}
