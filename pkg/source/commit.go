package source

import (
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/object"
)

func describe(c *object.Commit) Commit {
	message := strings.ToValidUTF8(strings.TrimRight(c.Message, "\n"), "\uFFFD")
	return Commit{
		Hash:    c.Hash.String(),
		Author:  cut(strings.ToValidUTF8(c.Author.Name+" <"+c.Author.Email+">", "\uFFFD")),
		Subject: cut(subject(message)),
		Message: message,
		Time:    c.Committer.When.Round(0).Truncate(time.Second),
	}
}

// subject is the first paragraph on one line, as git log's %s.
func subject(message string) string {
	var lines []string
	for line := range strings.Lines(strings.TrimLeft(message, "\n")) {
		line = strings.TrimSpace(line)
		if line == "" {
			break
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, " ")
}

// longestLine is the most of an author or a subject that leaves this room, in bytes: a commit may have one of megabytes, and
// every page, log line and record would carry it.
const longestLine = 1000

func cut(line string) string {
	if len(line) <= longestLine {
		return line
	}
	return strings.ToValidUTF8(line[:longestLine-len("...")], "") + "..."
}
