package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// CheckYAML refuses a YAML text that a few bytes make large: aliases that stand for aliases, and maps and lists in each
// other. It does so on the parsed nodes, before anything decodes them. A text that is no YAML is for its reader to refuse.
func (l Limits) CheckYAML(file string, data []byte) error {
	l = l.OrDefaults()
	if !l.mayExceed(data) {
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		switch err := decoder.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && strings.Contains(err.Error(), "exceeded max depth"):
			return l.tooDeep(file, 0)
		case err != nil:
			return nil
		}
		if err := l.checkDocument(file, &doc); err != nil {
			return err
		}
	}
}

var (
	anchorAhead = regexp.MustCompile(`(?:^|[\s\[{,:?-])&[^\s&]`)
	aliasAhead  = regexp.MustCompile(`(?:^|[\s\[{,:?-])\*[^\s*]`)
)

// mayExceed looks at the bytes of a text. Parsing each file once more would double the cost of reading it.
func (l Limits) mayExceed(data []byte) bool {
	levels := int64(bytes.Count(data, []byte{'['}) + bytes.Count(data, []byte{'{'}) + 2*deepestIndent(data) + 2)
	return levels > l.Nesting || bytes.IndexByte(data, '*') >= 0 && anchorAhead.Match(data) && aliasAhead.Match(data)
}

// deepestIndent is the most columns before the first text of a line. Each level of a block has one at least, but for a list
// below its key.
func deepestIndent(data []byte) int {
	deepest, column, ahead := 0, 0, true
	for _, c := range data {
		switch {
		case c == '\n' || c == '\r':
			column, ahead = 0, true
		case ahead && (c == ' ' || c == '-' || c == '?' || c == '\t' || c == ':'):
			column++
		case ahead:
			deepest, ahead = max(deepest, column), false
		}
	}
	return deepest
}

func (l Limits) checkDocument(file string, doc *yaml.Node) error {
	m := measured{of: map[*yaml.Node]measure{}}
	whole := m.measure(doc)
	switch {
	case m.loop != nil:
		return fmt.Errorf("%s: the alias %q stands for a value that holds it", place(file, m.loop.Line), m.loop.Value)
	case whole.depth > l.Nesting:
		return l.tooDeep(file, doc.Line)
	case whole.values-m.written > l.Aliases:
		return &Limited{
			Place: place(file, m.largest.Line), What: fmt.Sprintf("the aliases of the document stand for %s values", count(whole.values-m.written)),
			Setting: "render.aliases", Limit: fmt.Sprint(l.Aliases),
		}
	}
	return nil
}

func (l Limits) tooDeep(file string, line int) error {
	return &Limited{Place: place(file, line), What: "maps and lists are nested too deeply in this document", Setting: "render.nesting", Limit: fmt.Sprint(l.Nesting)}
}

// place is a line of a file. A text without a file stands in another one.
func place(file string, line int) string {
	switch {
	case line == 0:
		return file
	case file == "":
		return fmt.Sprintf("line %d of the text", line)
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// measure is the size of a value with its aliases written out.
type measure struct{ depth, values int64 }

// manyValues is where counting ends.
const manyValues = 1 << 50

func count(n int64) string {
	if n >= manyValues {
		return fmt.Sprintf("more than %d", int64(manyValues))
	}
	return fmt.Sprint(n)
}

// measured has the sizes of the nodes of a document. It measures each node once, however many aliases stand for it.
type measured struct {
	of      map[*yaml.Node]measure
	written int64      // nodes as they stand
	largest *yaml.Node // the alias that stands for the most
	most    int64
	loop    *yaml.Node // an alias for a value that holds it
}

func (m *measured) measure(node *yaml.Node) measure {
	if node.Kind == yaml.AliasNode {
		size, ended := m.of[node.Alias]
		if !ended || size.depth < 0 {
			m.loop = node
			return measure{1, 1}
		}
		if m.written++; m.largest == nil || size.values > m.most {
			m.largest, m.most = node, size.values
		}
		return size
	}
	m.of[node] = measure{depth: -1} // has not ended
	m.written++
	size := measure{depth: 0, values: 1}
	for _, child := range node.Content {
		below := m.measure(child)
		size.depth, size.values = max(size.depth, below.depth), min(size.values+below.values, manyValues)
	}
	if node.Kind == yaml.MappingNode || node.Kind == yaml.SequenceNode {
		size.depth++
	}
	m.of[node] = size
	return size
}
