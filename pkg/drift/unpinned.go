package drift

import (
	"fmt"
	"strings"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Unpinned is a value that looks like an image reference by tag in a field where syncer does not search for one. If it
// is one, it runs by the tag's current digest.
type Unpinned struct {
	Object    manifest.ID `json:"object"`
	Path      string      `json:"path"`
	Reference string      `json:"reference"`
	// Message says how it is pinned.
	Message string `json:"message"`
}

const unpinnedTitle = "looks like an image, not pinned"

// unpinned lists values that look like images and are not pinned.
func (p *printer) unpinned(targets []Target) {
	titled := false
	for _, t := range targets {
		for i, u := range t.Unpinned {
			if !titled {
				p.title(unpinnedTitle)
				titled = true
			}
			if i == 0 {
				p.line("  ", 2, t.Pipeline+"@"+t.Environment)
			}
			p.line("    ", 6, fmt.Sprintf("%s  %s", u.Object, u.Path))
			p.line(strings.Repeat(" ", 14), 14, u.Reference)
			p.line(strings.Repeat(" ", 14), 14, u.advice())
		}
	}
}

// advice is the message without the words of the title.
func (u Unpinned) advice() string {
	return strings.TrimPrefix(strings.TrimPrefix(u.Message, unpinnedTitle), "; ")
}

func markdownUnpinned(targets []Target) []string {
	var blocks []string
	title := "\n### Looks like an image, not pinned\n\n"
	for _, t := range targets {
		for _, u := range t.Unpinned {
			blocks = append(blocks, title+fmt.Sprintf("- %s: %s at %s of %s: %s\n", escape(t.Pipeline+"@"+t.Environment), code(u.Reference), code(u.Path), code(u.Object.String()), escape(u.advice())))
			title = ""
		}
	}
	return blocks
}

// AnyUnpinned reports whether any target has a value that looks like an image and is not pinned.
func (r Report) AnyUnpinned() bool {
	for _, t := range r.Targets {
		if len(t.Unpinned) > 0 {
			return true
		}
	}
	return false
}
