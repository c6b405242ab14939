// Package audit finds in an API server's audit log who wrote an object. Managed fields name a client, such as
// kubectl-edit; the log names the user who ran it.
package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Object is what an audit event names: a resource in the plural, such as deployments.
type Object struct{ Group, Resource, Namespace, Name string }

// Write is one request that changed an object.
type Write struct {
	Time time.Time
	// User is who the write was made as; with impersonation, for whom it was made.
	User string
	// By is who impersonated the user; "" where nobody did.
	By          string
	Verb        string
	Subresource string
	// Manager is the field manager by which the API server knows the write.
	Manager string
}

// Log is the audit log of one API server, as far as it speaks of recent writes. It is safe for concurrent use. It takes
// about 300 bytes for each write that it remembers.
type Log struct {
	file string

	mu     sync.Mutex
	read   os.FileInfo // the file that was read last; nil: none
	offset int64       // up to where
	broken int
	writes map[Object][]Write // the newest last
	count  int
	most   int
}

// What is remembered at most, so that a busy cluster does not fill the memory.
const (
	mostWrites    = 100_000
	mostPerObject = 50
	longestAgo    = 24 * time.Hour
	tail          = 64 << 20 // bytes of a file that are read at first
	longestLine   = 1 << 20
)

// NewLog prepares to read the file that the API server writes for --audit-log-path, a JSON event for each line.
func NewLog(file string) *Log {
	return &Log{file: file, writes: map[Object][]Write{}, most: mostWrites}
}

// Refresh reads what was written to the file since the last time. A file that was rotated is read from its beginning; what
// came to its predecessor after the last look is lost. Lines that are no event are passed over.
func (l *Log) Refresh() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	file, err := os.Open(l.file)
	if err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("reading the audit log %s: %w", l.file, err)
	}
	first := l.read == nil
	if first || !os.SameFile(l.read, info) || info.Size() < l.offset {
		l.offset = 0
	}
	skip := max(0, info.Size()-tail) > l.offset
	if skip {
		l.offset = info.Size() - tail
	}
	if _, err := file.Seek(l.offset, io.SeekStart); err != nil {
		return fmt.Errorf("reading the audit log %s: %w", l.file, err)
	}
	l.read = info
	if err := l.lines(bufio.NewReaderSize(file, 64<<10), skip); err != nil {
		return fmt.Errorf("reading the audit log %s: %w", l.file, err)
	}
	return nil
}

// lines takes in whole lines. The last one may still be being written, and is read again then.
func (l *Log) lines(in *bufio.Reader, inMidst bool) error {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			if len(line) <= longestLine {
				continue
			}
			// Too long to be kept: what follows is part of a line.
			l.offset += int64(len(line))
			line, inMidst = line[:0], true
			continue
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		l.offset += int64(len(line))
		if !inMidst {
			l.add(line)
		}
		line, inMidst = line[:0], false
	}
}

// Take takes in a batch as the API server's webhook backend sends it: an EventList of audit.k8s.io/v1.
func (l *Log) Take(batch []byte) error {
	var list struct {
		Kind  string            `json:"kind"`
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(batch, &list); err != nil || list.Kind != "EventList" {
		return errors.New("it is no EventList of audit.k8s.io/v1")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, item := range list.Items {
		l.add(item)
	}
	return nil
}

// event is what is used of an audit.k8s.io/v1 Event.
type event struct {
	Stage      string `json:"stage"`
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	UserAgent  string `json:"userAgent"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	Impersonated *struct {
		Username string `json:"username"`
	} `json:"impersonatedUser"`
	Object *struct {
		Group       string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	Response *struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Received time.Time `json:"requestReceivedTimestamp"`
}

func (l *Log) add(line []byte) {
	var e event
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	if err := json.Unmarshal(line, &e); err != nil {
		l.broken++
		return
	}
	writes := slices.Contains([]string{"create", "update", "patch", "delete"}, e.Verb)
	if e.Stage != "ResponseComplete" || !writes || e.Object == nil || e.Object.Name == "" || e.Response == nil || e.Response.Code >= 300 {
		return
	}
	address, err := url.ParseRequestURI(e.RequestURI)
	if err != nil || address.Query().Has("dryRun") {
		return
	}
	w := Write{Time: e.Received, User: e.User.Username, Verb: e.Verb, Subresource: e.Object.Subresource, Manager: address.Query().Get("fieldManager")}
	if w.Manager == "" {
		w.Manager, _, _ = strings.Cut(e.UserAgent, "/") // as the API server names a client that does not name itself
	}
	if e.Impersonated != nil {
		w.User, w.By = e.Impersonated.Username, e.User.Username
	}
	key := Object{e.Object.Group, e.Object.Resource, e.Object.Namespace, e.Object.Name}
	l.writes[key] = append(l.writes[key], w)
	l.count++
	if n := len(l.writes[key]); n > mostPerObject {
		l.writes[key] = slices.Clone(l.writes[key][n-mostPerObject:])
		l.count -= n - mostPerObject
	}
	if l.count > l.most {
		l.forget(e.Received.Add(-longestAgo))
	}
}

// forget drops what is old and, where that is not enough, the older half of what is left.
func (l *Log) forget(before time.Time) {
	for pass := 0; l.count > l.most/2 && pass < 2; pass++ {
		l.count = 0
		for key, writes := range l.writes {
			if pass == 1 {
				writes = writes[len(writes)/2:]
			}
			writes = slices.DeleteFunc(slices.Clone(writes), func(w Write) bool { return w.Time.Before(before) })
			if len(writes) == 0 {
				delete(l.writes, key)
				continue
			}
			l.writes[key] = writes
			l.count += len(writes)
		}
		if pass == 1 && l.count > l.most/2 {
			clear(l.writes) // objects that were written once each
			l.count = 0
		}
	}
}

// slack is how far the time in managed fields, which has seconds, may be from that of the request.
const slack = 2 * time.Second

// Author is who wrote an object by a manager at the time that its managed fields tell; a zero time is the manager's last
// write. Where several users fit, none does.
func (l *Log) Author(object Object, manager, subresource string, at time.Time) (Write, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var last Write
	found := false
	for _, w := range l.writes[object] {
		if w.Manager != manager || w.Subresource != subresource || w.Verb == "delete" {
			continue
		}
		if !at.IsZero() && w.Time.Sub(at).Abs() > slack {
			continue
		}
		if found && !at.IsZero() && w.User != last.User {
			return Write{}, false
		}
		last, found = w, true
	}
	return last, found
}

// Deleter is who deleted an object last.
func (l *Log) Deleter(object Object) (Write, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	writes := l.writes[object]
	for i := len(writes) - 1; i >= 0; i-- {
		if writes[i].Verb == "delete" {
			return writes[i], true
		}
	}
	return Write{}, false
}

// Only is who wrote an object since a manager did, where that was a single user: the author of a change that left no
// entry in the managed fields, as the removal of a field does.
func (l *Log) Only(object Object, since string) (Write, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var last Write
	begun, found := false, false
	for _, w := range l.writes[object] {
		switch {
		case w.Manager == since:
			begun, found = true, false
		case !begun || w.Subresource == "status" || w.Verb == "delete":
		case found && w.User != last.User:
			return Write{}, false
		default:
			last, found = w, true
		}
	}
	return last, found
}
