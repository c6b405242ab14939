// Package bench gives the tests of a room a deployment target on a control plane of the lab: a namespace for its objects,
// another one for its records, a connection of syncer, and another client. The tests of a room share one control plane,
// which the first test that needs it starts.
package bench

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

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// shared is the control plane of the test process. Run sets it.
var shared struct {
	options lab.ControlPlaneOptions
	started atomic.Bool
	start   func() (*lab.ControlPlane, error)
}

// Run runs the tests of a room, and returns the exit code. The tests share one control plane of these parts.
// Bin, Dir and AuditLog of the options are set by Run.
func Run(m *testing.M, options lab.ControlPlaneOptions) int {
	flag.Parse()
	// Tests wait for the control plane most of the time, so more of them run in parallel than there are processors.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "syncer-bench-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	options.Bin, options.Dir, options.AuditLog = filepath.Join(parts(), "controlplane"), dir, filepath.Join(dir, "audit.log")
	shared.options, shared.start = options, sync.OnceValues(startPlane)
	defer stopPlane()
	return m.Run()
}

// parts is the folder of the programs of the lab, seen from the folder of a room.
func parts() string {
	if bin := os.Getenv("SYNCER_BIN"); bin != "" {
		return bin
	}
	return filepath.Join("..", "..", "bin")
}

// startPlane fails, and names `make controlplane`, where the programs are missing.
func startPlane() (*lab.ControlPlane, error) {
	shared.started.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	plane, err := lab.StartControlPlane(ctx, shared.options)
	if err != nil {
		return nil, err
	}
	if err := installRecords(ctx, plane); err != nil {
		return nil, errors.Join(err, plane.Stop())
	}
	return plane, nil
}

func stopPlane() {
	if !shared.started.Load() {
		return
	}
	plane, err := shared.start()
	if err != nil {
		return // the test that needed it has failed
	}
	if err := plane.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the control plane:", err)
	}
}

// installRecords installs the kind of the records, and waits until it is served.
func installRecords(ctx context.Context, plane *lab.ControlPlane) error {
	content, err := os.ReadFile(filepath.Join("..", "..", "config", "cluster", "crd", "syncer.dev_pipelinesyncs.yaml"))
	if err != nil {
		return err
	}
	definition := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(content, &definition.Object); err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(plane.Config())
	if err != nil {
		return err
	}
	if _, err := client.Resource(CRDs).Create(ctx, definition, metav1.CreateOptions{}); err != nil {
		return err
	}
	for {
		_, err := client.Resource(RecordResource).List(ctx, metav1.ListOptions{})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s is served: %w", v1alpha1.RecordKind.Kind, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
