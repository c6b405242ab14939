package manifest

import "regexp"

// generatedSuffix is the hash that kustomize's generators append to a name (kustomize api/hasher): ten letters and digits,
// of an alphabet without vowels.
var generatedSuffix = regexp.MustCompile(`-[2456789bcdfghkmt]{10}$`)

// WithoutSuffix is the ID of a generated object without the hash that its generator appended; false: the name has none.
func (id ID) WithoutSuffix() (ID, bool) {
	if id.Kind != "ConfigMap" && id.Kind != "Secret" || !generatedSuffix.MatchString(id.Name) {
		return ID{}, false
	}
	id.Name = generatedSuffix.ReplaceAllString(id.Name, "")
	return id, true
}
