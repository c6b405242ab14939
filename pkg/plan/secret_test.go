package plan_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

const canary = "apply-canary-5c1d"

func login(password string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: login, namespace: $NS}\nstringData: {password: " + password + "}\n"
}

func hashOf(entries []v1alpha1.InventoryEntry, name string) string {
	for _, e := range entries {
		if e.Name == name {
			return e.Hash
		}
	}
	return ""
}

func TestHashOfASecretIsKeyed(t *testing.T) {
	b := bench.New(t)
	set := b.Set(login(canary))
	pass.Sync(b, set)
	recorded := hashOf(b.Record().Status.Inventory, "login")
	for _, key := range [][]byte{nil, {}} {
		if plain, err := manifest.Hash(set[0], key); err != nil || recorded == plain || recorded == "" {
			t.Errorf("the hash is %s, %v", recorded, err)
		}
	}
	key := b.Get(bench.Secrets, b.Records, "syncer-inventory-key")
	text, _ := bench.Value(key, "data", "key").(string)
	bytes, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(bytes) != 32 {
		t.Fatalf("the key has %d bytes: %v", len(bytes), err)
	}
	if want, err := manifest.Hash(set[0], bytes); err != nil || recorded != want {
		t.Errorf("the hash is %s, want %s, %v", recorded, want, err)
	}
	if bench.Value(key, "immutable") != true {
		t.Error("the key can be changed")
	}

	t.Run("by one key for every syncer", func(t *testing.T) {
		b.Restart()
		planned := pass.Plan(b, set)
		if got := hashOf(planned.Inventory(), "login"); got != recorded || len(planned.Pending()) > 0 {
			t.Errorf("the hash is %s, was %s; pending: %s", got, recorded, bench.Actions(planned.Changes()))
		}
		if again := b.Get(bench.Secrets, b.Records, "syncer-inventory-key"); again.GetUID() != key.GetUID() {
			t.Error("the key was made again")
		}
	})
}

func TestReadOnlyPlanMakesNoKey(t *testing.T) {
	b := bench.New(t)
	planned := pass.Plan(b, b.Set(login(canary)), func(req *plan.Request) { req.ReadOnly = true })
	if got := bench.Actions(planned.Changes()); got != "Create Secret/login" {
		t.Errorf("the plan: %s", got)
	}
	if b.Get(bench.Secrets, b.Records, "syncer-inventory-key") != nil {
		t.Error("the key was made")
	}
}

func TestDriftOfASecretIsMasked(t *testing.T) {
	b := bench.New(t)
	set := b.Set(login(canary))
	pass.Sync(b, set)
	other := base64.StdEncoding.EncodeToString([]byte(canary + "-by-hand"))
	b.Edit(bench.Secrets, "login", `{"data":{"password":"`+other+`"}}`)
	changes := pass.Plan(b, set).Changes()
	if len(changes) != 1 || len(changes[0].Fields) != 1 || changes[0].Fields[0].Path != "data.password" || !changes[0].Drifted {
		t.Fatalf("the plan: %+v", changes)
	}
	text, err := json.Marshal(changes[0].Fields)
	if err != nil {
		t.Fatal(err)
	}
	holdsNoSecret(t, string(text), canary+"-by-hand", canary)
}

// holdsNoSecret checks that a text contains a value in no form.
func holdsNoSecret(t *testing.T, text string, values ...string) {
	t.Helper()
	for _, value := range values {
		for _, form := range []string{value, base64.StdEncoding.EncodeToString([]byte(value))} {
			if strings.Contains(text, form) {
				t.Errorf("the value %s is shown: %s", form, text)
			}
		}
	}
}

func TestErrorsQuoteNoSecret(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte(canary))
	for name, doc := range map[string]string{
		"number":              "apiVersion: v1\nkind: Secret\nmetadata: {name: bad, namespace: $NS}\ndata: {password: 8675309123}\n",
		"short number":        "apiVersion: v1\nkind: Secret\nmetadata: {name: bad, namespace: $NS}\ndata: {pin: 907}\n",
		"number as plain":     "apiVersion: v1\nkind: Secret\nmetadata: {name: bad, namespace: $NS}\nstringData: {password: 8675309123}\n",
		"fraction":            "apiVersion: v1\nkind: Secret\nmetadata: {name: bad, namespace: $NS}\ndata: {password: 8675309.123}\n",
		"map":                 "apiVersion: v1\nkind: Secret\nmetadata: {name: bad, namespace: $NS}\nstringData: {password: {inner: " + canary + "}}\n",
		"list":                "apiVersion: v1\nkind: Secret\nmetadata: {name: bad, namespace: $NS}\ndata: {password: [" + canary + ", " + encoded + "]}\n",
		"not base64":          "apiVersion: v1\nkind: Secret\nmetadata: {name: bad, namespace: $NS}\ndata: {password: " + canary + "}\n",
		"data that is a text": "apiVersion: v1\nkind: Secret\nmetadata: {name: bad, namespace: $NS}\ndata: " + canary + "\n",
		"data of many lines":  "apiVersion: v1\nkind: Secret\nmetadata: {name: bad, namespace: $NS}\ndata: \"first\\n" + canary + "\"\n",
		"name":                "apiVersion: v1\nkind: Secret\nmetadata: {name: Bad_Name, namespace: $NS}\nstringData: {password: " + canary + "}\n",
		"wrong key":           "apiVersion: v1\nkind: Secret\nmetadata: {name: bad, namespace: $NS}\nstringData: {\"pass word\": " + canary + "}\n",
		"type without keys":   "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/dockerconfigjson\nmetadata: {name: bad, namespace: $NS}\nstringData: {.dockerconfigjson: " + canary + "}\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			_, err := pass.TryPlan(b, b.Set(doc))
			bench.WantError(t, err, "Secret/"+b.Namespace+"/")
			holdsNoSecret(t, err.Error(), canary, "8675309123", "8675309.123", "8.675309", "907")
			if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
				holdsNoSecret(t, fmt.Sprint(status.Status()), canary, "8675309123", "8.675309")
			}
		})
	}
}

func TestDroppedKeyOfStringDataGoes(t *testing.T) {
	b := bench.New(t)
	two := "apiVersion: v1\nkind: Secret\nmetadata: {name: login, namespace: $NS}\nstringData: {user: ada, password: " + canary + "}\n"
	pass.Sync(b, b.Set(two))
	pass.Sync(b, b.Set(login(canary)))
	if data, _ := bench.Value(b.Get(bench.Secrets, b.Namespace, "login"), "data").(map[string]any); len(data) != 1 || data["password"] == nil {
		t.Errorf("%d keys are left", len(data))
	}
}
