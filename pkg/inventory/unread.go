package inventory

import (
	"cmp"
	"context"
	"fmt"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Unread holds the parts of a target that cannot be read, and why: objects of one kind in one namespace, and single
// objects. A zero namespace stands for all.
type Unread struct {
	places map[manifest.Key]error // without names
	single map[manifest.Key]error
}

// Of says why an object cannot be read; nil: it can.
func (u Unread) Of(key manifest.Key) error {
	at := key
	at.Name = ""
	everywhere := at
	everywhere.Namespace = ""
	return cmp.Or(u.single[key], u.places[at], u.places[everywhere])
}

// addPlace notes a place that cannot be listed.
func (u *Unread) addPlace(at place, err error) {
	if u.places == nil {
		u.places = map[manifest.Key]error{}
	}
	u.places[manifest.Key{Group: at.kind.Group, Kind: at.kind.Kind, Namespace: at.namespace}] = err
}

func (u *Unread) addObject(key manifest.Key, err error) {
	if u.single == nil {
		u.single = map[manifest.Key]error{}
	}
	u.single[key] = err
}

// reasonFor finds out why a kind cannot be listed, if the list was not answered: it asks for one of the kind's objects,
// and a healthy API server answers this at once. It returns any other error.
func reasonFor(ctx context.Context, c *cluster.Cluster, at place, record *v1alpha1.PipelineSync, err error) error {
	if !answer.IsUnlisted(err) || record == nil {
		return err
	}
	for _, entry := range record.Status.Inventory {
		id := entry.ID()
		if id.GroupKind() != at.kind.GroupKind() || at.namespace != "" && at.namespace != id.Namespace {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, answer.ListTimeout)
		defer cancel()
		if _, reason := get(ctx, c, id); reason != nil {
			return fmt.Errorf("reading %s: %w", id, reason)
		}
		return answer.SilentKind(err)
	}
	return err
}
