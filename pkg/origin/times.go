package origin

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/render"
	"github.com/syncerdev/syncer/pkg/yamltext"
)

// Warnings returns a line for each object with a value that arrives in another form than in git: a date or a time
// without quotes. YAML takes it for a time, and kustomize writes it out in full, as `2024-01-02T00:00:00Z` for
// `2024-01-02`. The set and the read set are the results of BuildReading for the overlay of the same files.
func Warnings(files fs.FS, overlay string, set manifest.Set, reads render.ReadSet) []string {
	if !slices.ContainsFunc(set, holdsTime) {
		return nil
	}
	written := timesIn(files, reads.Files())
	if len(written.byValue) == 0 {
		return nil
	}
	var origins *Index
	var warnings []string
	for _, obj := range set {
		var changed []changedTime
		for _, field := range manifest.Leaves(obj.Object) {
			text, _ := field.Value.(string)
			if len(written.byValue[text]) == 0 {
				continue
			}
			if origins == nil {
				origins = New(files, overlay) // two more builds, which few overlays need
			}
			if at, ok := written.at(origins, manifest.IDOf(obj), field.Path, text); ok {
				changed = append(changed, changedTime{field.Path, text, at})
			}
		}
		if len(changed) > 0 {
			warnings = append(warnings, warnOfTimes(manifest.IDOf(obj), changed))
		}
	}
	return warnings
}

// renderedTime is the form in which a time is rendered.
var renderedTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$`)

func holdsTime(obj *unstructured.Unstructured) bool { return timeBelow(obj.Object) }

func timeBelow(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		for _, below := range value {
			if timeBelow(below) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, timeBelow)
	case string:
		return len(value) <= len(time.RFC3339Nano) && renderedTime.MatchString(value)
	}
	return false
}

// changedTime is a field with a time that git has in another form.
type changedTime struct {
	path manifest.Path
	text string // in its rendered form
	at   writtenTime
}

const placesInWarning = 3

func warnOfTimes(id manifest.ID, changed []changedTime) string {
	first := changed[0]
	text := fmt.Sprintf("%s: %s: %s without quotes is a time in YAML and arrives as %s; quote it (%s:%d", id, first.path, first.at.text, first.text, first.at.place.File, first.at.place.Line)
	if id.Kind == "Secret" && id.GroupKind().Group == "" {
		text = fmt.Sprintf("%s: %s: a value without quotes is a time in YAML and arrives in another form; quote it (%s:%d", id, first.path, first.at.place.File, first.at.place.Line)
	}
	for i, more := range changed[1:] {
		if i == placesInWarning-1 {
			text += fmt.Sprintf(", and %d more", len(changed)-placesInWarning)
			break
		}
		text += fmt.Sprintf(", %s at %s:%d", more.path, more.at.place.File, more.at.place.Line)
	}
	return text + ")"
}

// writtenTime is a time in a file that is rendered in another form than it is written in.
type writtenTime struct {
	place          Place
	text, rendered string
}

// writtenTimes are the times of the files of an overlay.
type writtenTimes struct {
	byValue map[string][]writtenTime // by the rendered form
	byPlace map[Place][]writtenTime  // by its own line and by the line of its key
}

// at is where a rendered time is written, if it is written in another form.
func (w *writtenTimes) at(origins *Index, id manifest.ID, field manifest.Path, value string) (writtenTime, bool) {
	if obj := origins.objects[id.Key()]; obj != nil {
		if place, ok := origins.field(obj, field, nil); ok {
			for _, found := range w.byPlace[place] {
				if found.rendered == value {
					return found, true
				}
			}
			return writtenTime{}, false // it is written there as it is rendered
		}
	}
	return w.byValue[value][0], true
}

// timeAhead matches a text that may hold a time without quotes.
var timeAhead = regexp.MustCompile(`(?:^|[\s:,\[{>-])\d{4}-\d\d?-\d\d?`)

func timesIn(files fs.FS, names []string) *writtenTimes {
	w := &writtenTimes{byValue: map[string][]writtenTime{}, byPlace: map[Place][]writtenTime{}}
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil || !timeAhead.Match(data) {
			continue
		}
		docs, err := yamltext.Documents(name, data)
		if err != nil {
			continue // not YAML: data of a generator
		}
		text := textOfTimes{found: w, patches: slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(name))}
		text.place = func(node *yaml.Node) Place { return Place{name, node.Line} }
		for _, doc := range docs {
			text.scan(doc, doc, 0)
		}
	}
	return w
}

// textOfTimes is one YAML text that is looked through for times.
type textOfTimes struct {
	found   *writtenTimes
	place   func(*yaml.Node) Place
	patches bool // texts in it may be patches
}

// scan notes the times in a node; from is the node where a reader sees it begin. The target of an alias is scanned at its
// own place.
func (t textOfTimes) scan(node, from *yaml.Node, depth int) {
	if depth > deepestCopy {
		return
	}
	value := node
	if node.Kind == yaml.AliasNode {
		if value = yamltext.Resolve(node); value.Kind != yaml.ScalarNode {
			return
		}
	}
	switch value.Kind {
	case yaml.MappingNode:
		for i := 1; i < len(value.Content); i += 2 {
			t.scan(value.Content[i], value.Content[i-1], depth+1)
		}
	case yaml.ScalarNode:
		if value.ShortTag() == "!!timestamp" {
			t.note(value, node, from)
		} else if t.patches && timeAhead.MatchString(value.Value) {
			t.patch(value, depth)
		}
	default:
		for _, item := range value.Content {
			t.scan(item, item, depth+1)
		}
	}
}

func (t textOfTimes) note(value, node, from *yaml.Node) {
	var at time.Time
	if value.Decode(&at) != nil {
		return
	}
	rendered, ok := asRendered(at)
	if !ok || rendered == value.Value {
		return
	}
	found := writtenTime{t.place(node), value.Value, rendered}
	t.found.byValue[rendered] = append(t.found.byValue[rendered], found)
	for _, place := range []Place{found.place, t.place(from)} {
		t.found.byPlace[place] = append(t.found.byPlace[place], found)
	}
}

// patch scans a text that may be a patch. Only a literal block has its lines where the file has them.
func (t textOfTimes) patch(node *yaml.Node, depth int) {
	docs, err := yamltext.Documents("", []byte(node.Value))
	if err != nil {
		return
	}
	inner := textOfTimes{found: t.found, place: func(below *yaml.Node) Place {
		at := t.place(node)
		if node.Style&yaml.LiteralStyle != 0 {
			at.Line += below.Line
		}
		return at
	}}
	for _, doc := range docs {
		if doc.Kind != yaml.ScalarNode {
			inner.scan(doc, doc, depth+1)
		}
	}
}

// asRendered is the form in which kustomize writes a time.
func asRendered(at time.Time) (string, bool) {
	data, err := at.MarshalJSON()
	return strings.Trim(string(data), `"`), err == nil
}
