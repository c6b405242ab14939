package pipeline

import "sync"

// heard remembers what was logged last about a subject, so that the same again is not news. The zero value is ready.
type heard struct {
	mu   sync.Mutex
	last map[string]string
}

// news reports whether something is said of a subject that was not said of it last; an empty text is that all is well.
func (h *heard) news(subject, text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last[subject] == text {
		return false
	}
	if h.last == nil {
		h.last = map[string]string{}
	}
	if h.last[subject] = text; text == "" {
		delete(h.last, subject)
	}
	return true
}
