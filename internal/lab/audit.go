package lab

import (
	"bufio"
	"encoding/json"
	"fmt"
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
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var events []AuditEvent
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return events, nil // a line without an end is still being written
		}
		var event AuditEvent
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("reading %s: event %d: %w", path, len(events)+1, err)
		}
		events = append(events, event)
	}
}
