package main

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// canaryMark stands in every value that may not be shown.
const canaryMark = "canaryvalue"

// canaryForms match the mark as it is and as base64 at each of the three places where it may begin, hexadecimal, and
// escaped as in a URL.
var canaryForms = canaryPattern(canaryMark)

func canaryPattern(mark string) *regexp.Regexp {
	forms := []string{"(?i:" + mark + ")", "(?i:" + hex.EncodeToString([]byte(mark)) + ")", regexp.QuoteMeta(url.QueryEscape(mark + "-"))}
	for before := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + mark))
		// The first and the last characters depend on what stands beside the mark.
		forms = append(forms, regexp.QuoteMeta(strings.TrimRight(encoded, "=")[(before*8+5)/6:len(encoded)-4]))
	}
	return regexp.MustCompile(strings.Join(forms, "|"))
}

// clean FILE fails where a text shows a canary, and where it is empty: then it proves nothing. stderr may be empty.
func clean(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: clean FILE")
	}
	text := ts.ReadFile(args[0])
	if text == "" && args[0] != "stderr" {
		ts.Fatalf("%s is empty", args[0])
	}
	const around = 120
	for _, at := range canaryForms.FindAllStringIndex(text, -1) {
		ts.Logf("%s shows a canary: ...%s...", args[0], text[max(0, at[0]-around):min(len(text), at[1]+around)])
	}
	if canaryForms.MatchString(text) {
		ts.Fatalf("%s is not clean", args[0])
	}
}

func TestCanariesAreSeenInEveryForm(t *testing.T) {
	for before := range 4 {
		text := strings.Repeat("a", before) + canaryMark + "-1"
		for _, form := range []string{text, base64.StdEncoding.EncodeToString([]byte(text)), hex.EncodeToString([]byte(text)), url.QueryEscape(text), strings.ToUpper(text)} {
			if !canaryForms.MatchString("before " + form + " after") {
				t.Errorf("%q is not seen", form)
			}
		}
	}
}
