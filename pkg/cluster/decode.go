package cluster

import (
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// Dynamic returns a client for the objects of any kind. It is that of client-go, which reads each answer three times to find
// its kind; this one reads it once (BenchmarkDecode).
func Dynamic(config *rest.Config) (dynamic.Interface, error) {
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to %s: %w", config.Host, err)
	}
	own := dynamic.ConfigFor(config)
	own.GroupVersion, own.APIPath = nil, "/unused" // each request has its own
	own.NegotiatedSerializer = answers{own.NegotiatedSerializer}
	client, err := rest.UnversionedRESTClientForConfigAndClient(own, transport)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to %s: %w", config.Host, err)
	}
	return dynamic.New(client), nil
}

// answers is the serializer of client-go's dynamic client with another decoder for JSON.
type answers struct{ inner runtime.NegotiatedSerializer }

// SupportedMediaTypes implements runtime.NegotiatedSerializer.
func (a answers) SupportedMediaTypes() []runtime.SerializerInfo {
	var out []runtime.SerializerInfo
	for _, info := range a.inner.SupportedMediaTypes() {
		if info.MediaType == runtime.ContentTypeJSON {
			info.Serializer = decoder{info.Serializer}
			stream := *info.StreamSerializer
			stream.Serializer = decoder{stream.Serializer}
			info.StreamSerializer = &stream
		}
		out = append(out, info)
	}
	return out
}

// EncoderForVersion implements runtime.NegotiatedSerializer.
func (a answers) EncoderForVersion(encoder runtime.Encoder, version runtime.GroupVersioner) runtime.Encoder {
	return a.inner.EncoderForVersion(encoder, version)
}

// DecoderToVersion implements runtime.NegotiatedSerializer.
func (a answers) DecoderToVersion(decoder runtime.Decoder, version runtime.GroupVersioner) runtime.Decoder {
	return a.inner.DecoderToVersion(decoder, version)
}

// decoder decodes objects, lists and events of watches at once, and leaves everything else to the decoder of client-go.
type decoder struct{ inner runtime.Serializer }

// Encode implements runtime.Encoder.
func (d decoder) Encode(obj runtime.Object, w io.Writer) error { return d.inner.Encode(obj, w) }

// Identifier implements runtime.Encoder.
func (d decoder) Identifier() runtime.Identifier { return d.inner.Identifier() }

// Decode implements runtime.Decoder.
func (d decoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	var decoded runtime.Object
	switch into := into.(type) {
	case nil:
		if fields := fieldsOf(data); isObject(fields) {
			decoded = &unstructured.Unstructured{Object: fields}
		}
	case *unstructured.Unstructured:
		if fields := fieldsOf(data); isObject(fields) {
			into.Object, decoded = fields, into
		}
	case *unstructured.UnstructuredList:
		if fields := fieldsOf(data); isObject(fields) && setList(into, fields) {
			decoded = into
		}
	case *metav1.WatchEvent:
		if json.Unmarshal(data, into) == nil && len(into.Object.Raw) > 0 {
			return into, &schema.GroupVersionKind{}, nil
		}
	}
	if decoded == nil {
		return d.inner.Decode(data, defaults, into)
	}
	kind := decoded.GetObjectKind().GroupVersionKind()
	return decoded, &kind, nil
}

// fieldsOf decodes a JSON object; nil: it is none.
func fieldsOf(data []byte) map[string]any {
	var fields map[string]any
	if json.Unmarshal(data, &fields) != nil {
		return nil
	}
	return fields
}

// isObject reports whether fields are those of an object of a cluster, and not an error of the API server.
func isObject(fields map[string]any) bool {
	kind, _ := fields["kind"].(string)
	version, _ := fields["apiVersion"].(string)
	return kind != "" && version != "" && kind != "Status"
}

// setList sets a list by its fields. It reports whether it is one. The API server leaves out the kind of each item of a
// built-in kind.
func setList(list *unstructured.UnstructuredList, fields map[string]any) bool {
	items, ok := fields["items"].([]any)
	if !ok {
		return false
	}
	kind, _ := fields["kind"].(string)
	objects := make([]unstructured.Unstructured, len(items))
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			return false
		}
		objects[i].Object = object
		if objects[i].GetKind() == "" && objects[i].GetAPIVersion() == "" {
			object["kind"], object["apiVersion"] = strings.TrimSuffix(kind, "List"), fields["apiVersion"]
		}
	}
	delete(fields, "items")
	list.Object, list.Items = fields, objects
	return true
}
