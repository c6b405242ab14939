package daemon

import "sync"

// logged remembers what was logged last about a subject, so that the same text is logged once. The zero value is ready.
// It is for subjects that are no targets; states has those.
type logged struct {
	mu   sync.Mutex
	last map[subject]string
}

// subject is what a log message is about.
type subject string

const (
	aboutRollout    subject = "rollout"
	aboutRepository subject = "repository"
	aboutTry        subject = "repository, a try"
)

// isNew reports whether a text of a subject was not logged last, and notes it. An empty text says that all is well.
func (l *logged) isNew(about subject, text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last[about] == text {
		return false
	}
	if l.last == nil {
		l.last = map[subject]string{}
	}
	l.last[about] = text
	return true
}
