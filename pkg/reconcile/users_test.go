package reconcile

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/audit"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
)

func TestUserOfAFinding(t *testing.T) {
	at := time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)
	event := func(verb, user, manager, name string) string {
		return fmt.Sprintf(`{"stage":"ResponseComplete","requestURI":"/x?fieldManager=%s","verb":%q,"user":{"username":%q},"objectRef":{"resource":"configmaps","namespace":"data","name":%q},"responseStatus":{"code":200},"requestReceivedTimestamp":%[5]q,"stageTimestamp":%[5]q}`,
			manager, verb, user, name, at.Format(time.RFC3339))
	}
	log := audit.NewLog("")
	err := log.Take([]byte(`{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[` + strings.Join([]string{
		event("create", "carol", "kubectl-create", "edited"),
		event("patch", "alice", "kubectl-edit", "edited"),
		event("delete", "bob", "", "gone"),
		event("patch", "system:serviceaccount:data:syncer", manifest.FieldManager, "own"),
	}, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	edit := drift.Finding{Kind: drift.Modified, Manager: "kubectl-edit", Operation: "Update", Time: &at, Desired: "1"}
	for name, c := range map[string]struct {
		object  string
		finding drift.Finding
		own     string
		want    string
	}{
		"of an edit":                      {"edited", edit, manifest.FieldManager, "alice"},
		"of an addition":                  {"edited", drift.Finding{Kind: drift.Added, Manager: "kubectl-edit", Operation: "Update", Time: &at}, manifest.FieldManager, "alice"},
		"of a deletion":                   {"gone", drift.Finding{Kind: drift.Missing}, manifest.FieldManager, "bob"},
		"of an unknown manager":           {"edited", drift.Finding{Kind: drift.Modified, Desired: "1"}, "", ""},
		"of an object without writes":     {"other", edit, manifest.FieldManager, ""},
		"of syncer itself":                {"own", drift.Finding{Kind: drift.Modified, Manager: manifest.FieldManager, Operation: "Update", Time: &at}, "", ""},
		"of a finding that has no writer": {"edited", drift.Finding{Kind: drift.TagMoved}, manifest.FieldManager, ""},
	} {
		object := audit.Object{Resource: "configmaps", Namespace: "data", Name: c.object}
		if got := userOf(log, object, c.finding, c.own); got != c.want {
			t.Errorf("the user %s is %q, want %q", name, got, c.want)
		}
	}
}
