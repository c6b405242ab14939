package manifest

import (
	"strings"
	"testing"
)

// The state of what a manager applied changes with the values of its fields, and with nothing else.
func TestOwnedState(t *testing.T) {
	const object = `{apiVersion: v1, kind: Pod, metadata: {labels: {app: a, mine: b}, managedFields: [
		{manager: syncer, operation: Apply, time: "2026-03-01T10:00:00Z", fieldsV1: {f:metadata: {f:labels: {f:app: {}}}, f:spec: {f:containers: {"k:{\"name\":\"main\"}": {.: {}, f:image: {}, f:name: {}}}, f:args: {"v:\"x\"": {}}, f:atomic: {}, f:empty: {}}}},
		{manager: web, operation: Update, fieldsV1: {f:spec: {f:replicas: {}}}}]},
		spec: {replicas: 2, args: [x, y], atomic: {p: 1}, containers: [{name: side, image: s}, {name: main, image: one, tty: true}]}, status: {phase: Running}}`
	state := func(text string) string { return OwnedState(obj(t, text), "syncer", nil) }
	for change, c := range map[string]struct {
		from, to string
		same     bool
	}{
		"a value":                          {"image: one", "image: two", false},
		"a label":                          {"app: a", "app: b", false},
		"a part of what is owned whole":    {"p: 1", "p: 1, q: 2", false},
		"an item that goes":                {"args: [x, y]", "args: [y]", false},
		"a field that goes":                {", image: one", "", false},
		"a field that is not owned more":   {"f:image: {}, ", "", false},
		"an empty field that is taken":     {"f:empty: {}", "f:x: {}", false},
		"somebody else's field":            {"replicas: 2", "replicas: 3", true},
		"somebody else's label":            {"mine: b", "mine: c", true},
		"somebody else's container":        {"image: s", "image: t", true},
		"an item that somebody else added": {"args: [x, y]", "args: [z, x, y]", true},
		"the status":                       {"phase: Running", "phase: Failed", true},
		"the time of the write":            {"10:00:00Z", "10:00:09Z", true},
	} {
		if !strings.Contains(object, c.from) {
			t.Fatalf("%s: it changes nothing", change)
		}
		if same := state(object) == state(strings.Replace(object, c.from, c.to, 1)); same != c.same {
			t.Errorf("%s: the same is %t", change, same)
		}
	}
	if state(`{apiVersion: v1, kind: Pod, metadata: {name: a}}`) != "" {
		t.Error("it is said of an object that syncer never applied")
	}
}

func TestOwnedStateOfASecretIsKeyed(t *testing.T) {
	secret := obj(t, `{apiVersion: v1, kind: Secret, data: {a: canary}, metadata: {managedFields: [{manager: syncer, operation: Apply, fieldsV1: {f:data: {f:a: {}}}}]}}`)
	one, other := OwnedState(secret, "syncer", []byte("one")), OwnedState(secret, "syncer", []byte("other"))
	if one == "" || one == other || OwnedState(secret, "syncer", nil) != "" {
		t.Errorf("with a key %q, with another %q, without %q", one, other, OwnedState(secret, "syncer", nil))
	}
}
