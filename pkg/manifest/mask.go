package manifest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Mask hides the secret parts of an object: the data of Secrets, values that look like credentials wherever they stand,
// and annotations that hold a whole earlier manifest.
type Mask struct {
	Object *unstructured.Unstructured
	// Salt keys the hash that distinguishes two masked values, so that a value cannot be found by trying. Without a salt
	// there is no hash.
	Salt []byte
}

const masked = "(masked)"

// Value is the value of a field as it may be shown.
func (m Mask) Value(at Path, value any) any {
	if m.hidden(at) {
		return m.cover(at, value)
	}
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			below := at.with(Step{Name: key})
			if name, ok := v["name"].(string); ok && key == "value" {
				below = at.with(Step{Keys: []KeyValue{{"name", name}}}).with(Step{Name: key})
			}
			out[key] = m.Value(below, item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = m.Value(at.with(itemStep(v, i, nil)), item)
		}
		return out
	case string:
		if isCredential(at, v) {
			return m.cover(at, v)
		}
	}
	return value
}

// hidden reports whether everything below a path is secret.
func (m Mask) hidden(at Path) bool {
	if len(at) >= 2 && at[len(at)-2].Name == "annotations" && manifestAnnotation.MatchString(at[len(at)-1].Name) {
		return true
	}
	return IsSecret(m.Object) && len(at) > 0 && (at[0].Name == "data" || at[0].Name == "stringData")
}

// cover masks a value and keeps its shape.
func (m Mask) cover(at Path, value any) any {
	switch v := value.(type) {
	case nil:
		return nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = m.cover(at.with(Step{Name: key}), item)
		}
		return out
	}
	if len(m.Salt) == 0 {
		return masked
	}
	doc, err := json.Marshal(value)
	if err != nil {
		return masked
	}
	// The path is part of the hash: two fields with one password do not show that they share it.
	mac := hmac.New(sha256.New, m.Salt)
	mac.Write([]byte(at.String() + "\x00"))
	mac.Write(doc)
	return "(masked " + hex.EncodeToString(mac.Sum(nil)[:4]) + ")"
}

// manifestAnnotation are annotations in which tools keep a whole manifest, Secret values included.
var manifestAnnotation = regexp.MustCompile(`last-applied|^kapp\.k14s\.io/original|^objectset\.rio\.cattle\.io/applied$`)

var (
	credentialName = regexp.MustCompile(`(?i)passw(or)?d|passphrase|pwd$|^pw$|secret|token|credential|bearer|jaas|(api|access|private|auth|signing|encryption|fernet|shared|account|master|storage)[-_.]?key|connection[-_.]?string|[-_.]conn(_id)?$|dsn$|sas[-_.]`)
	// notCredential are names that speak of a credential without being one: where it is, or how long it lasts.
	notCredential = regexp.MustCompile(`(?i)(name|names|file|path|dir|ref|provider|class|factory|enabled|required|seconds|minutes|expiration|ttl|length|rotation|policy|version|type)$`)
	// credentialText is a text that holds a credential: in a URL, as a setting, or by its own form.
	credentialText = regexp.MustCompile(`://[^/\s:@]*:[^/\s@]+@|-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}` +
		`|(?i:passw(or)?d|passphrase|secret|token|(api|access|private|auth|account|shared)[-_.]?key)(?:[-_.]?(?:key|value))?["']?\s*[=:]\s*["']?[^\s"'$<{]{3,}`)
)

// passwordInURL matches a password in an address, also inside a longer text that an error quotes.
var passwordInURL = regexp.MustCompile(`(://[^/\s:@]*:)[^/\s@]+@`)

// isCredential reports whether a text looks like a credential, by the name of its field, by the name of the list item
// whose value it is (an environment variable, a parameter), or by itself.
func isCredential(at Path, text string) bool {
	if text == "" {
		return false
	}
	named := len(at) - 1
	for named > 0 && at[named].Name == "" && len(at[named].Keys) == 0 {
		named-- // an item of a list of texts goes by the list's name
	}
	if named > 0 && at[named].Name == "value" && len(at[named-1].Keys) > 0 {
		named--
	}
	if named >= 0 {
		name := at[named].Name
		for _, kv := range at[named].Keys {
			if kv.Key == "name" {
				name = kv.Value
			}
		}
		if credentialName.MatchString(name) && !notCredential.MatchString(name) {
			return true
		}
	}
	return credentialText.MatchString(text)
}

// Redact removes the secret values of an object from a text, such as an API server's error that quotes its input.
func Redact(obj *unstructured.Unstructured, text string) string {
	values := secretValues(obj)
	for _, field := range Leaves(obj.Object) {
		if value, ok := field.Value.(string); ok && len(strings.TrimSpace(value)) >= shortestSecret && isCredential(field.Path, value) {
			values = append(values, value, strings.TrimSpace(value), quoted(value))
		}
	}
	slices.SortFunc(values, longestFirst)
	for _, value := range values {
		text = strings.ReplaceAll(text, value, masked)
	}
	return passwordInURL.ReplaceAllString(text, "$1"+masked+"@")
}
