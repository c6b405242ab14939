package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// journal writes the actions and the findings, to a stream and to a file.
type journal struct {
	dir   string
	began time.Time

	mu         sync.Mutex
	out        io.Writer
	file       *os.File
	violations []string
}

func openJournal(dir string, out io.Writer) (*journal, error) {
	file, err := os.Create(filepath.Join(dir, "journal.log"))
	if err != nil {
		return nil, err
	}
	return &journal{dir: dir, began: time.Now(), out: out, file: file}, nil
}

func (j *journal) say(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.line(fmt.Sprintf(format, args...))
}

func (j *journal) line(text string) {
	now := time.Now()
	line := fmt.Sprintf("%s %7.1fs  %s\n", now.UTC().Format("15:04:05.000"), now.Sub(j.began).Seconds(), text)
	// A reader of the one has the other.
	_, _ = io.WriteString(j.out, line)
	_, _ = io.WriteString(j.file, line)
}

// violated notes that an invariant was broken, and keeps files that show it. Their names say what they hold.
func (j *journal) violated(invariant, text string, evidence map[string][]byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.violations = append(j.violations, invariant)
	folder := filepath.Join(j.dir, "violations", fmt.Sprintf("%03d-%s", len(j.violations), invariant))
	j.line(fmt.Sprintf("VIOLATED %s: %s (%s)", invariant, text, folder))
	evidence["violation.txt"] = []byte(invariant + ": " + text + "\n")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		j.line(err.Error())
		return
	}
	for name, content := range evidence {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			j.line(err.Error())
		}
	}
}

func (j *journal) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.violations)
}

func (j *journal) close() error { return j.file.Close() }

// verdict is an error when an invariant was broken, and says how often each was.
func (j *journal) verdict(seed uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.violations) == 0 {
		j.line("every invariant held")
		return nil
	}
	counts := map[string]int{}
	for _, v := range j.violations {
		counts[v]++
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, fmt.Sprintf("%s: %d", name, counts[name]))
	}
	return fmt.Errorf("with seed %d invariants did not hold (%s); see %s", seed, strings.Join(all, ", "), filepath.Join(j.dir, "violations"))
}
