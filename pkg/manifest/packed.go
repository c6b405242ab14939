package manifest

import (
	"encoding/json"
	"fmt"
	"slices"
	"unique"

	"github.com/klauspost/compress/s2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// Packed is a set as compressed JSON, with the identities of its objects: a set that is kept for hours needs a twentieth of
// the memory so. It does not change. The zero value is no set at all, which is not the empty set.
type Packed struct {
	ids  []ID
	docs []byte // a JSON list of the objects, compressed by S2
}

// Pack packs a set. It panics at a value that JSON does not have, as DeepCopy does: no decoder makes one.
func Pack(set Set) Packed {
	docs := make([]map[string]any, len(set))
	for i, obj := range set {
		docs[i] = obj.Object
	}
	data, err := json.Marshal(docs)
	if err != nil {
		panic(fmt.Errorf("packing a set: %w", err))
	}
	return Packed{ids: set.IDs(), docs: slices.Clip(s2.Encode(nil, data))}
}

// IsNone reports whether there is no set.
func (p Packed) IsNone() bool { return p.docs == nil }

// IDs lists the identities of the objects, in the order of the set. The caller does not change the list.
func (p Packed) IDs() []ID { return p.ids }

// Bytes are the packed set as FromBytes takes it. The caller does not change them.
func (p Packed) Bytes() []byte { return p.docs }

// FromBytes is a packed set from the bytes of one, which come from another process, and the set. It refuses bytes that are
// none, and a set that would unpack to more than some bytes.
func FromBytes(docs []byte, most int) (Packed, Set, error) {
	size, err := s2.DecodedLen(docs)
	if err == nil && size > most {
		err = fmt.Errorf("it has %d bytes, and %d are allowed", size, most)
	}
	var set Set
	if err == nil {
		set, err = unpack(docs)
	}
	if err != nil {
		return Packed{}, nil, fmt.Errorf("unpacking a set: %w", err)
	}
	return Packed{ids: set.IDs(), docs: docs}, set, nil
}

// Set unpacks the set. The caller owns the objects. It panics at bytes that Pack did not make.
func (p Packed) Set() Set {
	if p.IsNone() {
		return nil
	}
	set, err := unpack(p.docs)
	if err != nil {
		panic(fmt.Errorf("unpacking a set: %w", err))
	}
	return set
}

func unpack(packed []byte) (Set, error) {
	data, err := s2.Decode(nil, packed)
	if err != nil {
		return nil, err
	}
	var docs []map[string]any
	if err := utiljson.Unmarshal(data, &docs); err != nil {
		return nil, err
	}
	set := make(Set, len(docs))
	for i, doc := range docs {
		set[i] = &unstructured.Unstructured{Object: doc}
	}
	return set, nil
}

// IDs lists the identities of the objects, in the order of the set. Equal texts in the lists of many sets share their memory.
func (s Set) IDs() []ID {
	ids := make([]ID, len(s))
	for i, obj := range s {
		id := IDOf(obj)
		ids[i] = ID{shared(id.APIVersion), shared(id.Kind), shared(id.Namespace), shared(id.Name)}
	}
	return ids
}

func shared(text string) string { return unique.Make(text).Value() }
