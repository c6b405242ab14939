package image

import (
	"cmp"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// span is a reference in a text.
type span struct {
	value  string // the reference
	before string // the part of the reference that stands elsewhere, such as a repository on its own line
	offset int    // of the other part, in bytes
	err    error  // why it cannot be replaced where it stands
}

func (s span) end() int { return s.offset + len(s.value) - len(s.before) }

// placesAt turns the spans of a field's text into places. Each replaces its own bytes alone.
func placesAt(text string, spans []span, field manifest.Field) []place {
	places := make([]place, len(spans))
	for n := range spans {
		at := &spans[n]
		places[n] = place{value: at.value, err: at.err, set: func(pinned string) {
			written := strings.TrimPrefix(pinned, at.before)
			grown := len(pinned) - len(at.value)
			text = text[:at.offset] + written + text[at.end():]
			for later := range spans {
				if spans[later].offset > at.offset {
					spans[later].offset += grown
				}
			}
			at.value = pinned
			field.Set(text)
		}}
	}
	return places
}

// apart sorts spans and drops each span that overlaps an earlier one.
func apart(spans []span) []span {
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.offset, b.offset) })
	end := 0
	return slices.DeleteFunc(spans, func(s span) bool {
		if s.offset < end {
			return true
		}
		end = s.end()
		return false
	})
}
