// Package docs_test holds the pages to each other: links lead to what is there, and the index has every page.
package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository.
const root = ".."

// published is where the repository's files are for readers outside of it, such as those of an alert.
const published = "https://github.com/syncerdev/syncer/blob/main/"

var (
	aLink      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	aPublished = regexp.MustCompile(regexp.QuoteMeta(published) + `[^\s)"']+`)
	notInSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	inCode     = regexp.MustCompile("`[^`]*`")
)

// TestLinks follows every link from one file of the repository to another, with its anchor.
func TestLinks(t *testing.T) {
	followed := 0
	for file, text := range texts(t) {
		for _, link := range links(file, text) {
			followed++
			if problem := follow(file, link); problem != "" {
				t.Errorf("%s: %s: %s", file, link, problem)
			}
		}
	}
	if followed < 100 {
		t.Errorf("%d links were followed; the pages have more", followed)
	}
}

// TestIndex holds docs/README.md to the pages: it links to each of them, and to each decision by their own index.
func TestIndex(t *testing.T) {
	linked := map[string]bool{}
	for _, index := range []string{"docs/README.md", "docs/decisions/README.md"} {
		for _, link := range links(index, read(t, index)) {
			file, _, _ := strings.Cut(link, "#")
			linked[path.Join(path.Dir(index), file)] = true
		}
	}
	for file := range texts(t) {
		if strings.HasPrefix(file, "docs/") && strings.HasSuffix(file, ".md") && file != "docs/README.md" && !linked[file] {
			t.Errorf("docs/README.md does not list %s", file)
		}
	}
}

// TestFollow breaks links on purpose.
func TestFollow(t *testing.T) {
	for link, broken := range map[string]bool{
		"design.md":                     false,
		"design.md#rooms-and-laws":      false,
		"../README.md":                  false,
		"decisions/":                    false,
		published + "docs/design.md":    false,
		"designs.md":                    true,
		"design.md#rooms-and-flaws":     true,
		"#no-heading-of-this-page":      true,
		"../../outside.md":              true,
		published + "docs/design.md#no": true,
	} {
		if problem := follow("docs/design.md", link); (problem != "") != broken {
			t.Errorf("%s: %q", link, problem)
		}
	}
}

// texts are the repository's pages and manifests, by their path from its root. What tools build is passed over.
func texts(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); file != root && (name == "bin" || name == "testdata" || strings.HasPrefix(name, ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if ext := filepath.Ext(file); ext == ".md" || ext == ".yaml" {
			name := strings.TrimPrefix(filepath.ToSlash(file), root+"/")
			out[name] = read(t, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// links are those of a file that lead into the repository.
func links(file, text string) []string {
	out := aPublished.FindAllString(text, -1)
	if path.Ext(file) != ".md" {
		return out
	}
	for _, line := range prose(text) {
		for _, match := range aLink.FindAllStringSubmatch(inCode.ReplaceAllString(line, ""), -1) {
			if !strings.Contains(match[1], "://") && !strings.HasPrefix(match[1], "mailto:") {
				out = append(out, match[1])
			}
		}
	}
	return out
}

// prose is a page without its blocks of code.
func prose(text string) []string {
	var out []string
	code := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
			continue
		}
		if !code {
			out = append(out, strings.TrimSuffix(line, "\n"))
		}
	}
	return out
}

// follow says why a link leads nowhere; empty: it does not.
func follow(from, link string) string {
	target, anchor, _ := strings.Cut(link, "#")
	switch inside, isPublished := strings.CutPrefix(target, published); {
	case isPublished:
		target = inside
	case target == "":
		target = from
	default:
		target = path.Join(path.Dir(from), target)
	}
	if strings.HasPrefix(target, "..") {
		return "it leaves the repository"
	}
	file := filepath.Join(root, filepath.FromSlash(target))
	if _, err := os.Stat(file); err != nil {
		return fmt.Sprintf("there is no %s", target)
	}
	if anchor == "" || path.Ext(target) != ".md" {
		return ""
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	if anchors := anchors(string(text)); !slices.Contains(anchors, anchor) {
		return fmt.Sprintf("%s has no heading for it; it has %s", target, strings.Join(anchors, ", "))
	}
	return ""
}

// anchors are those that code hosts give to the headings of a page.
func anchors(text string) []string {
	var out []string
	times := map[string]int{}
	for _, line := range prose(text) {
		heading := strings.TrimLeft(line, "#")
		if heading == line || !strings.HasPrefix(heading, " ") {
			continue
		}
		slug := strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), ""), " ", "-")
		if n := times[slug]; n > 0 {
			out = append(out, fmt.Sprintf("%s-%d", slug, n))
		} else {
			out = append(out, slug)
		}
		times[slug]++
	}
	return out
}
