package apply

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Annotations that order the objects of a set. They are the annotations of cli-utils and of Argo CD.
const (
	annotationDependsOn = "config.kubernetes.io/depends-on"
	annotationWave      = "argocd.argoproj.io/sync-wave"
)

// position is the place of an object in the order of an apply. An object never comes before an object that it depends on.
type position struct {
	wave  int
	stage stage
	depth int // number of dependencies within the stage
}

func (p position) before(other position) bool {
	if p.wave != other.wave {
		return p.wave < other.wave
	}
	if p.stage != other.stage {
		return p.stage < other.stage
	}
	return p.depth < other.depth
}

// order gives each step of the set its position and its dependencies.
func (p *planner) order() error {
	o := orderer{steps: p.plan.steps, byKey: map[manifest.Key]int{}, state: make([]visit, len(p.plan.steps))}
	for i, s := range p.plan.steps {
		o.byKey[s.change.ID.Key()] = i
	}
	var errs []error
	for i := range p.plan.steps {
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
	steps []step
	byKey map[manifest.Key]int
	state []visit
}

// place finds the position of a step after its dependencies. trail lists the steps that lead to this one.
func (o *orderer) place(i int, trail []manifest.ID) error {
	s := &o.steps[i]
	if o.state[i] == placed {
		return nil
	}
	if o.state[i] == underWay {
		at := slices.Index(trail, s.change.ID)
		names := make([]string, 0, len(trail)-at+1)
		for _, id := range append(trail[at:len(trail):len(trail)], s.change.ID) {
			names = append(names, id.String())
		}
		return fmt.Errorf("%s: annotation %s goes in a circle: %s", s.change.ID, annotationDependsOn, strings.Join(names, " on "))
	}
	o.state[i] = underWay
	defer func() { o.state[i] = placed }() // each error is reported once
	obj := s.rendered
	if obj == nil {
		obj = s.change.Live // a prune uses the annotations of the object as it was applied
	}
	wave, err := waveOf(obj)
	if err != nil {
		return fmt.Errorf("%s: %w", s.change.ID, err)
	}
	s.at = position{wave: wave, stage: stageOf(s.change.ID)}
	wanted, err := dependenciesOf(obj)
	if err != nil && s.rendered != nil {
		return fmt.Errorf("%s: %w", s.change.ID, err)
	}
	for _, id := range wanted {
		on, ok := o.byKey[id.Key()]
		if !ok {
			s.outside = append(s.outside, id)
			continue
		}
		if err := o.place(on, append(trail[:len(trail):len(trail)], s.change.ID)); err != nil {
			return err
		}
		s.after = append(s.after, id.Key())
		if after := o.steps[on].at; !after.before(s.at) {
			s.at = after
			s.at.depth++
		}
	}
	return nil
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

// lookOutside holds the steps that depend on an object outside the set which is missing or unhealthy.
func (p *planner) lookOutside(ctx context.Context) error {
	for _, s := range p.plan.steps {
		if s.rendered == nil || s.change.Action == manifest.None || s.change.Action == manifest.Hold {
			continue
		}
		for _, id := range s.outside {
			live, err := cluster.Read(ctx, p.cluster, id)
			if answer.IsOfObject(err) {
				s.change.Hold(manifest.HeldDependency, fmt.Sprintf("%s cannot be read: %v", id, err), id)
				break
			}
			if err != nil {
				return fmt.Errorf("%s: annotation %s: %w", s.change.ID, annotationDependsOn, err)
			}
			message := inventory.Unready(p.cluster, live)
			if live == nil {
				if message, err = p.absent(ctx, id); err != nil {
					return fmt.Errorf("%s: annotation %s: %w", s.change.ID, annotationDependsOn, err)
				}
			}
			if message != "" {
				s.change.Hold(manifest.HeldDependency, fmt.Sprintf("%s %s", id, message), id)
				break
			}
		}
	}
	return nil
}

// holdBack holds steps whose predecessors are missing or unhealthy. While planned is true, a predecessor that is still to be
// applied counts as ready: its health shows at the apply.
func (p *Plan) holdBack(c *cluster.Cluster, steps []step, live inventory.Members, planned bool) {
	recorded := inventory.ByKey(p.request.Record)
	for _, s := range steps {
		if s.rendered == nil || s.change.Action == manifest.None || s.change.Action == manifest.Hold {
			continue
		}
		for _, other := range p.steps {
			if !s.follows(other) {
				continue
			}
			id := other.change.ID
			switch other.change.Action {
			case manifest.Hold:
				s.change.Hold(manifest.HeldDependency, fmt.Sprintf("%s waits itself: %s", id, other.change.Held.Message), other.change.Held.For...)
			case manifest.Create, manifest.Update, manifest.Replace:
				if planned {
					continue
				}
				fallthrough
			default:
				message := ""
				switch {
				case other.unread:
					message = "cannot be read: " + other.uncompared.Error()
				case !other.gone:
					message = inventory.Unready(c, live[id.Key()])
				case recorded[id.Key()].Failed:
					message = "failed before it removed itself"
				}
				if message != "" {
					s.change.Hold(manifest.HeldDependency, fmt.Sprintf("%s %s", id, message), id)
				}
			}
			if s.change.Action == manifest.Hold {
				break
			}
		}
	}
}

// follows reports whether a step waits for the health of another step: one that it names, or one of an earlier wave.
func (s step) follows(other step) bool {
	return other.rendered != nil && (other.at.wave < s.at.wave || slices.Contains(s.after, other.change.ID.Key()))
}
