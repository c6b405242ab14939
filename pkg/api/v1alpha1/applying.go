package v1alpha1

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// AnnotationApplying names the latest apply and the objects that it set out to write: its ID, and a short hash of each
// object, with a ! where the write ends the object's earlier run. It is written with the record's spec, before the first
// object. While the record's status confirms another apply, the outcome of these writes is unknown: the process may have
// died, or its requests may still be under way.
const AnnotationApplying = Group + "/applying"

// AnnotationCreating names the objects that an apply is about to create and that remove themselves when they have run,
// as KIND.GROUP/NAMESPACE/NAME=HASH, or =HASH@UID where they take the place of another or follow one; very many as hashes
// of that. It is written with the record's spec: after a crash, an object that stands here and is not in the cluster may
// have run already.
const AnnotationCreating = Group + "/creating"

// EndsRun marks an object whose earlier run no longer counts: the write creates it again, deletes it or changes its spec.
// A creation in the place of an object that ran and is gone has no mark: events show whether it arrived.
const EndsRun = "!"

// ShortHash names an object in annotationApplying.
func ShortHash(key manifest.Key) string {
	sum := sha256.Sum256([]byte(key.Group + "/" + key.Kind + "/" + key.Namespace + "/" + key.Name))
	return base64.RawURLEncoding.EncodeToString(sum[:6])
}

// NoteUnconfirmed marks the entries of a record whose objects an apply set out to write that was never confirmed.
func NoteUnconfirmed(record *PipelineSync) {
	list := strings.Fields(record.Annotations[AnnotationApplying])
	if len(list) == 0 || list[0] == record.Status.ConfirmedApply {
		return
	}
	begun := map[string]bool{} // whether the write ends the object's earlier run
	for _, text := range list[1:] {
		name, ends := strings.CutSuffix(text, EndsRun)
		begun[name] = ends
	}
	record.Status.ConfirmedApply = list[0]
	for i := range record.Status.Inventory {
		entry := &record.Status.Inventory[i]
		ends, written := begun[ShortHash(entry.ID().Key())]
		if !written {
			continue
		}
		entry.Unconfirmed = true
		if ends {
			entry.Spec = ""
		}
	}
}
