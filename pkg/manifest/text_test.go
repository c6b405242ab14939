package manifest

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCut(t *testing.T) {
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"short", 10, "short"},
		{"just right", 10, "just right"},
		{"one too many", 11, "one too ..."},
		{"ééééé", 8, "éé..."}, // not within a character
		{"Jos\xe9", 20, "Jos\ufffd"},
		{strings.Repeat("x", 2<<20), 6, "xxx..."},
	} {
		if got := Cut(c.text, c.most); got != c.want || !utf8.ValidString(got) {
			t.Errorf("%.20q, %d: got %q, want %q", c.text, c.most, got, c.want)
		}
	}
}

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"Raise the memory": "Raise the memory",
		"\x1b]0;owned\a":   `\u001b]0;owned\u0007`,
		"\u009b31mred":     `\u009b31mred`, // C1 controls
		"a\nb\rc\td":       `a\u000ab\u000dc\u0009d`,
		"user\u202etxt":    `user\u202etxt`,
		"\x9b31m":          "\ufffd31m", // a terminal with an 8-bit encoding acts on it
		"Größe 表 😀":        "Größe 表 😀",
	} {
		if got := Visible(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
