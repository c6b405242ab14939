package cluster

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"sync"
	"weak"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/restmapper"

	"github.com/syncerdev/syncer/pkg/connect"
)

// Shared is what the connections of a process share: the kubeconfigs that several of them read, and the table of kinds of API
// servers that serve the same kinds. It is safe for concurrent use.
type Shared struct {
	files *connect.Files

	mu     sync.Mutex
	tables map[[sha256.Size]byte]weak.Pointer[table] // by what is served
}

// table maps kinds to resources. It is not changed.
type table struct{ meta.RESTMapper }

// NewShared returns a Shared that holds nothing yet.
func NewShared() *Shared {
	return &Shared{files: connect.NewFiles(), tables: map[[sha256.Size]byte]weak.Pointer[table]{}}
}

// table returns the table of what an API server serves. Servers that serve the same get the same one: a table takes about
// 230 KB. One that no server uses any more is dropped.
func (s *Shared) table(served []*restmapper.APIGroupResources) (*table, error) {
	text, err := json.Marshal(served)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.tables[sum].Value(); known != nil {
		return known, nil
	}
	maps.DeleteFunc(s.tables, func(_ [sha256.Size]byte, of weak.Pointer[table]) bool { return of.Value() == nil })
	made := &table{restmapper.NewDiscoveryRESTMapper(served)}
	s.tables[sum] = weak.Make(made)
	return made, nil
}
