package health

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Kind is all that syncer knows about one kind of workload. The other rooms ask it and compare no names of kinds. The
// zero Kind stands for a kind without an entry in the table: kstatus judges its health, and it has no runs and no images.
type Kind struct {
	// GVK has the version in which objects of the kind are listed; the API server may prefer another one.
	GVK schema.GroupVersionKind
	// health is nil where kstatus judges. It takes a kind without conditions for ready at once, and a Job for ready when
	// the Job has started.
	health func(*unstructured.Unstructured) Health
	runs   runs
	images images
	traits Trait
}

// runs describes the runs of a kind: those that its objects are, or those that its objects start.
type runs struct {
	// judge is nil where objects do not run to completion.
	judge func(*unstructured.Unstructured) Run
	// survives lists the fields whose change a run survives, beside the metadata. A change of another field ends the run.
	survives []string
	// lifetime is the field that says how long after its end an object deletes itself.
	lifetime []string
	// succeeded and failed are the reasons of the events by which the controller reports the end of a run.
	succeeded, failed []string
	// starts is the kind of the runs that a schedule starts. Garbage collection deletes them with the schedule.
	starts schema.GroupVersionKind
}

// images says where objects of a kind have image references, as paths in the notation of manifest.Path.
type images struct {
	podSpecs []string // where pod specs are
	fields   []string // references outside of pod specs
	pushed   string   // a field that names where an image is pushed to; syncer never rewrites it
}

// Trait is a property that a kind has or has not.
type Trait uint

const (
	// Endless runs have no end of their own: an object that depends on one waits until it runs.
	Endless Trait = 1 << iota
	// Batch kinds may have no pod between two steps or attempts: their running objects use what they name.
	Batch
	// Recreated kinds are deleted and created again, without permission, where the API server refuses a change: the
	// template of their pods is immutable, and a deletion destroys no data.
	Recreated
	// KeepsPods is for kinds whose pods survive a replacement: the pods keep their data, and the new object adopts them.
	KeepsPods
	// RollsOut is for kinds that replace their pods when their template changes.
	RollsOut
	// OwnsPods is for kinds whose health is the health of the pods that spec.selector selects.
	OwnsPods
	// Embedded kinds are started by programs, from a text in a ConfigMap.
	Embedded
	// NeverRuns is for kinds that many objects have and that never run to completion, not even by a configuration.
	NeverRuns
)

// table has the kinds in the order in which they are listed and named. Each slice stands in the file of its kinds.
var table = slices.Concat(
	podKinds, deploymentKinds, statefulSetKinds, jobKinds, sparkKinds, argoKinds, rayKinds, tektonKinds, flinkKinds,
	kafkaKinds, claimKinds,
)

var byKind = func() map[schema.GroupKind]Kind {
	index := make(map[schema.GroupKind]Kind, len(table))
	for _, kind := range table {
		index[kind.GVK.GroupKind()] = kind
	}
	return index
}()

// Kinds lists the kinds of the table. The caller may change the slice.
func Kinds() []Kind { return slices.Clone(table) }

// KindsWith lists the kinds that have a trait.
func KindsWith(trait Trait) []Kind {
	return slices.DeleteFunc(Kinds(), func(kind Kind) bool { return !kind.Is(trait) })
}

// KindOf looks a kind up; it returns the zero Kind where the table has none.
func KindOf(kind schema.GroupKind) Kind { return byKind[kind] }

// Is reports whether a kind has a trait.
func (k Kind) Is(trait Trait) bool { return k.traits&trait != 0 }

// Health judges a live object of the kind.
func (k Kind) Health(obj *unstructured.Unstructured) Health {
	if k.health == nil {
		return generic(obj)
	}
	return k.health(obj)
}

// Run judges the run of a live object of the kind; the zero Run where the kind does not run to completion.
func (k Kind) Run(obj *unstructured.Unstructured) Run {
	if k.runs.judge == nil {
		return Run{}
	}
	return k.runs.judge(obj)
}

// RunsToCompletion reports whether objects of the kind run to completion.
func (k Kind) RunsToCompletion() bool { return k.runs.judge != nil }

// Restarts reports whether a run does not survive the change of a field, written as manifest.Path is.
func (k Kind) Restarts(path string) bool {
	isBelow := func(field string) bool {
		rest, ok := strings.CutPrefix(path, field)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	}
	return !isBelow("metadata") && !slices.ContainsFunc(k.runs.survives, isBelow)
}

// Starts returns the kind of the runs that a schedule starts; false where the kind is no schedule.
func (k Kind) Starts() (schema.GroupVersionKind, bool) {
	return k.runs.starts, k.runs.starts != schema.GroupVersionKind{}
}

// EndedBy reports whether the reason of an event says that a run of the kind ended, and whether it failed.
func (k Kind) EndedBy(reason string) (ended, failed bool) {
	failed = slices.Contains(k.runs.failed, reason)
	return failed || slices.Contains(k.runs.succeeded, reason), failed
}

// ImagePaths lists the patterns of the fields in which objects of the kind have image references.
func (k Kind) ImagePaths() []manifest.Path {
	texts := slices.Clone(k.images.fields)
	for _, spec := range k.images.podSpecs {
		for _, field := range inPodSpec {
			texts = append(texts, spec+"."+field)
		}
	}
	return paths(texts...)
}

// IsPushTarget reports whether a field names where an image is pushed to, and not an image that runs.
func (k Kind) IsPushTarget(path string) bool { return path != "" && path == k.images.pushed }
