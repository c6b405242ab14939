package v1alpha1

import (
	"cmp"
	"fmt"
	"time"

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

// Render bounds what the overlay of one target may cost. 0 is the default.
type Render struct {
	// Workers is how many processes render at once in `syncer run`. Default: one for each processor.
	Workers int `yaml:"workers"`
	// Timeout is how long an overlay may take. Default: 1m.
	Timeout Duration `yaml:"timeout"`
	// Memory is what an overlay may take while it is rendered. Default: 192Mi.
	Memory Bytes `yaml:"memory"`
	// FileBytes of one file that an overlay reads. Default: 16Mi.
	FileBytes Bytes `yaml:"fileBytes"`
	// Files that an overlay reads. Default: 10000.
	Files int `yaml:"files"`
	// Bytes of these files. Default: 64Mi.
	Bytes Bytes `yaml:"bytes"`
	// Aliases is how many values the aliases of a YAML document may stand for. Default: 100000.
	Aliases int `yaml:"aliases"`
	// Nesting is how many levels of maps and lists a YAML document may have. Default: 200.
	Nesting int `yaml:"nesting"`
	// Objects of an overlay. Default: 10000.
	Objects int `yaml:"objects"`
	// ObjectBytes of one object, as JSON. Default: 1528Ki, since etcd takes 1.5Mi.
	ObjectBytes Bytes `yaml:"objectBytes"`
	// SetBytes of all objects of an overlay, as JSON. Default: 64Mi.
	SetBytes Bytes `yaml:"setBytes"`
	// Images is how many image references a target may have. Default: 1000.
	Images int `yaml:"images"`
	// ErrorBytes of the text of an error. Default: 2Ki.
	ErrorBytes Bytes `yaml:"errorBytes"`
}

const (
	// leastMemory is what a process needs to render anything.
	leastMemory = 64 << 20
	// defaultImages is how many image references a target may have.
	defaultImages = 1000
)

func (r Render) validate(p *problems) {
	for _, c := range []struct {
		key   string
		value int64
	}{
		{"workers", int64(r.Workers)}, {"timeout", int64(r.Timeout.Duration)}, {"memory", int64(r.Memory)}, {"fileBytes", int64(r.FileBytes)},
		{"files", int64(r.Files)}, {"bytes", int64(r.Bytes)}, {"aliases", int64(r.Aliases)}, {"nesting", int64(r.Nesting)}, {"objects", int64(r.Objects)},
		{"objectBytes", int64(r.ObjectBytes)}, {"setBytes", int64(r.SetBytes)}, {"images", int64(r.Images)}, {"errorBytes", int64(r.ErrorBytes)},
	} {
		notNegative(p, "render."+c.key, c.value)
	}
	if r.Memory > 0 && r.Memory < leastMemory {
		p.add("render.memory", "%d bytes are too few to render anything; at least 64Mi", r.Memory)
	}
	if r.Timeout.Duration > 0 && r.Timeout.Duration < time.Second {
		p.add("render.timeout", "%s is too short; at least 1s", r.Timeout.Duration)
	}
}

// MostImages is how many image references a target may have.
func (r Render) MostImages() int { return cmp.Or(r.Images, defaultImages) }

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
