package manifest

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIDs(t *testing.T) {
	deployment := IDOf(obj(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: data}"))
	older := IDOf(obj(t, "apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: web, namespace: data}"))
	if deployment == older || deployment.Key() != older.Key() {
		t.Errorf("one object in two versions: %v, %v", deployment.Key(), older.Key())
	}
	if got := deployment.String(); got != "Deployment/data/web" {
		t.Errorf("got %s", got)
	}
	if got := IDOf(obj(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: data}")).String(); got != "Namespace/data" {
		t.Errorf("got %s", got)
	}
	ids := []ID{{"v1", "B", "", "a"}, {"v1", "A", "n", "b"}, {"v1", "A", "n", "a"}, {"v1", "A", "m", "z"}, {"apps/v1", "A", "m", "z"}}
	slices.SortFunc(ids, ID.Compare)
	var got []string
	for _, id := range ids {
		got = append(got, id.APIVersion+" "+id.String())
	}
	if want := "apps/v1 A/m/z, v1 A/m/z, v1 A/n/a, v1 A/n/b, v1 B/a"; strings.Join(got, ", ") != want {
		t.Errorf("got %v", got)
	}
}

func TestSetYAMLIsStable(t *testing.T) {
	set := Set{obj(t, "b: 1\na: {d: [x], c: 'yes'}"), obj(t, "k: v")}
	const want = "a:\n  c: \"yes\"\n  d:\n  - x\nb: 1\n---\nk: v\n"
	for range 3 {
		if got, err := set.YAML(); err != nil || string(got) != want {
			t.Errorf("%s, %v", got, err)
		}
	}
}

func TestDuplicate(t *testing.T) {
	a := obj(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}")
	b := obj(t, "apiVersion: apps/v1beta2\nkind: Deployment\nmetadata: {name: a}")
	c := obj(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: x}")
	if id, ok := (Set{a, c}).Duplicate(); ok {
		t.Errorf("%v", id)
	}
	if id, ok := (Set{a, c, b}).Duplicate(); !ok || id.APIVersion != "apps/v1beta2" {
		t.Errorf("%v, %t", id, ok)
	}
}

func TestApplicableLeavesOutWhatTheServerWrites(t *testing.T) {
	set := Set{obj(t, "kind: X\nmetadata: {name: a, uid: u, creationTimestamp: null, resourceVersion: '1', generation: 2, selfLink: s, managedFields: [{manager: m}], labels: {uid: kept}}\nspec: {status: kept}\nstatus: {a: 1}")}
	want := obj(t, "kind: X\nmetadata: {name: a, labels: {uid: kept}}\nspec: {status: kept}")
	if diff := cmp.Diff(want.Object, set.Applicable()[0].Object); diff != "" {
		t.Error(diff)
	}
	if set[0].GetUID() != "u" {
		t.Error("the set itself was changed")
	}
}

func TestLabel(t *testing.T) {
	set := Set{obj(t, "kind: X\nmetadata: {name: a, labels: {b: c}}"), obj(t, "kind: X\nmetadata: {name: b}")}
	labelled := set.Label("k", "v")
	if labels := labelled[0].GetLabels(); labels["k"] != "v" || labels["b"] != "c" || labelled[1].GetLabels()["k"] != "v" {
		t.Errorf("got %v", labels)
	}
	if set[0].GetLabels()["k"] != "" || set[1].GetLabels() != nil {
		t.Error("the set itself was changed")
	}
}

func TestHash(t *testing.T) {
	hash := func(text, key string) string {
		t.Helper()
		sum, err := Hash(obj(t, text), []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	const configMap, secret = "apiVersion: v1\nkind: ConfigMap\ndata: {a: b}", "apiVersion: v1\nkind: Secret\ndata: {a: b}"
	if hash(configMap, "x") != hash("data: {a: b}\nkind: ConfigMap\napiVersion: v1", "y") {
		t.Error("one object has two hashes")
	}
	if hash(configMap, "x") == hash(strings.Replace(configMap, "b}", "c}", 1), "x") {
		t.Error("two objects have one hash")
	}
	if again := hash(secret, "x"); again == hash(secret, "y") || again != hash("data: {a: b}\nkind: Secret\napiVersion: v1", "x") {
		t.Error("the hash of a Secret does not hang on the key, or on more")
	}
	if !strings.HasPrefix(hash(configMap, "x"), "sha256:") || !strings.HasPrefix(hash(secret, "x"), "hmac-sha256:") {
		t.Error("the hashes do not say what they are")
	}
}

func TestRedact(t *testing.T) {
	const plain = "canary pass \"word\"\nof two lines"
	coded := base64.StdEncoding.EncodeToString([]byte(plain))
	text := func(secret string) string {
		return Redact(obj(t, "apiVersion: v1\nkind: Secret\n"+secret), strings.Join([]string{
			"plain: " + plain, "base64: " + coded, "twice: " + base64.StdEncoding.EncodeToString([]byte(coded)), fmt.Sprintf("quoted: %q", plain), "kept",
		}, "; "))
	}
	for name, secret := range map[string]string{
		"data":       "data: {a: " + coded + "}",
		"stringData": fmt.Sprintf("stringData: {a: %q}", plain),
		"wrong type": fmt.Sprintf("data: {a: {b: [%q]}}", plain),
		"no map":     fmt.Sprintf("data: [%q]", plain),
		"both":       fmt.Sprintf("data: {a: %s}\nstringData: {a: canary, b: %q}", coded, plain),
	} {
		got := text(secret)
		if strings.Contains(got, "canary") || strings.Contains(got, coded) || strings.Contains(got, "two lines") || !strings.Contains(got, "kept") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := Redact(obj(t, "apiVersion: v1\nkind: Secret\ndata: {n: 123456}"), "cannot unmarshal 123456"); strings.Contains(got, "123456") {
		t.Errorf("a number: %s", got)
	}
	if got := Redact(obj(t, "apiVersion: v1\nkind: Secret\ndata: {n: a}"), "a banana"); got != "a banana" {
		t.Errorf("a value of one letter garbles the text: %s", got)
	}
	if got := Redact(obj(t, "apiVersion: v1\nkind: ConfigMap\ndata: {n: visible}"), "visible"); got != "visible" {
		t.Errorf("a ConfigMap is redacted: %s", got)
	}
}

func TestSortChanges(t *testing.T) {
	changes := []Change{{ID: ID{Kind: "B"}}, {ID: ID{Kind: "A", Name: "z"}}, {ID: ID{Kind: "A", Name: "a"}}}
	SortChanges(changes)
	if changes[0].ID.Name != "a" || changes[2].ID.Kind != "B" {
		t.Errorf("got %v", changes)
	}
}
