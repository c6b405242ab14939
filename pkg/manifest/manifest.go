// package manifest is the currency that the rooms of syncer trade in: the identity of an object, the set that an
// overlay renders to, the change of one object, and the paths of its fields. It holds pure values and functions; it
// never touches a disk, a network, a clock or a cluster.
package manifest

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// ID names an object as a person would: version, kind, namespace and name. Two IDs of one object may differ in their
// version, so compare objects by Key.
type ID struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
}

// Key is the identity of an object: an API server keeps one object for all versions of its kind.
type Key struct{ Group, Kind, Namespace, Name string }

// IDOf reads the identity of an object from its own fields.
func IDOf(obj *unstructured.Unstructured) ID {
	return ID{APIVersion: obj.GetAPIVersion(), Kind: obj.GetKind(), Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// GroupVersionKind of the object; a malformed apiVersion gives an empty group and version.
func (id ID) GroupVersionKind() schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(id.APIVersion, id.Kind)
}

// GroupKind of the object.
func (id ID) GroupKind() schema.GroupKind { return id.GroupVersionKind().GroupKind() }

// Key drops the version.
func (id ID) Key() Key {
	return Key{Group: id.GroupVersionKind().Group, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name}
}

// String is Kind/namespace/name, or Kind/name where there is no namespace.
func (id ID) String() string {
	if id.Namespace == "" {
		return id.Kind + "/" + id.Name
	}
	return id.Kind + "/" + id.Namespace + "/" + id.Name
}

// Compare orders IDs by kind, namespace, name and then group, which is the order of every list that syncer prints.
func (id ID) Compare(other ID) int {
	return cmp.Or(
		cmp.Compare(id.Kind, other.Kind),
		cmp.Compare(id.Namespace, other.Namespace),
		cmp.Compare(id.Name, other.Name),
		cmp.Compare(id.APIVersion, other.APIVersion),
	)
}

// Set holds the objects of one overlay, in the order in which kustomize declares them. Rooms that change objects return
// a new Set of copies.
type Set []*unstructured.Unstructured

// Copy returns a set of deep copies.
func (s Set) Copy() Set {
	out := make(Set, len(s))
	for i, obj := range s {
		out[i] = obj.DeepCopy()
	}
	return out
}

// YAML prints the set as one stream of documents. The same set gives the same bytes.
func (s Set) YAML() ([]byte, error) {
	var out bytes.Buffer
	for i, obj := range s {
		if i > 0 {
			out.WriteString("---\n")
		}
		doc, err := yaml.Marshal(obj.Object)
		if err != nil {
			return nil, fmt.Errorf("printing %s: %w", IDOf(obj), err)
		}
		out.Write(doc)
	}
	return out.Bytes(), nil
}

// Duplicate returns the first object that stands twice in the set.
func (s Set) Duplicate() (ID, bool) {
	seen := make(map[Key]bool, len(s))
	for _, obj := range s {
		id := IDOf(obj)
		if seen[id.Key()] {
			return id, true
		}
		seen[id.Key()] = true
	}
	return ID{}, false
}

// Find returns the object of the set that an ID names; nil: there is none.
func (s Set) Find(id ID) *unstructured.Unstructured {
	for _, obj := range s {
		if IDOf(obj).Key() == id.Key() {
			return obj
		}
	}
	return nil
}

// serverOwned are the fields that an API server writes. In git they are leftovers of `kubectl get -o yaml` or of a
// code generator; applying them would be refused or would claim ownership of a field that is not git's to decide.
var serverOwned = [][]string{
	{"status"},
	{"metadata", "creationTimestamp"},
	{"metadata", "generation"},
	{"metadata", "managedFields"},
	{"metadata", "resourceVersion"},
	{"metadata", "selfLink"},
	{"metadata", "uid"},
}

// Applicable returns a copy of the set without the fields that belong to the API server, and with the stringData of
// Secrets in data.
func (s Set) Applicable() Set {
	out := s.Copy()
	for _, obj := range out {
		for _, path := range serverOwned {
			unstructured.RemoveNestedField(obj.Object, path...)
		}
		encodeStringData(obj)
		dropAggregated(obj)
	}
	return out
}

// dropAggregated leaves out the rules of a ClusterRole that the cluster aggregates: its controller writes them, and would
// fight with git over an empty list.
func dropAggregated(obj *unstructured.Unstructured) {
	_, aggregated := obj.Object["aggregationRule"]
	if aggregated && obj.GetKind() == "ClusterRole" {
		delete(obj.Object, "rules")
	}
}

// Label returns a copy of the set with one label on every object.
func (s Set) Label(key, value string) Set {
	out := s.Copy()
	for _, obj := range out {
		labels := obj.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[key] = value
		obj.SetLabels(labels)
	}
	return out
}

// Hash identifies the content of a rendered object. The hash of a Secret is keyed, so that a reader of the inventory
// without access to the Secret learns nothing about its values.
func Hash(obj *unstructured.Unstructured, key []byte) (string, error) {
	doc, err := json.Marshal(obj.Object) // map keys are sorted, so equal objects give equal bytes
	if err != nil {
		return "", fmt.Errorf("hashing %s: %w", IDOf(obj), err)
	}
	if !IsSecret(obj) {
		sum := sha256.Sum256(doc)
		return "sha256:" + hex.EncodeToString(sum[:]), nil
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(doc)
	return "hmac-sha256:" + hex.EncodeToString(mac.Sum(nil)), nil
}

// Action is the write that syncer does, or would do, to one object.
type Action string

const (
	None    Action = "None"    // the object is as git says
	Create  Action = "Create"  // it is not in the cluster
	Update  Action = "Update"  // it differs
	Replace Action = "Replace" // it is deleted and created again
	Prune   Action = "Prune"   // it is no longer in git
	Hold    Action = "Hold"    // the change waits
)

// Change is one object before and after an apply, or a dry run of one.
type Change struct {
	ID     ID
	Action Action
	// Drifted says that the object changed in the cluster and not in git: a difference to report, where a difference
	// that git made is a rollout.
	Drifted bool
	Live    *unstructured.Unstructured // nil: not in the cluster, or not read because nothing changed
	Want    *unstructured.Unstructured // nil: no longer in git
	Fields  []FieldChange              // the differences between Live and Want, with secret values masked
	// Added are the fields that others set since syncer first applied the object, and that git does not have.
	Added []Addition
	// Held says why the change waits; nil unless Action is Hold.
	Held *Held
	// Taken are the fields that git sets and that the change takes from another manager.
	Taken []Taken
	// Lost says how syncer lost the object as a whole, if its fields do not show it; nil: it did not.
	Lost *Loss
}

// Loss is an event that concerns an object as a whole.
type Loss struct {
	Kind LossKind
	By   Manager // the author; zero: not known
	// Unproven says that the events of a run may be incomplete, so that another run may be one too many.
	Unproven bool
}

// LossKind is the kind of a Loss.
type LossKind string

const (
	Recreated LossKind = "Recreated" // it was deleted and created again: syncer owns no field of it any more
	CutOff    LossKind = "CutOff"    // it was deleted before its run had ended
	Disowned  LossKind = "Disowned"  // its managed fields were cleared: syncer's own fields are no longer known
)

// Held says why a change waits.
type Held struct {
	Action  Action // the action that waits
	Reason  HoldReason
	Message string // the cause of the wait, as a clause: "the application is RUNNING"
	For     []ID   // the objects whose state has to change first
	Hash    string // of the object in git; empty for a prune. With HeldRerun the run that had ended
	Rollout bool   // with HeldInUse: the end of a rollout is waited for, and of the pods before it
}

// Hold makes a change wait.
func (c *Change) Hold(reason HoldReason, message string, on ...ID) {
	c.Held = &Held{Action: c.Action, Reason: reason, Message: message, For: on}
	c.Action = Hold
}

// Meant is the action of a change: now, or later if the change waits.
func (c Change) Meant() Action {
	if c.Action == Hold && c.Held != nil {
		return c.Held.Action
	}
	return c.Action
}

// HoldReason is the reason of a wait in one word.
type HoldReason string

const (
	HeldRunning     HoldReason = "Running"     // the object does work that the change would throw away
	HeldDependency  HoldReason = "Dependency"  // a dependency of the object is missing or not healthy yet
	HeldInUse       HoldReason = "InUse"       // an object that stays still needs the one to delete
	HeldHealth      HoldReason = "Health"      // a pipeline that it depends on is not healthy yet
	HeldRerun       HoldReason = "Rerun"       // its operator has not run it again yet
	HeldMoved       HoldReason = "Moved"       // another target names the object to delete, and takes it over
	HeldUnrendered  HoldReason = "Unrendered"  // another target may name the object to delete, and does not render
	HeldTerminating HoldReason = "Terminating" // the object is being deleted, and has to be gone before it can be made anew
)

// Taken is a field that was taken from another manager.
type Taken struct {
	Path    string `json:"path"`
	Manager string `json:"manager"`
}

// SortChanges orders changes as every report prints them.
func SortChanges(changes []Change) {
	slices.SortFunc(changes, func(a, b Change) int { return a.ID.Compare(b.ID) })
}
