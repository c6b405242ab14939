// Package audit finds in the audit log of an API server which user wrote an object. Managed fields name a client, such as
// kubectl-edit; the log names the user of that client. Where several users are possible, the package names none.
package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Log has the recent writes of one API server's audit log. It is safe for concurrent use. It needs about 400 bytes for
// each write that it keeps.
type Log struct {
	file string

	mu      sync.Mutex
	read    os.FileInfo // the last file that was read; nil: none
	offset  int64       // the end of the part that was read
	inMidst bool        // within a line that is skipped
	torn    bool        // events were missed since the last write
	broken  int
	objects map[Object]*history
	count   int
	most    int
	lost    time.Time // writes until this time may be missing; zero: none since the log's beginning
}

// history has the writes to one object.
type history struct {
	writes []Write   // sorted by their end
	lost   time.Time // as Log.lost
}

// Limits of what a log keeps, so that a busy cluster does not fill the memory.
const (
	mostWrites    = 100_000
	mostPerObject = 50
	tail          = 64 << 20 // bytes at the end of a file that the first read covers
	longestLine   = 1 << 20
)

// NewLog prepares to read the file that the API server writes for --audit-log-path, with one JSON event in each line.
// Without a file, the log has the events of Take only.
func NewLog(file string) *Log {
	return &Log{file: file, objects: map[Object]*history{}, most: mostWrites}
}

// Refresh reads the new part of the file, and the rest of a file that was rotated since the last call. It skips lines
// that are no events.
func (l *Log) Refresh() error {
	if l.file == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refresh(); err != nil {
		return fmt.Errorf("reading the audit log %s: %w", l.file, err)
	}
	return nil
}

func (l *Log) refresh() error {
	info, err := os.Stat(l.file)
	if err != nil {
		return err
	}
	switch {
	case l.read == nil:
		l.offset, l.inMidst = 0, false
	case !os.SameFile(l.read, info):
		if err := l.rest(); err != nil {
			return err
		}
		l.offset, l.inMidst = 0, false
	case info.Size() < l.offset:
		l.offset, l.inMidst, l.torn = 0, false, true
	}
	if begin := info.Size() - tail; begin > l.offset {
		l.torn = l.torn || l.read != nil
		l.offset, l.inMidst = begin, true
	}
	l.read = info
	return l.readOn(l.file)
}

// rest reads the end of a file that was renamed since it was read. A missed write there would let the next user seem to
// be the only one.
func (l *Log) rest() error {
	folder := filepath.Dir(l.file)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && os.SameFile(info, l.read) && info.Size()-l.offset <= tail {
			return l.readOn(filepath.Join(folder, entry.Name()))
		}
	}
	l.torn = true
	return nil
}

func (l *Log) readOn(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Seek(l.offset, io.SeekStart); err != nil {
		return err
	}
	return l.lines(bufio.NewReaderSize(file, 64<<10))
}

// lines reads whole lines. The API server may still write the last line: then a later call reads it again.
func (l *Log) lines(in *bufio.Reader) error {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			if len(line) <= longestLine {
				continue
			}
			if !l.inMidst {
				l.broken++
			}
			// The line is too long to be kept; the next bytes belong to it.
			l.offset += int64(len(line))
			line, l.inMidst = line[:0], true
			continue
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		l.offset += int64(len(line))
		if !l.inMidst {
			l.addLine(line)
		}
		line, l.inMidst = line[:0], false
	}
}

func (l *Log) addLine(line []byte) {
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	object, w, ok, err := parse(line)
	switch {
	case err != nil:
		l.broken++
	case ok:
		l.add(object, w)
	}
}

// Take adds the events of a batch that the API server's webhook backend sends: an EventList of audit.k8s.io/v1. It adds
// no event of a batch with an error.
func (l *Log) Take(batch []byte) error {
	var list struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(batch, &list); err != nil || list.Kind != "EventList" || list.APIVersion != "audit.k8s.io/v1" {
		return errors.New("it is no EventList of audit.k8s.io/v1")
	}
	var objects []Object
	var writes []Write
	for i, item := range list.Items {
		object, w, ok, err := parse(item)
		if err != nil {
			return fmt.Errorf("items[%d] is no event of audit.k8s.io/v1", i)
		}
		if ok {
			objects, writes = append(objects, object), append(writes, w)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range writes {
		l.add(objects[i], w)
	}
	return nil
}

func (l *Log) add(object Object, w Write) {
	if l.torn {
		l.lost, l.torn = later(l.lost, w.Time), false
	}
	h := l.objects[object]
	if h == nil {
		h = &history{}
		l.objects[object] = h
	}
	// The webhook sends a batch again when it gets no answer. The whole write is compared and not the audit ID: a client
	// chooses that ID, and could hide a write by the ID of another one.
	if slices.Contains(h.writes, w) {
		return
	}
	h.writes = append(h.writes, w)
	slices.SortStableFunc(h.writes, func(a, b Write) int { return a.End.Compare(b.End) })
	l.count++
	if len(h.writes) > mostPerObject {
		h.shorten()
		l.count--
	}
	if l.count > l.most {
		l.forget()
	}
}

// shorten drops one write: the oldest that is followed by a similar one, such as those of a busy controller. So the
// history keeps each user of the object as long as possible.
func (h *history) shorten() {
	for i, w := range h.writes {
		if slices.ContainsFunc(h.writes[i+1:], w.alike) {
			h.writes = slices.Delete(h.writes, i, i+1)
			return
		}
	}
	h.lost = later(h.lost, h.writes[0].End)
	h.writes = slices.Delete(h.writes, 0, 1)
}

// forget drops the older half of all writes.
func (l *Log) forget() {
	ends := make([]time.Time, 0, l.count)
	for _, h := range l.objects {
		for _, w := range h.writes {
			ends = append(ends, w.End)
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	l.lost, l.count = later(l.lost, ends[len(ends)/2]), 0
	for object, h := range l.objects {
		h.writes = slices.Clone(slices.DeleteFunc(h.writes, func(w Write) bool { return !w.End.After(l.lost) }))
		l.count += len(h.writes)
		if len(h.writes) == 0 {
			delete(l.objects, object)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
