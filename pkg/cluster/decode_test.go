package cluster

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// decoders returns the decoder of objects and that of a stream of client-go's dynamic client, and those that replace them.
func decoders() (theirs, ours [2]runtime.Serializer) {
	serializer := dynamic.ConfigFor(&rest.Config{}).NegotiatedSerializer
	of := func(s runtime.NegotiatedSerializer) [2]runtime.Serializer {
		info := s.SupportedMediaTypes()[0]
		return [2]runtime.Serializer{info.Serializer, info.StreamSerializer.Serializer}
	}
	return of(serializer), of(answers{serializer})
}

// A text is decoded to what client-go makes of it, or is refused as client-go refuses it.
func TestAnswersAreDecodedAsByClientGo(t *testing.T) {
	const object = `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","creationTimestamp":null},"data":{"n":"1"},"x":[1,2.5,1e3,9007199254740993,true,null,"é"]}`
	theirs, ours := decoders()
	for name, text := range map[string]string{
		"an object":                object,
		"an object without a kind": `{"apiVersion":"v1","metadata":{"name":"a"}}`,
		"an empty object":          `{}`,
		"an error":                 `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"message":"gone"}`,
		"a list of a built-in kind": `{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"c"},"items":[` +
			`{"metadata":{"name":"a"}},{"metadata":{"name":"b"},"data":{"n":"1"}}]}`,
		"a list of a custom kind": `{"kind":"OrderList","apiVersion":"e.com/v1","metadata":{},"items":[{"kind":"Order","apiVersion":"e.com/v1","metadata":{"name":"a"}}]}`,
		"an empty list":           `{"kind":"ConfigMapList","apiVersion":"v1","metadata":{},"items":[]}`,
		"a list without items":    `{"kind":"ConfigMapList","apiVersion":"v1","metadata":{},"items":null}`,
		"an event":                `{"type":"ADDED","object":` + object + `}`,
		"an event of an error":    `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":410}}`,
		"an event of nothing":     `{"type":"ADDED"}`,
		"no object":               `[1]`,
		"a broken text":           object[:60],
		"nothing":                 ``,
		"a page of a proxy":       `<html>502</html>`,
	} {
		for into, make := range map[string]func() runtime.Object{
			"nothing": func() runtime.Object { return nil }, "an object": func() runtime.Object { return &unstructured.Unstructured{} },
			"a list": func() runtime.Object { return &unstructured.UnstructuredList{} }, "an event": func() runtime.Object { return &metav1.WatchEvent{} },
			"a status": func() runtime.Object { return &metav1.Status{} },
		} {
			for i, stream := range []string{"an answer", "a stream"} {
				if (into == "an event") != (stream == "a stream") {
					continue // client-go does not ask for it
				}
				var defaults *schema.GroupVersionKind
				if into == "nothing" || into == "a status" {
					defaults = &schema.GroupVersionKind{Version: "v1", Kind: "Status"}
				}
				wantInto, gotInto := make(), make()
				want, wantKind, wantErr := theirs[i].Decode([]byte(text), defaults, wantInto)
				got, gotKind, gotErr := ours[i].Decode([]byte(text), defaults, gotInto)
				if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) || wantErr == nil && !reflect.DeepEqual(got, want) {
					t.Errorf("%s into %s:\ngot  %v, %v\nwant %v, %v", name, into, got, gotErr, want, wantErr)
				}
				if wantErr == nil && wantInto != nil && (want == wantInto) != (got == gotInto) {
					t.Errorf("%s into %s: it is decoded into another object", name, into)
				}
				if wantErr == nil && into != "an event" && *gotKind != *wantKind {
					t.Errorf("%s into %s: the kind is %s, want %s", name, into, gotKind, wantKind)
				}
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"n":"1"}}`)
	f.Add(`{"kind":"ConfigMapList","apiVersion":"v1","items":[{"metadata":{"name":"a"}},{"kind":"","apiVersion":""}]}`)
	theirs, ours := decoders()
	f.Fuzz(func(t *testing.T, text string) {
		for _, make := range []func() runtime.Object{
			func() runtime.Object { return &unstructured.Unstructured{} }, func() runtime.Object { return &unstructured.UnstructuredList{} },
		} {
			want, _, wantErr := theirs[0].Decode([]byte(text), nil, make())
			got, _, gotErr := ours[0].Decode([]byte(text), nil, make())
			if (gotErr == nil) != (wantErr == nil) || wantErr == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, %v\nwant %v, %v", got, gotErr, want, wantErr)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	settings := strings.Repeat(`"spark.sql.adaptive.enabled":"true","spark.sql.session.timeZone":"UTC",`, 10)
	object := `{"kind":"SparkApplication","apiVersion":"sparkoperator.k8s.io/v1beta2","metadata":{"name":"a","managedFields":[{"fieldsV1":{` +
		strings.Repeat(`"f:spark.sql.adaptive.enabled":{},`, 40) + `"f:x":{}}}]},"spec":{"sparkConf":{` + settings + `"x":"y"}}}`
	theirs, ours := decoders()
	for name, decoder := range map[string][2]runtime.Serializer{"client-go": theirs, "syncer": ours} {
		b.Run(name+"/answer", func(b *testing.B) {
			for b.Loop() {
				if _, _, err := decoder[0].Decode([]byte(object), nil, &unstructured.Unstructured{}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/event", func(b *testing.B) {
			event := []byte(`{"type":"MODIFIED","object":` + object + `}`)
			for b.Loop() {
				var got metav1.WatchEvent
				if _, _, err := decoder[1].Decode(event, nil, &got); err != nil {
					b.Fatal(err)
				}
				if _, _, err := decoder[0].Decode(got.Object.Raw, nil, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
