package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

func intent(id manifest.ID, hash string) string {
	return id.GroupKind().String() + "/" + id.Namespace + "/" + id.Name + "=" + hash
}

// intents lists what a plan creates and cannot look for afterwards.
func (p *Plan) intents() string {
	var out []string
	for _, s := range p.steps {
		if s.rendered != nil && (s.change.Action == manifest.Create || s.change.Action == manifest.Replace) && health.RemovesItself(s.rendered) {
			text := intent(s.change.ID, p.hashes[s.change.ID.Key()])
			if s.change.Live != nil {
				text += "@" + string(s.change.Live.GetUID())
			} else if s.remadeAs != "" {
				text += "@" + string(s.remadeAs)
			}
			out = append(out, text)
		}
	}
	return joinIntents(out)
}

// mostIntents is how long the annotation may be with names written out, in bytes. The API server takes 256 KiB for all
// annotations of an object.
const mostIntents = 64 << 10

// joinIntents is the annotation for some intents. Many of them are written as hashes.
func joinIntents(intents []string) string {
	slices.Sort(intents)
	text := strings.Join(intents, ",")
	if len(text) <= mostIntents {
		return text
	}
	short := make([]string, len(intents))
	for i, text := range intents {
		short[i] = shortIntent(text)
	}
	slices.Sort(short)
	return strings.Join(short, ",")
}

// shortIntent is an intent as a hash, with the UID of what it replaces behind it.
func shortIntent(text string) string {
	text, uid, replaces := strings.Cut(text, "@")
	sum := sha256.Sum256([]byte(text))
	text = hex.EncodeToString(sum[:8])
	if replaces {
		text += "@" + uid
	}
	return text
}

// intended finds an intent in the annotation, in either form, and the UID of what was to be replaced.
func intended(annotation, intent string) (replaced string, ok bool) {
	for text := range strings.SplitSeq(annotation, ",") {
		what, uid, _ := strings.Cut(text, "@")
		if what == intent || what == shortIntent(intent) {
			return uid, true
		}
	}
	return "", false
}

// ranAlready reports whether an object that is not in the cluster has been there, by what the last apply set out to do
// and by the events that its controller left; and as which object, where they tell. Events of an object that the inventory
// has, or that was replaced, are of an earlier one: their times are in whole seconds, and tell nothing within one.
func (p *planner) ranAlready(ctx context.Context, id manifest.ID, hash string) (as types.UID, ran bool) {
	record := p.plan.request.Record
	if record == nil {
		return "", false
	}
	replaced, ok := intended(record.Annotations[v1alpha1.AnnotationCreating], intent(id, hash))
	if !ok {
		return "", false
	}
	as, made, err := p.madeSince(ctx, id, types.UID(replaced), p.recorded[id.Key()].UID)
	return as, made && err == nil // without the right to read events, a run more is better than one that never was
}

// remade reports whether an object that ran and is gone may have been made anew, in another form, by an apply that was
// never confirmed.
func (p *planner) remade(ctx context.Context, s *step, entry v1alpha1.InventoryEntry) bool {
	if !entry.Unconfirmed {
		return false
	}
	as, made, err := p.madeSince(ctx, s.change.ID, entry.UID)
	s.remadeAs = as
	return made || err != nil
}

// madeSince reports whether events tell of an object of a name, other than earlier ones, since the last apply was begun.
func (p *planner) madeSince(ctx context.Context, id manifest.ID, earlier ...types.UID) (as types.UID, made bool, err error) {
	events, err := p.cluster.List(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Event"}, id.Namespace,
		metav1.ListOptions{FieldSelector: "involvedObject.kind=" + id.Kind + ",involvedObject.name=" + id.Name})
	if err != nil {
		return "", false, err
	}
	began := v1alpha1.Decided(p.plan.request.Record)
	for _, event := range events {
		of, _, _ := unstructured.NestedString(event.Object, "involvedObject", "uid")
		if !event.GetCreationTimestamp().Time.Before(began) && (of == "" || !slices.Contains(earlier, types.UID(of))) {
			return types.UID(of), true, nil
		}
	}
	return "", false, nil
}
