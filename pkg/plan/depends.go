package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Annotations that order the objects of a set. They are the annotations of cli-utils and of Argo CD.
const (
	annotationDependsOn = "config.kubernetes.io/depends-on"
	annotationWave      = "argocd.argoproj.io/sync-wave"
)

// Position is the place of an object in the order of an apply. An object never comes before an object that it depends on.
// Steps of one position do not wait for each other.
type Position struct {
	wave  int
	stage stage
	depth int // number of dependencies within the stage
}

// Before reports whether a position is earlier than another one.
func (p Position) Before(other Position) bool {
	if p.wave != other.wave {
		return p.wave < other.wave
	}
	if p.stage != other.stage {
		return p.stage < other.stage
	}
	return p.depth < other.depth
}

// Defines reports whether the objects of a position define kinds.
func (p Position) Defines() bool { return p.stage == definitions }

// order gives each step its position and its dependencies.
func order(steps []*Step) error {
	o := orderer{steps: steps, byKey: map[manifest.Key]int{}, state: make([]visit, len(steps))}
	for i, s := range steps {
		o.byKey[s.Key()] = i
	}
	var errs []error
	for i := range steps {
		if err := o.place(i, nil); err != nil {
			errs = append(errs, err)
		}
	}
	return answer.Join(errs)
}

type visit int

const (
	unseen visit = iota
	underWay
	placed
)

type orderer struct {
	steps []*Step
	byKey map[manifest.Key]int
	state []visit
}

// place finds the position of a step after its dependencies. trail lists the steps that lead to this one.
func (o *orderer) place(i int, trail []manifest.ID) error {
	s := o.steps[i]
	if o.state[i] == placed {
		return nil
	}
	if o.state[i] == underWay {
		return circle(s.Change.ID, trail)
	}
	o.state[i] = underWay
	defer func() { o.state[i] = placed }() // each error is reported once
	obj := s.Rendered
	if obj == nil {
		obj = s.Change.Live // a prune uses the annotations of the object as it was applied
	}
	wave, err := waveOf(obj)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Change.ID, err)
	}
	s.Order.At = Position{wave: wave, stage: stageOf(s.Change.ID)}
	wanted, err := dependenciesOf(obj)
	if err != nil && s.Rendered != nil {
		return fmt.Errorf("%s: %w", s.Change.ID, err)
	}
	for _, id := range wanted {
		on, ok := o.byKey[id.Key()]
		if !ok {
			s.Order.Outside = append(s.Order.Outside, id)
			continue
		}
		if err := o.place(on, append(trail[:len(trail):len(trail)], s.Change.ID)); err != nil {
			return err
		}
		s.Order.After = append(s.Order.After, id.Key())
		if after := o.steps[on].Order.At; !after.Before(s.Order.At) {
			s.Order.At = after
			s.Order.At.depth++
		}
	}
	return nil
}

// circle returns the error for a step that depends on itself.
func circle(id manifest.ID, trail []manifest.ID) error {
	at := slices.Index(trail, id)
	names := make([]string, 0, len(trail)-at+1)
	for _, id := range append(trail[at:len(trail):len(trail)], id) {
		names = append(names, id.String())
	}
	return fmt.Errorf("%s: annotation %s goes in a circle: %s", id, annotationDependsOn, strings.Join(names, " on "))
}

func waveOf(obj *unstructured.Unstructured) (int, error) {
	text := obj.GetAnnotations()[annotationWave]
	if text == "" {
		return 0, nil
	}
	wave, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("annotation %s: %q is not a whole number", annotationWave, text)
	}
	return wave, nil
}

// dependenciesOf reads config.kubernetes.io/depends-on: GROUP/KIND/NAME or GROUP/namespaces/NAMESPACE/KIND/NAME. Commas
// separate several references. The group of the core API is empty.
func dependenciesOf(obj *unstructured.Unstructured) ([]manifest.ID, error) {
	text := obj.GetAnnotations()[annotationDependsOn]
	if text == "" {
		return nil, nil
	}
	var ids []manifest.ID
	for reference := range strings.SplitSeq(text, ",") {
		parts := strings.Split(strings.TrimSpace(reference), "/")
		id := manifest.ID{}
		switch {
		case len(parts) == 3:
			id.Kind, id.Name = parts[1], parts[2]
		case len(parts) == 5 && parts[1] == "namespaces":
			id.Namespace, id.Kind, id.Name = parts[2], parts[3], parts[4]
		}
		if id.Kind == "" || id.Name == "" {
			return nil, fmt.Errorf("annotation %s: %q names no object; write GROUP/KIND/NAME or GROUP/namespaces/NAMESPACE/KIND/NAME", annotationDependsOn, reference)
		}
		id.APIVersion = schema.GroupVersion{Group: parts[0]}.String() // the server's preferred version applies
		ids = append(ids, id)
	}
	return ids, nil
}
