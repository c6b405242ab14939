package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)

// line is an event as the API server writes it.
func line(verb, user, manager, name, subresource string, at time.Time) string {
	return fmt.Sprintf(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/data/configmaps/%[4]s?fieldManager=%[3]s","verb":%[1]q,"user":{"username":%[2]q},"userAgent":"kubectl/v1.36","objectRef":{"resource":"configmaps","namespace":"data","name":%[4]q,"subresource":%[5]q,"apiVersion":"v1"},"responseStatus":{"code":200},"requestReceivedTimestamp":%[6]q,"stageTimestamp":%[6]q}`+"\n",
		verb, user, manager, name, subresource, at.Format(time.RFC3339Nano))
}

// apply is syncer's, created a creation by kubectl.
func apply(name string, at time.Time) string {
	return strings.Replace(line("patch", "system:serviceaccount:data:syncer", "syncer", name, "", at), "?", "?force=true&", 1)
}

func created(user, name string, at time.Time) string {
	return strings.Replace(line("create", user, "kubectl-create", name, "", at), `"code":200`, `"code":201`, 1)
}

// batch is what the webhook sends.
func batch(lines ...string) []byte {
	return []byte(`{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[` + strings.Join(lines, ",") + `]}`)
}

func object(name string) Object { return Object{Resource: "configmaps", Namespace: "data", Name: name} }

func written(t *testing.T, text string) *Log {
	t.Helper()
	file := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := NewLog(file)
	if err := log.Refresh(); err != nil {
		t.Fatal(err)
	}
	return log
}

func TestAuthor(t *testing.T) {
	const impersonated = `{"stage":"ResponseComplete","verb":"patch","requestURI":"/x?fieldManager=kubectl-patch","user":{"username":"admin"},"impersonatedUser":{"username":"carol"},"objectRef":{"resource":"configmaps","namespace":"data","name":"c"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-03-03T12:00:00Z"}` + "\n"
	log := written(t, strings.Join([]string{
		line("patch", "alice", "kubectl-patch", "a", "", noon.Add(400*time.Millisecond)),
		apply("a", noon.Add(5*time.Second)),
		line("patch", "bob", "kubectl-patch", "a", "", noon.Add(10*time.Second)),
		line("patch", "bob", "kubectl-patch", "two", "", noon),
		line("patch", "alice", "kubectl-patch", "two", "", noon.Add(time.Second)),
		line("patch", "alice", "kubectl", "s", "scale", noon),
		line("get", "eve", "kubectl-patch", "g", "", noon),
		strings.Replace(line("patch", "eve", "kubectl-patch", "f", "", noon), `"code":200`, `"code":409`, 1),
		strings.Replace(line("patch", "eve", "kubectl-patch", "d", "", noon), "?fieldManager", "?dryRun=All&fieldManager", 1),
		strings.Replace(line("patch", "eve", "kubectl-patch", "r", "", noon), "ResponseComplete", "RequestReceived", 1),
		strings.Replace(line("update", "dave", "", "n", "", noon), "?fieldManager=", "", 1),
		"no event at all\n", "\n", impersonated,
	}, ""))
	for name, c := range map[string]struct {
		object, manager, subresource string
		at                           time.Time
		want                         string
	}{
		"before the apply":     {"a", "kubectl-patch", "", noon, ""},
		"after the apply":      {"a", "kubectl-patch", "", noon.Add(10 * time.Second), "bob"},
		"the last":             {"a", "kubectl-patch", "", time.Time{}, "bob"},
		"at another time":      {"a", "kubectl-patch", "", noon.Add(time.Hour), ""},
		"by another client":    {"a", "kubectl-edit", "", noon, ""},
		"another object":       {"b", "kubectl-patch", "", noon, ""},
		"two at once":          {"two", "kubectl-patch", "", noon, ""},
		"through scale":        {"s", "kubectl", "scale", time.Time{}, "alice"},
		"not through scale":    {"s", "kubectl", "", noon, ""},
		"a look":               {"g", "kubectl-patch", "", noon, ""},
		"a failure":            {"f", "kubectl-patch", "", noon, ""},
		"a dry run":            {"d", "kubectl-patch", "", noon, ""},
		"before the end":       {"r", "kubectl-patch", "", noon, ""},
		"a client by its name": {"n", "kubectl", "", noon, "dave"},
		"somebody for another": {"c", "kubectl-patch", "", noon, "carol"},
	} {
		got, ok := log.Author(object(c.object), Client{c.manager, "Update", c.subresource}, c.at, "syncer")
		if got.User != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %t", name, got.User, ok)
		}
	}
	if got, _ := log.Author(object("c"), Client{Manager: "kubectl-patch"}, noon, "syncer"); got.Who() != "carol, impersonated by admin" {
		t.Errorf("it is %q", got.Who())
	}
	if log.broken != 1 {
		t.Errorf("%d broken lines", log.broken)
	}
}

func TestOnly(t *testing.T) {
	log := written(t, apply("b", noon)+line("patch", "carol", "kubectl-label", "b", "", noon.Add(time.Second))+line("patch", "carol", "kubectl-edit", "b", "", noon.Add(time.Second))+
		line("patch", "x", "controller", "b", "status", noon.Add(time.Second))+line("create", "eve", "kubectl", "b", "exec", noon.Add(time.Second))+
		line("patch", "system:serviceaccount:data:syncer", "syncer", "b", "", noon.Add(time.Second)))
	if got, ok := log.Only(object("b"), "syncer"); !ok || got.User != "carol" {
		t.Errorf("the only writer is %q", got.User)
	}
	if got, ok := log.Only(object("b"), "another"); ok {
		t.Errorf("that manager never wrote, and it is %q", got.User)
	}
	if err := log.Take(batch(line("patch", "eve", "kubectl-edit", "b", "", noon.Add(time.Second)))); err != nil {
		t.Fatal(err)
	}
	if got, ok := log.Only(object("b"), "syncer"); ok {
		t.Errorf("of two writers it is %q", got.User)
	}
	masked := written(t, apply("b", noon)+line("patch", "alice", "syncer", "b", "", noon.Add(time.Second))+line("patch", "bob", "kubectl-label", "b", "", noon.Add(2*time.Second)))
	if got, ok := masked.Only(object("b"), "syncer"); ok {
		t.Errorf("somebody took syncer's name, and it is %q", got.User)
	}
}

func TestRefreshFollowsTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	log := NewLog(file)
	if err := log.Refresh(); err == nil {
		t.Error("a file that is not there is no error")
	}
	put := func(flags int, text string) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err := log.Refresh(); err != nil {
			t.Fatal(err)
		}
	}
	knows := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if _, ok := log.Author(object(name), Client{Manager: "m"}, noon, "syncer"); !ok {
				t.Errorf("it does not know of %s", name)
			}
		}
	}
	half := line("patch", "u", "m", "b", "", noon)
	put(os.O_APPEND, line("patch", "u", "m", "a", "", noon)+half[:40])
	knows("a")
	if _, ok := log.Author(object("b"), Client{Manager: "m"}, noon, "syncer"); ok {
		t.Error("half a line is read")
	}
	put(os.O_APPEND, half[40:])
	knows("a", "b")
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	late, err := os.OpenFile(file+".1", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.WriteString(line("patch", "u", "m", "before-rotation", "", noon)); err != nil {
		t.Fatal(err)
	}
	if err := late.Close(); err != nil {
		t.Fatal(err)
	}
	put(0, line("patch", "u", "m", "after-rotation", "", noon))
	knows("a", "b", "before-rotation", "after-rotation")
	put(os.O_TRUNC, line("patch", "u", "m", "t", "", noon)[:10])
	put(os.O_TRUNC, line("patch", "u", "m", "after-truncation", "", noon))
	if _, ok := log.Author(object("after-truncation"), Client{Manager: "m"}, noon, "syncer"); ok {
		t.Error("others may have written what is cut off")
	}
	put(os.O_APPEND, apply("after-truncation", noon.Add(time.Second))+line("patch", "u", "m", "after-truncation", "", noon.Add(time.Second))+
		apply("after-a-long-line", noon.Add(time.Second)))
	knows("after-truncation")
	put(os.O_APPEND, strings.Repeat("x", 2*longestLine)+"\n"+line("patch", "u", "m", "after-a-long-line", "", noon.Add(time.Second)))
	knows("after-a-long-line")
	if log.broken != 1 {
		t.Errorf("%d broken lines", log.broken)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	log := NewLog("")
	log.most = 1000
	for i := range mostPerObject * 3 {
		log.addLine([]byte(line("patch", fmt.Sprint(i), "m", "one", "", noon.Add(time.Duration(i)*time.Second))))
	}
	if n := len(log.objects[object("one")].writes); n != mostPerObject {
		t.Errorf("%d writes of one object", n)
	}
	for i := range log.most + 10 {
		log.addLine([]byte(line("patch", "u", "m", fmt.Sprint(i), "", noon.Add(time.Duration(i)*time.Second))))
	}
	count := 0
	for _, h := range log.objects {
		count += len(h.writes)
	}
	if log.count > log.most || log.count != count || count < log.most/3 {
		t.Errorf("%d writes, and by the count %d", count, log.count)
	}
}

func FuzzLog(f *testing.F) {
	f.Add([]byte(line("patch", "u", "m", "a", "", noon)))
	f.Add([]byte(`{"kind":"EventList","items":[{},null,{"objectRef":{}}]}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		log := NewLog("")
		log.addLine(data)
		_ = log.Take(data) // whatever it is
		log.Author(object("a"), Client{Manager: "m"}, noon, "syncer")
	})
}
