package cluster

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/restmapper"

	"github.com/syncerdev/syncer/pkg/answer"
)

// kinds tracks which resources the API server serves, and notices new ones.
type kinds struct {
	client discovery.DiscoveryInterface
	shared *Shared

	mu     sync.Mutex
	mapper meta.RESTMapper                               // nil: to be read
	found  map[schema.GroupVersionKind]*meta.RESTMapping // that mapper gave; callers do not change them
	former meta.RESTMapper                               // what was read before the last forget; nil: nothing
	failed map[schema.GroupVersion]error
	read   time.Time
	broken struct { // the last try that failed
		at  time.Time
		err error
	}
}

// staleAfter bounds how often an unknown kind makes the client read the whole discovery again: a set may hold a hundred
// objects of a kind whose CRD is missing.
const staleAfter = 2 * time.Second

// resource maps a kind to its resource in the given version, or without a version in the one that the server prefers. It
// looks an unknown kind up again, since the CRD may be new.
func (k *kinds) resource(gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	began := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mapper == nil {
		if err := k.refresh(began); err != nil {
			return nil, err
		}
	}
	mapping, err := k.lookup(gvk)
	if meta.IsNoMatchError(err) && time.Since(k.read) > staleAfter {
		if err := k.refresh(began); err != nil {
			return nil, err
		}
		mapping, err = k.lookup(gvk)
	}
	return mapping, err
}

// forRequest is resource for a request about one object, or about records. While discovery cannot be read, it maps a kind as
// before: the answer to the request shows whether the kind is still served. So an object that was deleted to be created again
// is created, and the record says so.
func (k *kinds) forRequest(gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	mapping, err := k.resource(gvk)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil || k.mapper != nil || k.former == nil {
		return mapping, err
	}
	if former, formerErr := k.former.RESTMapping(gvk.GroupKind(), gvk.Version); formerErr == nil {
		return former, nil
	}
	return nil, err
}

// anyVersion maps a kind in the given version where the server serves it, and else in the version that the server
// prefers.
func (k *kinds) anyVersion(gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	mapping, err := k.resource(gvk)
	if meta.IsNoMatchError(err) && gvk.Version != "" {
		gvk.Version = ""
		mapping, err = k.resource(gvk)
	}
	return mapping, err
}

func (k *kinds) lookup(gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	if known := k.found[gvk]; known != nil {
		return known, nil
	}
	var versions []string
	if gvk.Version != "" {
		versions = append(versions, gvk.Version)
	}
	mapping, err := k.mapper.RESTMapping(gvk.GroupKind(), versions...)
	if meta.IsNoMatchError(err) {
		// A group whose server does not answer may have the kind: the kind must not count as gone.
		for gv, failure := range k.failed {
			if gv.Group == gvk.Group && (gvk.Version == "" || gvk.Version == gv.Version) {
				return nil, answer.Undiscovered(gv, failure)
			}
		}
	}
	if err == nil {
		k.found[gvk] = mapping
	}
	return mapping, err
}

// forget makes the next look-up ask the API server.
func (k *kinds) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mapper != nil {
		k.mapper, k.former = nil, k.mapper
	}
}

// refresh reads discovery. A caller that waited while another one tried in vain gets that error: a silent API server is waited
// for once, and not once for each caller.
func (k *kinds) refresh(began time.Time) error {
	if k.broken.at.After(began) {
		return k.broken.err
	}
	err := k.discover()
	if err != nil {
		k.broken.at, k.broken.err = time.Now(), err
	}
	return err
}

// discover reads discovery. It does not use client-go's cache for it, because this cache logs the error that it also
// returns.
func (k *kinds) discover() error {
	groups, lists, err := k.client.ServerGroupsAndResources()
	partial, isPartial := errors.AsType[*discovery.ErrGroupDiscoveryFailed](err)
	if err != nil && !isPartial {
		return fmt.Errorf("asking the API server for its kinds: %w", err)
	}
	k.failed = nil
	if isPartial {
		k.failed = partial.Groups
	}
	resources := map[string][]metav1.APIResource{}
	for _, list := range lists {
		resources[list.GroupVersion] = list.APIResources
	}
	served := make([]*restmapper.APIGroupResources, len(groups))
	for i, group := range groups {
		served[i] = &restmapper.APIGroupResources{Group: *group, VersionedResources: map[string][]metav1.APIResource{}}
		for _, version := range group.Versions {
			if known, ok := resources[version.GroupVersion]; ok {
				served[i].VersionedResources[version.Version] = known
			}
		}
	}
	mapper, err := k.shared.table(served)
	if err != nil {
		return fmt.Errorf("reading the kinds of the API server: %w", err)
	}
	k.mapper, k.read, k.found = mapper, time.Now(), map[schema.GroupVersionKind]*meta.RESTMapping{}
	return nil
}
