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

// Unsafe reports whether a character does something other than to stand there: controls, the marks that turn the
// direction of the text around it (Unicode Technical Report 36), and those that show nothing.
func Unsafe(r rune) bool {
	return unicode.IsControl(r) || r == 0xfffe || r == 0xffff || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 ||
		r == 0x61c || r == 0x200b || r == 0x200e || r == 0x200f || r == 0xfeff
}
