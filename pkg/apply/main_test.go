package apply_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// One control plane serves every test of the package. The first test that needs it starts it.
var (
	dir   string
	plane = sync.OnceValues(startPlane)
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Tests wait for the control plane most of the time, so more of them run in parallel than there are processors.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if dir, err = os.MkdirTemp("", "syncer-apply-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	defer func() {
		if started.Load() {
			if p, err := plane(); err == nil {
				if err := p.Stop(); err != nil {
					fmt.Fprintln(os.Stderr, "stopping the control plane:", err)
				}
			}
		}
	}()
	return m.Run()
}

var started atomic.Bool

func auditLog() string { return filepath.Join(dir, "audit.log") }

// startPlane fails, and names `make controlplane`, where the programs are missing.
func startPlane() (*lab.ControlPlane, error) {
	started.Store(true)
	bin := os.Getenv("SYNCER_BIN")
	if bin == "" {
		bin = filepath.Join("..", "..", "bin")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	p, err := lab.StartControlPlane(ctx, lab.ControlPlaneOptions{
		Bin: filepath.Join(bin, "controlplane"), Dir: dir, Controllers: true, Nodes: 1, Spark: true, AuditLog: auditLog(),
	})
	if err != nil {
		return nil, err
	}
	if err := installCRD(ctx, p); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// installCRD installs the record's kind as `syncer install` does.
func installCRD(ctx context.Context, p *lab.ControlPlane) error {
	content, err := os.ReadFile(filepath.Join("..", "..", "config", "cluster", "crd", "syncer.dev_pipelinesyncs.yaml"))
	if err != nil {
		return err
	}
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(content, &crd.Object); err != nil {
		return err
	}
	cluster, err := cluster.Connect(cluster.Options{Kubeconfig: p.Kubeconfig, UserAgent: "install"})
	if err != nil {
		return err
	}
	_, err = apply.Install(ctx, cluster, manifest.Set{crd})
	return err
}
