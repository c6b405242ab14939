package cluster

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// fateTries is the number of passes that ask for the events of an object that is gone.
const fateTries = 5

// forgottenAfter is the time after which syncer forgets the questions for an object's events: the cluster has then
// removed the events as well.
const forgottenAfter = 2 * time.Hour

// questions counts the requests for the events of each object that is gone. The zero value is ready.
type questions struct {
	mu    sync.Mutex
	byUID map[types.UID]question
	swept time.Time
}

type question struct {
	times int
	first time.Time
}

// more counts a question, and reports whether another one is due.
func (q *questions) more(uid types.UID, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.swept) > forgottenAfter {
		q.swept = now
		maps.DeleteFunc(q.byUID, func(_ types.UID, old question) bool { return now.Sub(old.first) > forgottenAfter })
	}
	if q.byUID == nil {
		q.byUID = map[types.UID]question{}
	}
	asked, known := q.byUID[uid]
	if !known {
		asked.first = now
	}
	asked.times++
	q.byUID[uid] = asked
	return asked.times <= fateTries
}

// AskAgain counts the questions for the events of an object, and reports whether another one is due. Without a UID,
// events may be those of an earlier object of the same name.
func AskAgain(c *Cluster, uid types.UID) bool {
	return uid != "" && c.server.asked.more(uid, time.Now())
}
