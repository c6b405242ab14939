package manifest

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ellipsis ends a text that was cut.
const ellipsis = "..."

// Cut returns a text of at most some bytes. A longer text is cut between two characters and ends with an ellipsis. Bytes
// that are no UTF-8 become the replacement character: an API server would store them so.
func Cut(text string, most int) string {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	if len(text) <= most {
		return text
	}
	end := most - len(ellipsis)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + ellipsis
}

// Visible writes the characters that a terminal would act on as JSON does: \u001b for an escape. Bytes that are no UTF-8
// become the replacement character, since a terminal of another encoding may act on them.
func Visible(text string) string {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	if !strings.ContainsFunc(text, Unsafe) {
		return text
	}
	var out strings.Builder
	for _, r := range text {
		if Unsafe(r) {
			fmt.Fprintf(&out, "\\u%04x", r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

// Unsafe reports whether a character does more than show itself: controls, the marks that turn the direction of the
// text around it (Unicode Technical Report 36), and invisible characters.
func Unsafe(r rune) bool {
	return unicode.IsControl(r) || r == 0xfffe || r == 0xffff || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 ||
		r == 0x61c || r == 0x200b || r == 0x200e || r == 0x200f || r == 0xfeff
}

// NamedObjects is the number of objects that a message names.
const NamedObjects = 5

// Shorten joins the parts of a message. It names the first ones and counts the rest, so that a condition stays readable.
func Shorten(parts []string) string {
	if len(parts) > NamedObjects {
		parts = append(parts[:NamedObjects:NamedObjects], fmt.Sprintf("and %d more", len(parts)-NamedObjects))
	}
	return strings.Join(parts, "; ")
}

// Plural counts things by a noun whose plural ends in s: "1 change", "2 changes".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
