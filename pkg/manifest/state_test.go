package manifest

import (
	"strings"
	"testing"
)

// What is written all the time does not change an object's state, and hides nothing else that its manager writes.
func TestStateLeavesOutWhatIsWrittenAllTheTime(t *testing.T) {
	const object = `{metadata: {managedFields: [
		{manager: syncer, operation: Apply, time: "2026-03-01T10:00:00Z", fieldsV1: {f:data: {f:a: {}}}},
		{manager: web, operation: Update, time: "2026-03-01T10:00:01Z", fieldsV1: {f:metadata: {f:annotations: {"f:control-plane.alpha.kubernetes.io/leader": {}}}, f:spec: {f:x: {}}}}]}}`
	state := func(text string) uint64 { return State(obj(t, text), nil) }
	for change, c := range map[string]struct {
		from, to string
		same     bool
	}{
		"a lock is renewed":         {"10:00:01Z", "10:00:03Z", true},
		"a lease is renewed":        {`10:00:01Z", fieldsV1: {f:metadata: {f:annotations: {"f:control-plane.alpha.kubernetes.io/leader": {}}}, f:spec: {f:x: {}`, `10:00:09Z", fieldsV1: {f:metadata: {f:annotations: {}}, f:spec: {f:x: {}, f:renewTime: {}`, true},
		"a status is written":       {`10:00:01Z", fieldsV1: {`, `10:00:09Z", fieldsV1: {f:status: {f:y: {}}, `, true},
		"it takes another field":    {"f:x: {}", "f:x: {}, f:z: {}", false},
		"another annotation":        {"f:control-plane.alpha.kubernetes.io/leader", "f:example.com/note", false},
		"a field of syncer's goes":  {"f:a: {}", "", false},
		"another write as syncer":   {"10:00:00Z", "10:00:05Z", false},
		"another manager's writing": {"manager: web", "manager: hand", false},
	} {
		if !strings.Contains(object, c.from) {
			t.Fatalf("%s: it changes nothing", change)
		}
		if same := state(object) == state(strings.Replace(object, c.from, c.to, 1)); same != c.same {
			t.Errorf("%s: the same is %t", change, same)
		}
	}
}
