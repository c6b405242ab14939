package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestAPackedSetComesOutAsItWentIn(t *testing.T) {
	set := Set{}
	for _, doc := range []string{
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"shop"},"data":{"text":"a < b & \u00e9 \u2028\n\t"}}`,
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"b"},"spec":{"replicas":3,"ratio":0.25,"big":9007199254740993,"none":null,"list":[],"map":{},"yes":true}}`,
	} {
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON([]byte(doc)); err != nil {
			t.Fatal(err)
		}
		set = append(set, obj)
	}
	packed := Pack(set)
	if diff := cmp.Diff(set, packed.Set()); diff != "" {
		t.Error(diff)
	}
	want := []ID{{"v1", "ConfigMap", "shop", "a"}, {"apps/v1", "Deployment", "", "b"}}
	if diff := cmp.Diff(want, packed.IDs()); diff != "" {
		t.Error(diff)
	}
	packed.Set()[0].SetName("changed")
	if name := packed.Set()[0].GetName(); name != "a" {
		t.Errorf("a change of an unpacked object reached the packed set: %s", name)
	}
}

func TestNoSetIsNotTheEmptySet(t *testing.T) {
	if none := (Packed{}); !none.IsNone() || none.Set() != nil || len(none.IDs()) != 0 {
		t.Error("the zero value is a set")
	}
	if empty := Pack(Set{}); empty.IsNone() || empty.Set() == nil || len(empty.IDs()) != 0 {
		t.Error("the empty set is none")
	}
}

func TestBytesOfAnotherProcessAreChecked(t *testing.T) {
	packed := Pack(Set{{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"}}}})
	again, set, err := FromBytes(packed.Bytes(), 1<<10)
	if err != nil || len(set) != 1 || len(again.IDs()) != 1 || again.IDs()[0] != packed.IDs()[0] {
		t.Errorf("%v, %v, %v", again.IDs(), set, err)
	}
	for what, docs := range map[string][]byte{
		"nothing":               nil,
		"no packed set":         []byte("nonsense"),
		"a set that is too big": Pack(Set{{Object: map[string]any{"data": strings.Repeat("x", 2<<10)}}}).Bytes(),
	} {
		if _, _, err := FromBytes(docs, 1<<10); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}
