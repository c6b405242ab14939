package apply

import (
	"context"
	"strings"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// stillOurs returns an error if another syncer has begun to apply the target since this pass wrote its record.
//
// A caller that judges an object again calls this between the read and the write of the object. The other syncer wrote the
// record before it read the objects. It gives each object that it does not change another version (fence). So a write that
// requires the version read before this call cannot follow the other syncer's own write.
func (a *application) stillOurs(ctx context.Context) error {
	if a.attempt == "" {
		return nil // an installation without a record
	}
	record, err := a.cluster.Records().Get(ctx, a.target)
	if err != nil {
		return err
	}
	if record == nil || record.Annotations[v1alpha1.AnnotationApplying] == "" || strings.Fields(record.Annotations[v1alpha1.AnnotationApplying])[0] != a.attempt {
		return &answer.OvertakenError{Target: a.target}
	}
	return nil
}
