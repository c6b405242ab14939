package reconcile

import (
	"context"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
)

// noMark is the mark of a target that has none.
type noMark struct{}

func (*noMark) Touched() bool                                  { return false }
func (*noMark) Begin(*v1alpha1.PipelineSync)                   {}
func (*noMark) Close(context.Context)                          {}
func (*noMark) Reopen(cluster.Written)                         {}
func (*noMark) Leave(_ context.Context, version string) string { return version }
func (*noMark) End(string, bool)                               {}
