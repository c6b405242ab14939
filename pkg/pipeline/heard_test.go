package pipeline

import "testing"

func TestTheSameAgainIsNoNews(t *testing.T) {
	var h heard
	for i, step := range []struct {
		subject, text string
		news          bool
	}{
		{"a", "", false}, {"a", "failed", true}, {"a", "failed", false}, {"b", "failed", true}, {"a", "failed otherwise", true},
		{"a", "", true}, {"a", "", false}, {"a", "failed", true}, {"b", "failed", false},
	} {
		if got := h.news(step.subject, step.text); got != step.news {
			t.Errorf("step %d: %q of %s is news: %t", i, step.text, step.subject, got)
		}
	}
}
