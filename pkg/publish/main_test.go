package publish

import (
	"os"
	"testing"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/bench"
)

func TestMain(m *testing.M) { os.Exit(bench.Run(m, lab.ControlPlaneOptions{})) }
