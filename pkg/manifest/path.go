package manifest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Path is a field's place in an object, written as users read it:
//
//	spec.template.spec.containers[name=driver].env[name=TZ].value
//	spec.ports[port=80,protocol=TCP].targetPort
//	spec.args[2]
//	metadata.annotations["example.com/owner"]
//
// A pattern may also hold [*], which stands for every list item or every map value.
type Path []Step

// Step is one element of a Path: exactly one of its forms is set.
type Step struct {
	Name  string     // a map key
	Keys  []KeyValue // a list item by its identifying fields
	Index int        // a list item by its place, when Name and Keys are empty and Any is false
	Any   bool       // [*]
}

// KeyValue is one identifying field of a list item.
type KeyValue struct{ Key, Value string }

// text is the value as a path writes it, in quotes where it would end the brackets.
func (kv KeyValue) text() string {
	if strings.ContainsAny(kv.Value, `],"`) {
		return strconv.Quote(kv.Value)
	}
	return kv.Value
}

// values names a list item without saying which fields identify it.
func (s Step) values() string {
	if len(s.Keys) == 0 {
		return strconv.Itoa(s.Index)
	}
	values := make([]string, len(s.Keys))
	for i, kv := range s.Keys {
		values[i] = kv.text()
	}
	return strings.Join(values, ",")
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// String writes the path in the notation that Path describes.
func (p Path) String() string {
	var out strings.Builder
	for i, step := range p {
		switch {
		case step.Any:
			out.WriteString("[*]")
		case len(step.Keys) > 0:
			pairs := make([]string, len(step.Keys))
			for j, kv := range step.Keys {
				pairs[j] = kv.Key + "=" + kv.text()
			}
			out.WriteString("[" + strings.Join(pairs, ",") + "]")
		case step.Name == "":
			out.WriteString("[" + strconv.Itoa(step.Index) + "]")
		case !plainName.MatchString(step.Name):
			out.WriteString("[" + strconv.Quote(step.Name) + "]")
		default:
			if i > 0 {
				out.WriteString(".")
			}
			out.WriteString(step.Name)
		}
	}
	return out.String()
}

// with returns p and one more step; unlike append it never writes into an array that another path shares.
func (p Path) with(step Step) Path {
	return append(slices.Clip(p), step)
}

var (
	bareStep  = regexp.MustCompile(`^\.?([A-Za-z0-9_-]+)`)
	anyStep   = regexp.MustCompile(`^\[\*\]`)
	indexStep = regexp.MustCompile(`^\[([0-9]+)\]`)
	keysStart = regexp.MustCompile(`^\[[A-Za-z0-9_.-]+=`)
	keyValue  = regexp.MustCompile(`^[\[,]([A-Za-z0-9_.-]+)=("(?:[^"\\]|\\.)*"|[^\],"]*)`)
)

// ParsePath reads the notation that Path describes.
func ParsePath(text string) (Path, error) {
	var path Path
	rest := text
	for rest != "" {
		switch {
		case anyStep.MatchString(rest):
			path = append(path, Step{Any: true})
			rest = rest[len("[*]"):]
		case indexStep.MatchString(rest):
			m := indexStep.FindStringSubmatch(rest)
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return nil, fmt.Errorf("field path %q: index %s: %w", text, m[1], err)
			}
			path = append(path, Step{Index: n})
			rest = rest[len(m[0]):]
		case strings.HasPrefix(rest, `["`):
			quoted, err := strconv.QuotedPrefix(rest[1:])
			if err != nil || !strings.HasPrefix(rest[1+len(quoted):], "]") {
				return nil, fmt.Errorf("field path %q: unfinished name at %q", text, rest)
			}
			name, err := strconv.Unquote(quoted)
			if err != nil || name == "" {
				return nil, fmt.Errorf("field path %q: bad name %s", text, quoted)
			}
			path = append(path, Step{Name: name})
			rest = rest[len(quoted)+2:]
		case keysStart.MatchString(rest):
			keys, after, ok := parseKeys(rest)
			if !ok {
				return nil, fmt.Errorf("field path %q: unfinished list item at %q", text, rest)
			}
			path = append(path, Step{Keys: keys})
			rest = after
		case bareStep.MatchString(rest) && (len(path) > 0) == strings.HasPrefix(rest, "."):
			m := bareStep.FindStringSubmatch(rest)
			path = append(path, Step{Name: m[1]})
			rest = rest[len(m[0]):]
		default:
			return nil, fmt.Errorf("field path %q: cannot read %q (write names with dots, list items as [name=x], [0] or [*], other names as [\"a/b\"])", text, rest)
		}
	}
	if len(path) == 0 {
		return nil, fmt.Errorf("field path is empty")
	}
	return path, nil
}

// parseKeys reads [name=driver] or [port=80,protocol=TCP] and returns the text after it.
func parseKeys(text string) (keys []KeyValue, after string, ok bool) {
	for m := keyValue.FindStringSubmatch(text); m != nil; m = keyValue.FindStringSubmatch(text) {
		value := m[2]
		if strings.HasPrefix(value, `"`) {
			var err error
			if value, err = strconv.Unquote(value); err != nil {
				return nil, "", false
			}
		}
		keys = append(keys, KeyValue{m[1], value})
		text = text[len(m[0]):]
	}
	after, closed := strings.CutPrefix(text, "]")
	return keys, after, closed
}

// Under reports whether a path is one that a pattern names, or below it.
func (p Path) Under(pattern Path) bool {
	if len(p) < len(pattern) {
		return false
	}
	for i, step := range pattern {
		isItem := p[i].Name == ""
		if step.Any || step.Name != "" && step.Name == p[i].Name || step.Name == "" && isItem && step.values() == p[i].values() {
			continue
		}
		return false
	}
	return true
}

// Field is one value that a pattern found in an object.
type Field struct {
	Path  Path // concrete: no [*]
	Value any
	set   func(any)
}

// Set replaces the value in the object in which it was found.
func (f Field) Set(value any) { f.set(value) }

// Find returns the values in an object that match a pattern, in the order of the lists that hold them. The object's
// own maps and lists are returned, not copies.
func Find(obj map[string]any, pattern Path) []Field {
	var found []Field
	find(obj, pattern, nil, nil, &found)
	return found
}

func find(value any, pattern, at Path, set func(any), found *[]Field) {
	if len(pattern) == 0 {
		*found = append(*found, Field{Path: at, Value: value, set: set})
		return
	}
	step, rest := pattern[0], pattern[1:]
	switch node := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(node) {
			if step.Any || (step.Name != "" && step.Name == key) {
				find(node[key], rest, at.with(Step{Name: key}), func(v any) { node[key] = v }, found)
			}
		}
	case []any:
		for i, item := range node {
			if step.Any || step.matches(item, i) {
				find(item, rest, at.with(itemStep(node, i, nil)), func(v any) { node[i] = v }, found)
			}
		}
	}
}

func (s Step) matches(item any, index int) bool {
	if len(s.Keys) == 0 {
		return s.Name == "" && s.Index == index
	}
	fields, ok := item.(map[string]any)
	if !ok {
		return false
	}
	for _, kv := range s.Keys {
		if got, ok := fields[kv.Key]; !ok || fmt.Sprint(got) != kv.Value {
			return false
		}
	}
	return true
}

// itemStep names the i-th item of a list: by the identifying fields that the API server uses (keys, from managed
// fields), else by a name that is unique in the list, else by its index.
func itemStep(list []any, i int, keys []string) Step {
	if len(keys) == 0 && uniquelyNamed(list) {
		keys = []string{"name"}
	}
	item, ok := list[i].(map[string]any)
	if !ok || len(keys) == 0 {
		return Step{Index: i}
	}
	step := Step{}
	for _, key := range keys {
		if value, ok := item[key]; ok {
			step.Keys = append(step.Keys, KeyValue{key, fmt.Sprint(value)})
		}
	}
	if len(step.Keys) == 0 {
		return Step{Index: i}
	}
	return step
}

func uniquelyNamed(list []any) bool {
	seen := map[string]bool{}
	for _, item := range list {
		fields, ok := item.(map[string]any)
		if !ok {
			return false
		}
		name, ok := fields["name"].(string)
		if !ok || name == "" || seen[name] || strings.ContainsAny(name, "[],=") {
			return false
		}
		seen[name] = true
	}
	return len(list) > 0
}
