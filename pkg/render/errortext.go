package render

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// shortError is an error whose text is cut. The errors in it are as they were.
type shortError struct {
	text string
	err  error
}

func (e *shortError) Error() string { return e.text }

func (e *shortError) Unwrap() error { return e.err }

// shorten cuts the text of an error that is longer than the limit: kustomize puts errors into errors, and quotes lists.
func (l Limits) shorten(err error) error {
	text := err.Error()
	if int64(len(text)) <= l.ErrorBytes {
		return err
	}
	lines := strings.Split(text, "\n")
	kept, size := 0, int64(0)
	for kept < len(lines) && size+int64(len(lines[kept]))+1 <= l.ErrorBytes {
		size += int64(len(lines[kept])) + 1
		kept++
	}
	if kept > 0 {
		return &shortError{fmt.Sprintf("%s\nand %d more", strings.Join(lines[:kept], "\n"), len(lines)-kept), err}
	}
	end := int(l.ErrorBytes)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return &shortError{fmt.Sprintf("%s … and %d bytes more", text[:end], len(text)-end), err}
}
