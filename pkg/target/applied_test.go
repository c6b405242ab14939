package target

import (
	"context"
	"errors"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/source"
)

// unread is a repository that cannot be read.
type unread struct{ err error }

func (u unread) Since(context.Context, string, string) ([]source.Commit, error) { return nil, u.err }

func (u unread) At(context.Context, string) (source.Snapshot, error) { return source.Snapshot{}, u.err }

func (u unread) Objects(context.Context, string, source.Reach) (source.Objects, error) {
	return source.Objects{}, u.err
}

// TestLastAppliedWithoutFiles: an uninstall deletes what was deployed without a look at git. A target that fails then is
// compared with the commit that was applied last, as far as that can be read.
func TestLastAppliedWithoutFiles(t *testing.T) {
	gone := errors.New("the git server is away")
	p := &Planner{Config: &v1alpha1.Config{}, Source: unread{gone}}
	d := &Desired{
		Target: v1alpha1.Target{Pipeline: "etl", Environment: "dev"}, Environment: &v1alpha1.Environment{Name: "dev"},
		Snapshot: source.Snapshot{Commit: "1111111111"},
		Record:   &v1alpha1.PipelineSync{Status: v1alpha1.PipelineSyncStatus{LastAppliedCommit: "2222222222"}},
	}
	if _, _, err := p.LastApplied(t.Context(), d); !errors.Is(err, gone) {
		t.Errorf("got %v, want the error of the repository", err)
	}
}
