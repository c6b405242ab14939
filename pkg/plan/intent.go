package plan

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

// intents lists the objects that a plan creates and that syncer cannot look up afterwards.
func intents(steps []*Step) string {
	var out []string
	for _, s := range steps {
		if s.Rendered != nil && (s.Change.Action == manifest.Create || s.Change.Action == manifest.Replace) && health.RemovesItself(s.Rendered) {
			text := intent(s.Change.ID, s.Hash)
			if s.Change.Live != nil {
				text += "@" + string(s.Change.Live.GetUID())
			} else if s.Runs.Remade != "" {
				text += "@" + string(s.Runs.Remade)
			}
			out = append(out, text)
		}
	}
	return joinIntents(out)
}

// mostIntents is the maximum length, in bytes, of the annotation with full names. The API server allows 256 KiB for all
// annotations of an object.
const mostIntents = 64 << 10

// joinIntents returns the annotation for some intents. If there are many, it writes them as hashes.
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

// shortIntent returns an intent as a hash, followed by the UID of the replaced object.
func shortIntent(text string) string {
	text, uid, replaces := strings.Cut(text, "@")
	sum := sha256.Sum256([]byte(text))
	text = hex.EncodeToString(sum[:8])
	if replaces {
		text += "@" + uid
	}
	return text
}

// intended finds an intent in the annotation, in either form. It also returns the UID of the object to be replaced.
func intended(annotation, intent string) (replaced string, ok bool) {
	for text := range strings.SplitSeq(annotation, ",") {
		what, uid, _ := strings.Cut(text, "@")
		if what == intent || what == shortIntent(intent) {
			return uid, true
		}
	}
	return "", false
}

// ranAlready reports whether an object that is not in the cluster existed before. It uses the intents of the last apply and
// the events of the object's controller. It returns the UID of that object if the events have it. Events of an object in the
// inventory, or of a replaced object, belong to an earlier object. Their times are in whole seconds, so times cannot order
// events within one second.
func ranAlready(ctx context.Context, c *Comparer, id manifest.ID, hash string) (as types.UID, ran bool) {
	record := c.request.Record
	if record == nil {
		return "", false
	}
	replaced, ok := intended(record.Annotations[v1alpha1.AnnotationCreating], intent(id, hash))
	if !ok {
		return "", false
	}
	as, made, err := madeSince(ctx, c, id, types.UID(replaced), c.recorded[id.Key()].UID)
	return as, made && err == nil // without the right to read events, an extra run is better than a missing one
}

// remade reports whether an object that ran and is gone may have been created anew, in another form, by an unconfirmed
// apply. It returns the UID of the new object if events name it.
func remade(ctx context.Context, c *Comparer, id manifest.ID, entry v1alpha1.InventoryEntry) (as types.UID, remade bool) {
	if !entry.Unconfirmed {
		return "", false
	}
	as, made, err := madeSince(ctx, c, id, entry.UID)
	return as, made || err != nil
}

// madeSince reports whether events since the start of the last apply name an object of this name other than the earlier
// ones.
func madeSince(ctx context.Context, c *Comparer, id manifest.ID, earlier ...types.UID) (as types.UID, made bool, err error) {
	events, err := c.cluster.List(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Event"}, id.Namespace,
		metav1.ListOptions{FieldSelector: "involvedObject.kind=" + id.Kind + ",involvedObject.name=" + id.Name})
	if err != nil {
		return "", false, err
	}
	began := v1alpha1.Decided(c.request.Record)
	for _, event := range events {
		of, _, _ := unstructured.NestedString(event.Object, "involvedObject", "uid")
		if !event.GetCreationTimestamp().Time.Before(began) && (of == "" || !slices.Contains(earlier, types.UID(of))) {
			return types.UID(of), true, nil
		}
	}
	return "", false, nil
}
