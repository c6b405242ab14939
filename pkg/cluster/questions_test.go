package cluster

import (
	"testing"
	"time"
)

// The events of an object are asked for a few times. After the cluster has removed them, the count is forgotten.
func TestQuestionsForEventsEnd(t *testing.T) {
	var q questions
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range fateTries {
		if !q.more("a", now) {
			t.Errorf("question %d is not asked", i+1)
		}
	}
	if q.more("a", now.Add(time.Minute)) {
		t.Error("one question too many")
	}
	if !q.more("b", now.Add(time.Minute)) {
		t.Error("another object is not asked for")
	}
	if !q.more("a", now.Add(forgottenAfter+2*time.Minute)) || len(q.byUID) != 1 {
		t.Errorf("%d counts are kept", len(q.byUID))
	}
}
