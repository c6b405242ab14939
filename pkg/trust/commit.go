package trust

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Commit is a commit object, with what was signed and the signature over it.
type Commit struct {
	Author    string // Name <mail>
	Committer string
	Date      time.Time // of the committer, who can write any
	Message   string

	payload   []byte // the object without its signature
	signature []byte
	broken    string // why its signature says nothing; empty: it may
}

const (
	// longestSignature bounds what a signature library is given: signatures have some hundred bytes, or some thousand with
	// a certificate.
	longestSignature = 64 << 10
	longestName      = 200
)

// ReadCommit reads the content of a commit object as git keeps it. It accepts only the form that git writes: a signature counts
// for the bytes, and readers that accept more forms than git could read something else in them.
func ReadCommit(raw []byte) Commit {
	c := Commit{}
	headers, message, ok := bytes.Cut(raw, []byte("\n\n"))
	if !ok {
		headers, message = bytes.TrimSuffix(raw, []byte("\n")), nil
	}
	c.Message = strings.ToValidUTF8(string(message), "\uFFFD")
	payload := make([]byte, 0, len(raw))
	signatures, seen, last := 0, map[string]int{}, ""
	for line := range bytes.SplitSeq(headers, []byte("\n")) {
		if continued, ok := bytes.CutPrefix(line, []byte(" ")); ok {
			if last == "gpgsig" {
				c.signature = append(append(c.signature, continued...), '\n')
			} else {
				payload = append(append(payload, line...), '\n')
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(" "))
		last = string(name)
		seen[last]++
		switch last {
		case "gpgsig":
			signatures++
			c.signature = append(append(c.signature, value...), '\n')
			continue
		case "author":
			c.Author, _ = person(value)
		case "committer":
			c.Committer, c.Date = person(value)
		}
		payload = append(append(payload, line...), '\n')
	}
	c.payload = append(payload, raw[min(len(headers)+1, len(raw)):]...)
	c.broken = fault(headers, seen, c.signature)
	return c
}

// fault says why the headers of a commit are not of the form that git writes; empty: they are.
func fault(headers []byte, seen map[string]int, signature []byte) string {
	for _, name := range []string{"tree", "author", "committer"} {
		if seen[name] != 1 {
			return fmt.Sprintf("it has %d headers %q, and git writes one", seen[name], name)
		}
	}
	switch {
	case seen["gpgsig"] > 1:
		return fmt.Sprintf("it has %d signatures, and git writes one", seen["gpgsig"])
	case seen["gpgsig-sha256"] > 0:
		return "it has a signature for a repository of another object format"
	case bytes.ContainsRune(headers, 0):
		return "its headers have a null byte"
	case bytes.ContainsRune(signature, '\r'):
		return "its signature has carriage returns, which git does not write"
	case len(signature) > longestSignature:
		return fmt.Sprintf("its signature has %d bytes", len(signature))
	}
	return ""
}

// person reads `Name <mail> seconds zone`.
func person(value []byte) (who string, when time.Time) {
	text := strings.ToValidUTF8(string(value), "\uFFFD")
	end := strings.LastIndexByte(text, '>')
	if end < 0 {
		return cut(text), time.Time{}
	}
	if fields := strings.Fields(text[end+1:]); len(fields) > 0 {
		if seconds, err := strconv.ParseInt(fields[0], 10, 64); err == nil {
			when = time.Unix(seconds, 0).UTC()
		}
	}
	return cut(text[:end+1]), when
}

// cut bounds a name that stands in messages, and removes what could start a line of its own there.
func cut(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, name)
	if len(name) > longestName {
		name = strings.ToValidUTF8(name[:longestName], "") + "..."
	}
	return name
}
