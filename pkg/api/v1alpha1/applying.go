package v1alpha1

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// AnnotationApplying names the apply that was begun last, and the objects that it set out to write: its ID, and a short
// hash of each object, with a ! where the write ends what the object did before. It is written with the record's spec,
// before the first object. While the record's status confirms another apply, nobody knows which of these writes the API
// server carried out, or still will: the process may have died, or its requests may be on their way.
const AnnotationApplying = Group + "/applying"

// AnnotationCreating names the objects that an apply is about to create and that remove themselves when they have run,
// as KIND.GROUP/NAMESPACE/NAME=HASH, or =HASH@UID where they take the place of another or follow one; very many as hashes
// of that. It is written with the record's spec: after a crash, an object that stands here and is not in the cluster may
// have run already.
const AnnotationCreating = Group + "/creating"

// EndsRun marks an object of which it is settled that its earlier run says nothing any more: the write makes it anew,
// deletes it or changes its spec. A creation in the place of what ran and is gone has no mark: events tell whether it came.
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
	begun := map[string]bool{} // whether the write ends what the object did before
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
