package drift

import (
	"cmp"
	"fmt"
	"maps"
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
	Rendered    manifest.Set // what git says of the commit last applied there, with digests
	Findings    []Finding    // how the cluster differs from it
}

// ExpectedRule names fields in which environments may differ. Empty parts match everything.
type ExpectedRule struct {
	Group, Kind, Namespace, Name string
	Paths                        []manifest.Path // and every field below them
}

// CompareEnvironments lists the fields in which two environments of a pipeline differ, sorted by object and path. What
// the overlays say is declared; what only the clusters have is not. Objects are matched without the parts of their names
// that belong to an environment, or that a generator made; an object that cannot be matched without a doubt is one that
// only its environment has.
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
	names      map[string]string // of objects, to the names that they have in both environments
	namespaces []string          // the longest first
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
	out.namespaces = slices.SortedFunc(maps.Keys(namespaces), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b))
	})
	return out
}

// generated is the end that kustomize gives the names of generated objects: ten characters of an alphabet without vowels
// (kustomize api/hasher).
var generated = regexp.MustCompile(`-[bcdfghkmt2456789]{10}$`)

// stem is a name without what an environment or a generator added to it.
func (s *side) stem(obj *unstructured.Unstructured) string {
	name := obj.GetName()
	if kind := obj.GetKind(); kind == "ConfigMap" || kind == "Secret" {
		name = generated.ReplaceAllString(name, "")
	}
	name = strings.TrimPrefix(name, s.Environment+"-")
	name = strings.TrimSuffix(name, "-"+s.Environment)
	return strings.ReplaceAll(name, "-"+s.Environment+"-", "-")
}

// match pairs the objects of both environments: by name, by stem, and at last without the beginning and the end that all
// names of an environment share.
func (c *comparison) match() {
	left, right := c.a.Rendered, c.b.Rendered
	for _, nameIn := range []func(*side, manifest.Set) func(*unstructured.Unstructured) string{
		func(*side, manifest.Set) func(*unstructured.Unstructured) string {
			return func(obj *unstructured.Unstructured) string { return obj.GetName() }
		},
		func(s *side, _ manifest.Set) func(*unstructured.Unstructured) string { return s.stem },
		func(s *side, rest manifest.Set) func(*unstructured.Unstructured) string {
			prefix, suffix := sharedEnds(s.Rendered)
			return func(obj *unstructured.Unstructured) string {
				return strings.TrimSuffix(strings.TrimPrefix(s.stem(obj), prefix), suffix)
			}
		},
	} {
		left, right = c.matchBy(left, right, nameIn(c.a, left), nameIn(c.b, right))
	}
	for _, obj := range left {
		c.pairs = append(c.pairs, pair{a: obj})
	}
	for _, obj := range right {
		c.pairs = append(c.pairs, pair{b: obj})
	}
}

// matchBy pairs the objects that have one name and one kind, each only once in its environment. It returns the others.
func (c *comparison) matchBy(left, right manifest.Set, nameA, nameB func(*unstructured.Unstructured) string) (restA, restB manifest.Set) {
	index := func(set manifest.Set, name func(*unstructured.Unstructured) string) map[manifest.Key]manifest.Set {
		out := map[manifest.Key]manifest.Set{}
		for _, obj := range set {
			key := manifest.IDOf(obj).Key()
			key.Namespace, key.Name = "", name(obj)
			out[key] = append(out[key], obj)
		}
		return out
	}
	inA, inB := index(left, nameA), index(right, nameB)
	for _, obj := range left {
		key := manifest.IDOf(obj).Key()
		key.Namespace, key.Name = "", nameA(obj)
		if len(inA[key]) != 1 || len(inB[key]) != 1 {
			restA = append(restA, obj)
			continue
		}
		other := inB[key][0]
		c.pairs = append(c.pairs, pair{obj, other})
		c.a.names[obj.GetName()], c.b.names[other.GetName()] = key.Name, key.Name
	}
	for _, obj := range right {
		key := manifest.IDOf(obj).Key()
		key.Namespace, key.Name = "", nameB(obj)
		if len(inA[key]) != 1 || len(inB[key]) != 1 {
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

// neutral is an object without what belongs to its environment by name: its identity, references to other objects of the
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
	for _, namespace := range s.namespaces {
		text = strings.ReplaceAll(text, namespace, "(namespace)")
	}
	return text
}

// declared lists what the overlays of both environments say differently of one object.
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
		c.add(p.a, field.Path, from, to, !sameTag(from, to))
	}
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

// unexplained lists what drifted in one environment and not in the same way in the other.
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
			id := manifest.IDOf(p.a)
			if done[id.String()+" "+f.Path] {
				continue
			}
			done[id.String()+" "+f.Path] = true
			x, y := c.a.live(p.a, f), c.b.live(p.b, f)
			if fmt.Sprint(c.a.neutralValue(x)) != fmt.Sprint(c.b.neutralValue(y)) {
				c.add(p.a, f.Path, x, y, false)
			}
		}
	}
}

// live is the value that an environment has in the field that a finding of either one is about.
func (s *side) live(obj *unstructured.Unstructured, about Finding) any {
	key := manifest.IDOf(obj).Key()
	for _, f := range s.Findings {
		if f.Object.Key() == key && f.Path == about.Path && f.Kind != Held {
			if f.Kind == Missing {
				return nil
			}
			return f.Live
		}
	}
	if about.Path == "" {
		return obj.GetName()
	}
	path, err := manifest.ParsePath(about.Path)
	if err != nil {
		return nil
	}
	if found := manifest.Find(obj.Object, path); len(found) == 1 {
		return manifest.Mask{Object: obj}.Value(path, found[0].Value)
	}
	return nil
}

func (c *comparison) add(obj *unstructured.Unstructured, path string, a, b any, declared bool) {
	skew := Skew{
		Pipeline: c.pipeline, Environments: []string{c.a.Environment, c.b.Environment}, Object: manifest.IDOf(obj), Path: path,
		Values: map[string]any{c.a.Environment: a, c.b.Environment: b}, Declared: declared,
	}
	parsed, _ := manifest.ParsePath(path) // empty: the whole object
	switch {
	case sameTag(a, b):
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

// sizes are fields that say how much of something there is, which is what environments are made different by.
var sizes = []string{
	"replicas", "minReplicas", "maxReplicas", "parallelism", "completions", "instances", "minExecutors", "maxExecutors", "initialExecutors",
	"cores", "coreRequest", "coreLimit", "memory", "memoryOverhead", "resources", "hard", "storage",
}

func isSize(path manifest.Path) bool {
	return slices.ContainsFunc(path, func(step manifest.Step) bool { return slices.Contains(sizes, step.Name) })
}

// nameTheEnvironment reports whether two values differ in nothing but the names of their environments.
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
