package cluster

import (
	"github.com/syncerdev/syncer/pkg/audit"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Audited names an object as the API server's audit log does.
func Audited(c *Cluster, id manifest.ID) (audit.Object, error) {
	mapping, err := c.AnyMapping(id.GroupVersionKind())
	if err != nil {
		return audit.Object{}, err
	}
	return audit.Object{Group: mapping.Resource.Group, Resource: mapping.Resource.Resource, Namespace: id.Namespace, Name: id.Name}, nil
}
