package v1alpha1

import (
	"fmt"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"
)

// SourceLimits bound what a repository and its server may have syncer receive, keep and read. 0 is the default.
type SourceLimits struct {
	// Refs that the server lists. Default: 500000.
	Refs int `yaml:"refs"`
	// RefBytes of that list. Default: 64Mi.
	RefBytes Bytes `yaml:"refBytes"`
	// Redirects of an HTTP server that are followed. Default: 5.
	Redirects int `yaml:"redirects"`
	// PackBytes of the objects of one fetch, as they are sent. Default: 1Gi.
	PackBytes Bytes `yaml:"packBytes"`
	// Objects of one fetch. Default: 1000000.
	Objects int `yaml:"objects"`
	// ObjectBytes of one object. Larger files are not fetched, and cannot be read. Default: 32Mi.
	ObjectBytes Bytes `yaml:"objectBytes"`
	// InflatedBytes of the objects of one fetch. Default: 8Gi.
	InflatedBytes Bytes `yaml:"inflatedBytes"`
	// Files of one commit. Default: 1000000.
	Files int `yaml:"files"`
	// CacheBytes of a cache folder, from which it is fetched anew. Default: 2Gi.
	CacheBytes Bytes `yaml:"cacheBytes"`
	// MemoryBytes of objects that are kept in memory where no cache folder can be used. Default: 256Mi.
	MemoryBytes Bytes `yaml:"memoryBytes"`
}

// RegistryLimits bound what registries may have syncer send and read. 0 is the default.
type RegistryLimits struct {
	// RequestsPerMinute to one host. Default: 6000.
	RequestsPerMinute int `yaml:"requestsPerMinute"`
	// RequestsPerLookup are sent for one question, with redirects, tokens and retries. Default: 100.
	RequestsPerLookup int `yaml:"requestsPerLookup"`
	// Redirects that are followed for one request. Default: 5.
	Redirects int `yaml:"redirects"`
	// TagPages of a repository's list of tags. Default: 1000.
	TagPages int `yaml:"tagPages"`
	// TagBytes of that list. Default: 32Mi.
	TagBytes Bytes `yaml:"tagBytes"`
	// ManifestBytes of one manifest or index. Default: 8Mi.
	ManifestBytes Bytes `yaml:"manifestBytes"`
	// Signatures of one image that are looked at. Default: 100.
	Signatures int `yaml:"signatures"`
}

// Bytes is a number of bytes, written as Kubernetes does: 64Mi, 1Gi, 500k or a plain number.
type Bytes int64

// UnmarshalYAML reads a quantity.
func (b *Bytes) UnmarshalYAML(node *yaml.Node) error {
	quantity, err := resource.ParseQuantity(node.Value)
	n, whole := quantity.AsInt64()
	if err != nil || !whole {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %q is not a number of bytes (write 64Mi, 1Gi)", node.Line, node.Value)}}
	}
	*b = Bytes(n)
	return nil
}

func (l SourceLimits) validate(p *problems, at string) {
	for _, c := range []struct {
		key   string
		value int64
	}{
		{"refs", int64(l.Refs)}, {"refBytes", int64(l.RefBytes)}, {"redirects", int64(l.Redirects)}, {"packBytes", int64(l.PackBytes)},
		{"objects", int64(l.Objects)}, {"objectBytes", int64(l.ObjectBytes)}, {"inflatedBytes", int64(l.InflatedBytes)},
		{"files", int64(l.Files)}, {"cacheBytes", int64(l.CacheBytes)}, {"memoryBytes", int64(l.MemoryBytes)},
	} {
		notNegative(p, at+"."+c.key, c.value)
	}
}

func (l RegistryLimits) validate(p *problems, at string) {
	for _, c := range []struct {
		key   string
		value int64
	}{
		{"requestsPerMinute", int64(l.RequestsPerMinute)}, {"requestsPerLookup", int64(l.RequestsPerLookup)}, {"redirects", int64(l.Redirects)},
		{"tagPages", int64(l.TagPages)}, {"tagBytes", int64(l.TagBytes)}, {"manifestBytes", int64(l.ManifestBytes)}, {"signatures", int64(l.Signatures)},
	} {
		notNegative(p, at+"."+c.key, c.value)
	}
}

func notNegative(p *problems, at string, value int64) {
	if value < 0 {
		p.add(at, "%d is below 0; leave it out for the default", value)
	}
}
