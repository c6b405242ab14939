// Package audit finds in an API server's audit log who wrote an object. Managed fields name a client, such as
// kubectl-edit; the log names the user who ran it. Where several users fit, none is named.
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

// Log is the audit log of one API server, as far as it speaks of recent writes. It is safe for concurrent use. It takes
// about 400 bytes for each write that it remembers.
type Log struct {
	file string

	mu      sync.Mutex
	read    os.FileInfo // the file that was read last; nil: none
	offset  int64       // up to where
	inMidst bool        // of a line that is passed over
	torn    bool        // events were missed just now
	broken  int
	objects map[Object]*history
	count   int
	most    int
	lost    time.Time // writes up to here may be missing; zero: none since the log's beginning
}

// history is what was written to one object.
type history struct {
	writes []Write   // by their end
	lost   time.Time // as Log.lost
}

// What is remembered at most, so that a busy cluster does not fill the memory.
const (
	mostWrites    = 100_000
	mostPerObject = 50
	tail          = 64 << 20 // bytes of a file that are read at first
	longestLine   = 1 << 20
)

// NewLog prepares to read the file that the API server writes for --audit-log-path, a JSON event for each line. Without
// a file it knows what is given to Take.
func NewLog(file string) *Log {
	return &Log{file: file, objects: map[Object]*history{}, most: mostWrites}
}

// Refresh reads what was written to the file since the last time, and of a file that was rotated meanwhile the rest.
// Lines that are no event are passed over.
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

// rest reads the end of a file that was renamed since it was read. Whoever wrote there must not be missed: the next
// one would seem to have been alone.
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

// lines takes in whole lines. The last one may still be being written, and is read again then.
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
			// Too long to be kept: what follows is part of a line.
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

// Take takes in a batch as the API server's webhook backend sends it: an EventList of audit.k8s.io/v1. Of a batch that
// is none, nothing is taken.
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
	// The webhook sends a batch again when it had no answer. The whole write is compared and not the audit ID, which a
	// client may choose: with another's ID one would hide.
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

// shorten drops one write: the oldest that another like it followed, as those of a busy controller, so that nobody who
// wrote the object is forgotten as long as that can be.
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
