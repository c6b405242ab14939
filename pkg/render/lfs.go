package render

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// ErrPointer says that git holds a Git LFS pointer in the place of a file.
var ErrPointer = errors.New("this is a Git LFS pointer and not the file: syncer fetches nothing from LFS; keep the file in git itself (`git lfs untrack`), or load it from a store when the job runs")

// lfsPointer is the form of a pointer in the specification of Git LFS, and in the two before it.
var lfsPointer = regexp.MustCompile(`^\s*version (?:https://git-lfs\.github\.com/spec/v|https://hawser\.github\.com/spec/v|http://git-media\.io/v/)\d+\s*\n(?:[a-z0-9.-]+ [^\n]*\n)*?\s*oid (?:sha256:)?[0-9a-f]{64}\s*\n\s*size \d+\s*$`)

// longestPointer is above the 1024 bytes that Git LFS allows, for the indentation of a block in YAML.
const longestPointer = 2048

// IsPointer reports whether the content of a file is a Git LFS pointer.
func IsPointer[T string | []byte](content T) bool {
	return len(content) <= longestPointer && lfsPointer.MatchString(string(content))
}

// readWhole returns the content of a file, and an error where git holds a pointer to it.
func readWhole(files fs.FS, name string) ([]byte, error) {
	data, err := fs.ReadFile(files, name)
	if err == nil && IsPointer(data) {
		return nil, fmt.Errorf("%s: %w", name, ErrPointer)
	}
	return data, err
}

// checkPointers refuses a ConfigMap or Secret that has a pointer as one of its values, wherever that was written.
func checkPointers(obj *unstructured.Unstructured) error {
	id := manifest.IDOf(obj)
	if kind := id.GroupKind(); kind.Group != "" || kind.Kind != "ConfigMap" && kind.Kind != "Secret" {
		return nil
	}
	for _, field := range []string{"data", "binaryData", "stringData"} {
		values, _ := obj.Object[field].(map[string]any)
		encoded := field == "binaryData" || field == "data" && id.Kind == "Secret"
		for _, key := range slices.Sorted(maps.Keys(values)) {
			text, _ := values[key].(string)
			if encoded && len(text) <= base64.StdEncoding.EncodedLen(longestPointer)+longestPointer/32 {
				decoded, _ := base64.StdEncoding.DecodeString(text) // the API server refuses a value that is not base64
				text = string(decoded)
			}
			if IsPointer(text) {
				return fmt.Errorf("%s: %s[%q]: %w", id, field, key, ErrPointer)
			}
		}
	}
	return nil
}
