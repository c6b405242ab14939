package plan

import (
	"fmt"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// PruneRefusedError says that a commit would delete more objects than the limit allows.
type PruneRefusedError struct {
	Target  v1alpha1.Target
	Objects []manifest.ID
	Of      int    // the size of the inventory, or the number of live members
	Limit   string // the exceeded limit
}

func (e *PruneRefusedError) Error() string {
	names := make([]string, len(e.Objects))
	for i, id := range e.Objects {
		names[i] = id.String()
	}
	const shown = 10
	if len(names) > shown {
		names = append(names[:shown], fmt.Sprintf("and %d more", len(names)-shown))
	}
	return fmt.Sprintf("this commit would delete %d of the %d objects of %s, which is above %s: %s; if that is meant, add the trailer `Syncer-Allow-Prune: %s` to a commit message",
		len(e.Objects), e.Of, e.Target, e.Limit, strings.Join(names, ", "), e.Target)
}
