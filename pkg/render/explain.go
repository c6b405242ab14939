package render

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/syncerdev/syncer/pkg/yamltext"
)

// kustomize tries each resource first as a file and then as a folder, and its errors hold both, around the cause.
var (
	folderAsFile = regexp.MustCompile(`accumulation err='accumulating resources from '[^']*': [^']* is a folder': `)
	inFolder     = regexp.MustCompile(`^(?:accumulating resources: |accumulating components: |recursed (?:accumulation of|merging from) path '/([^']*)': )`)
	fileAsFolder = regexp.MustCompile(`^accumulation err='(?:accumulating|merging) resources from '([^']*)': (.*)': must build at directory: .*$`)
	inFile       = regexp.MustCompile(`^(?:accumulating|merging) resources from '([^']*)': `)
	pointer      = regexp.MustCompile(` ?&\{0x[^}]*\}`) // differs from run to run
)

// quoted lists the places where kustomize quotes its input, which may be a Secret.
var quoted = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile("trouble configuring builtin (\\w+) with config: `.*`: "), "$1: "},
	{regexp.MustCompile(`\[patch: .*\]`), "an inline patch"},
	{regexp.MustCompile(` in object .*?(': must build at directory: .*|$)`), "$1"},
	{regexp.MustCompile(`invalid literal source .*, expected`), "a literal is not"},
	{regexp.MustCompile(`literal sources \[.*\]: `), "literal sources: "},
	{regexp.MustCompile(`invalid utf8 bytes : .*`), "invalid utf8 bytes"},
	{regexp.MustCompile(`: node contents: .*?(': must build at directory: .*|$)`), "$1"},
	{regexp.MustCompile(`(options\.index \S+ is out of bounds) for value .*?(': must build at directory: .*|$)`), "$1$2"},
}

// explain reduces an error of kustomize to the file or folder it happened in, and the cause.
func (r *repository) explain(overlay string, err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if r.nameless != nil && strings.Contains(text, "missing metadata.name") {
		return r.nameless
	}
	if strings.Contains(text, "MalformedYAMLError") || strings.Contains(text, "unable to parse SM or JSON patch") {
		if err := r.malformed(); err != nil {
			return err
		}
	}
	for _, q := range quoted {
		text = q.pattern.ReplaceAllString(text, q.instead)
	}
	text = folderAsFile.ReplaceAllString(text, "")
	text = pointer.ReplaceAllString(text, "")
	overlay = RealFolder(r.files, overlay)
	folder := overlay
	for m := inFolder.FindStringSubmatch(text); m != nil; m = inFolder.FindStringSubmatch(text) {
		text = text[len(m[0]):]
		if m[1] != "" {
			folder = m[1]
		}
	}
	if m := fileAsFolder.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s: %s", path.Join(folder, m[1]), m[2])
	}
	if m := inFile.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s: %s", path.Join(folder, m[1]), text[len(m[0]):])
	}
	if folder != overlay {
		return fmt.Errorf("%s: %s", folder, text)
	}
	return errors.New(text)
}

// malformed finds the place where the file that was read last is not YAML. kustomize counts lines from the start of a document
// and names a file by the path that some kustomization gives it.
func (r *repository) malformed() error {
	data, err := fs.ReadFile(r.files, r.last)
	if err != nil {
		return nil // kustomize's own error is the one to show
	}
	_, err = yamltext.Documents(r.last, data)
	return err
}
