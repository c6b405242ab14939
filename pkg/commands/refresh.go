package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/target"
)

// Refresh is the commit that looks one reference up again.
type Refresh struct {
	File    string // pipeline.yaml, in the repository
	Before  string // its content; "" where there is none
	After   string
	Subject string
}

// Refresh gives the change of pipeline.yaml that makes one environment look a reference up again. It writes nothing:
// the change is a commit of the repository, so that reverting it brings the earlier digest back.
func (s *Session) Refresh(ctx context.Context, of v1alpha1.Target, reference string) (Refresh, error) {
	if _, err := s.Config.Select([]string{of.Environment}); err != nil {
		return Refresh{}, err
	}
	snap, err := s.Source.Fetch(ctx)
	if err != nil {
		return Refresh{}, err
	}
	pipelines, err := s.Planner.Discover(snap)
	if err != nil {
		return Refresh{}, err
	}
	pipeline := find(pipelines, of.Pipeline)
	if pipeline == nil || pipeline.Overlays[of.Environment] == "" {
		return Refresh{}, fmt.Errorf("commit %.8s has no overlay of pipeline %q for %s", snap.Commit, of.Pipeline, of.Environment)
	}
	environments, err := s.Config.Select([]string{of.Environment})
	if err != nil {
		return Refresh{}, err
	}
	d := s.Planner.Desired(pipeline, environments[0], snap)
	d.Render()
	if d.Err != nil {
		return Refresh{}, d.Err
	}
	if tags := image.Tags(d.Rendered.Refs); !slices.Contains(tags, reference) {
		return Refresh{}, fmt.Errorf("%s does not use %s by a tag; it uses %s", of, reference, strings.Join(tags, ", "))
	}
	out := Refresh{
		File:    path.Join(pipeline.Folders[of.Environment], target.SettingsFile),
		Subject: fmt.Sprintf("Refresh the digest of %s in %s", reference, of.Environment),
	}
	before, err := fs.ReadFile(snap.Files, out.File)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Refresh{}, err
	}
	out.Before = string(before)
	out.After, err = refreshed(before, of.Environment, reference, newText(s.Reconciler.Dates.Date(), d.Settings.Images.Refresh[reference]))
	return out, err
}

// newText is a text that no refresh had before: the time, and a later one where the clock stands or went back. An
// earlier text would be a return to its pin, and no refresh.
func newText(now time.Time, before string) string {
	if last, err := time.Parse(time.RFC3339, before); err == nil && !now.After(last) {
		now = last.Add(1)
	}
	return now.UTC().Format(time.RFC3339Nano)
}

// refreshed sets environments.ENVIRONMENT.images.refresh.REFERENCE in a pipeline.yaml. It writes a line or a few where
// that says it, and the whole file anew where it does not, as in {flow: style}.
func refreshed(before []byte, environment, reference, value string) (string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(before, &doc); err != nil {
		return "", err
	}
	if len(doc.Content) == 0 { // nothing, or comments
		if len(before) > 0 && !bytes.HasSuffix(before, []byte("\n")) {
			before = append(before, '\n')
		}
		before = append(before, "apiVersion: "+v1alpha1.APIVersion+"\nkind: Pipeline\n"...)
		if err := yaml.Unmarshal(before, &doc); err != nil {
			return "", err
		}
	}
	if doc.Content[0].Kind != yaml.MappingNode {
		return "", errors.New("the document is not a map")
	}
	keys := []string{"environments", environment, "images", "refresh", reference}
	line := insertion(string(before), doc.Content[0], keys, value)
	if err := setBelow(doc.Content[0], keys, value); err != nil {
		return "", err
	}
	whole, err := encode(&doc)
	if err != nil || sameYAML(line, whole) {
		return line, err
	}
	return whole, nil
}

func encode(node *yaml.Node) (string, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	err := encoder.Encode(node)
	return out.String(), err
}

func sameYAML(a, b string) bool {
	var left, right any
	return yaml.Unmarshal([]byte(a), &left) == nil && yaml.Unmarshal([]byte(b), &right) == nil && reflect.DeepEqual(left, right)
}

// insertion is a text in which the keys that are not there follow the line of the last one that is, or the end of the
// text. What it gives may say something else in some style of writing; sameYAML tells.
func insertion(text string, node *yaml.Node, keys []string, value string) string {
	all := lines(text)
	at, indent := len(all), 0
	for len(keys) > 0 {
		key, below := childOf(node, keys[0])
		if key == nil {
			break
		}
		if max(key.Line, below.Line) > len(all) { // a lone carriage return ends a line for yaml
			return ""
		}
		if len(keys) == 1 {
			all[below.Line-1] = replaced(all[below.Line-1], below, value)
			return strings.Join(all, "")
		}
		at, indent = key.Line, key.Column+1
		if len(below.Content) > 0 {
			indent = below.Content[0].Column - 1
		}
		node, keys = below, keys[1:]
	}
	end := "\n"
	if strings.HasSuffix(all[0], "\r\n") {
		end = "\r\n" // the lines of a file end in one way
	}
	head := strings.Join(all[:at], "")
	if !strings.HasSuffix(head, "\n") {
		head += end
	}
	added := indented(strings.Repeat(" ", indent), keys, value)
	return head + strings.ReplaceAll(added, "\n", end) + strings.Join(all[at:], "")
}

// replaced is a line in which another value stands in a node's place, with what follows it, such as a comment.
func replaced(line string, node *yaml.Node, value string) string {
	characters := []rune(line)
	if node.Column > len(characters) {
		return ""
	}
	head, tail := string(characters[:node.Column-1]), string(characters[node.Column-1:])
	for _, written := range []string{strconv.Quote(node.Value), "'" + node.Value + "'", node.Value} {
		if rest, ok := strings.CutPrefix(tail, written); ok {
			return head + strconv.Quote(value) + rest
		}
	}
	return ""
}

// indented writes keys, each below the one before, and a value.
func indented(indent string, keys []string, value string) string {
	root := &yaml.Node{Kind: yaml.MappingNode}
	if setBelow(root, keys, value) != nil {
		return ""
	}
	text, err := encode(root)
	if err != nil {
		return ""
	}
	return indent + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+indent) + "\n"
}

// setBelow sets the value that a path of keys leads to, and makes the maps that are not there.
func setBelow(node *yaml.Node, keys []string, value string) error {
	key, below := childOf(node, keys[0])
	if key == nil {
		key, below = &yaml.Node{Kind: yaml.ScalarNode, Value: keys[0]}, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
		node.Content = append(node.Content, key, below)
	}
	if len(keys) == 1 {
		*below = yaml.Node{Kind: yaml.ScalarNode, Value: value, Tag: "!!str", Style: yaml.DoubleQuotedStyle, LineComment: below.LineComment}
		return nil
	}
	if below.ShortTag() == "!!null" { // a key without a value
		*below = yaml.Node{Kind: yaml.MappingNode}
	}
	if below.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s is no map; write it out, since syncer cannot add to it", key.Line, key.Value)
	}
	return setBelow(below, keys[1:], value)
}

// childOf returns a key of a map and its value; nil where there is none.
func childOf(node *yaml.Node, key string) (at, value *yaml.Node) {
	for i := 0; i+1 < len(node.Content) && node.Kind == yaml.MappingNode; i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i], node.Content[i+1]
		}
	}
	return nil, nil
}

// Patch is the change as a mail that `git am` makes a commit of.
func (r Refresh) Patch(author string, now time.Time) string {
	var out, body strings.Builder
	fmt.Fprintf(&out, "From %s Mon Sep 17 00:00:00 2001\n", strings.Repeat("0", 40)) // the magic date of git format-patch
	fmt.Fprintf(&out, "From: %s\nDate: %s\nSubject: [PATCH] %s\n", author, now.Format(time.RFC1123Z), r.Subject)
	before, after := lines(r.Before), lines(r.After)
	fmt.Fprintf(&body, "---\ndiff --git a/%s b/%s\n", r.File, r.File)
	if len(before) == 0 {
		fmt.Fprintf(&body, "new file mode 100644\n--- /dev/null\n+++ b/%s\n", r.File)
	} else {
		fmt.Fprintf(&body, "--- a/%s\n+++ b/%s\n", r.File, r.File)
	}
	hunk(&body, before, after)
	body.WriteString("-- \nsyncer\n")
	if strings.Contains(body.String(), "\r") {
		out.WriteString("MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: quoted-printable\n\n")
		out.WriteString(quotedPrintable(body.String()))
		return out.String()
	}
	return out.String() + "\n" + body.String()
}

// quotedPrintable writes carriage returns so that `git am` keeps them: it takes those of a plain mail for the mail's.
func quotedPrintable(text string) string {
	var out strings.Builder
	for i := range len(text) {
		if b := text[i]; b == '\n' || b >= ' ' && b < 0x7f && b != '=' {
			out.WriteByte(b)
		} else {
			fmt.Fprintf(&out, "=%02X", b)
		}
	}
	return out.String()
}

// lines cuts a text after each line break.
func lines(text string) []string {
	return slices.Collect(strings.Lines(text))
}

// contextLines is how many unchanged lines a hunk shows on both sides, as diff -u does.
const contextLines = 3

// hunk writes the lines that differ as one hunk.
func hunk(out *strings.Builder, before, after []string) {
	head := 0
	for head < len(before) && head < len(after) && before[head] == after[head] {
		head++
	}
	tail := 0
	for tail < len(before)-head && tail < len(after)-head && before[len(before)-1-tail] == after[len(after)-1-tail] {
		tail++
	}
	from := max(0, head-contextLines)
	end := min(tail, contextLines)
	removed, added := before[head:len(before)-tail], after[head:len(after)-tail]
	start := from + 1
	if len(before) == 0 {
		start = 0
	}
	fmt.Fprintf(out, "@@ -%d,%d +%d,%d @@\n", start, head-from+len(removed)+end, from+1, head-from+len(added)+end)
	write := func(prefix string, lines []string) {
		for _, line := range lines {
			out.WriteString(prefix + line)
			if !strings.HasSuffix(line, "\n") {
				out.WriteString("\n\\ No newline at end of file\n")
			}
		}
	}
	write(" ", before[from:head])
	write("-", removed)
	write("+", added)
	write(" ", before[len(before)-tail:len(before)-tail+end])
}
