package lab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// AuditEvent is one line of an API server's audit log: one request, or the beginning of a watch.
type AuditEvent struct {
	Stage      string `json:"stage"` // ResponseComplete, or ResponseStarted when a watch begins
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	UserAgent  string `json:"userAgent"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	Object struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		APIGroup    string `json:"apiGroup"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	Response struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// ReadAudit returns the events of an audit log in the order in which they were written. The API server writes an event
// shortly after its answer, so a test that counts them polls.
func ReadAudit(path string) ([]AuditEvent, error) {
	events, _, err := ReadAuditFrom(path, 0)
	return events, err
}

// ReadAuditFrom returns the events from an offset on, and the offset of the next event.
func ReadAuditFrom(path string, offset int64) (events []AuditEvent, end int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, offset, err
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, offset, err
	}
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return events, offset, nil // a line without an end is still being written
		}
		var event AuditEvent
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, offset, fmt.Errorf("reading %s: the event at %d: %w", path, offset, err)
		}
		events, offset = append(events, event), offset+int64(len(line))
	}
}
