package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// ControlPlaneOptions list the parts of a control plane. Bin and Dir are required.
type ControlPlaneOptions struct {
	Bin string // folder with etcd, kube-apiserver, kube-controller-manager and kwok, as `make controlplane` leaves it
	Dir string // folder for everything that is written: state, keys, kubeconfigs, logs; no objects of an earlier one are kept

	Controllers bool   // run kube-controller-manager, with service accounts as in a real cluster
	Nodes       int    // simulate that many nodes, which run the pods bound to them, and bind pods to them
	Spark       bool   // install the CRDs, and simulate the Spark operator
	CRDs        bool   // install the CRDs of the Spark operator and of the ServiceMonitor
	AuditLog    string // write one line per request to this file, for ReadAudit

	Log io.Writer // receives a line for each part that is up; nil for none
}

// ControlPlane is a Kubernetes API server with the requested parts around it.
type ControlPlane struct {
	Kubeconfig string // path of a kubeconfig of a cluster-admin

	opts      ControlPlaneOptions
	env       *envtest.Environment
	stopEnv   func() error
	processes map[string]*process // by program name
	scheduler *scheduler

	users sync.Mutex // envtest makes one user at a time

	stopping sync.Once
	stopped  error
}

// StartControlPlane starts the parts of opts and returns when all of them are ready: the API server answers, the
// controllers have made the default service account, the CRDs are served and the nodes are Ready. When ctx ends first,
// or a part does not come up, it stops the started parts again.
func StartControlPlane(ctx context.Context, opts ControlPlaneOptions) (_ *ControlPlane, err error) {
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	opts.Dir = dir
	if opts.Log == nil {
		opts.Log = io.Discard
	}
	c := &ControlPlane{opts: opts, Kubeconfig: filepath.Join(dir, "kubeconfig"), processes: map[string]*process{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()

	began := time.Now()
	if err := c.startAPIServer(ctx); err != nil {
		return nil, fmt.Errorf("starting the API server: %w", err)
	}
	c.report("API server", began)
	if err := c.startAround(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// startAround starts the parts of opts beside the API server. The parts start at the same time: each is started before
// the first wait.
func (c *ControlPlane) startAround(ctx context.Context) error {
	began := time.Now()
	// The quota controller lists the kinds when it starts and then every half minute: kinds that came later would have
	// no usage, and a quota on them would refuse every object until then.
	if c.opts.Spark || c.opts.CRDs {
		if err := c.installCRDs(ctx); err != nil {
			return err
		}
		c.report("CRDs", began)
	}
	if c.opts.Controllers {
		if err := c.startControllers(); err != nil {
			return err
		}
	}
	if c.opts.Nodes > 0 || c.opts.Spark {
		if err := c.startKwok(); err != nil {
			return err
		}
	}
	if c.opts.Nodes > 0 {
		if err := c.startNodes(ctx); err != nil {
			return fmt.Errorf("starting nodes: %w", err)
		}
		c.report("nodes", began)
	}
	if c.opts.Controllers {
		if err := c.waitForControllers(ctx); err != nil {
			return fmt.Errorf("waiting for kube-controller-manager: %w", err)
		}
		c.report("controllers", began)
	}
	return nil
}

// Config returns a new client configuration of a cluster-admin.
func (c *ControlPlane) Config() *rest.Config { return rest.CopyConfig(c.env.Config) }

// AddUser makes a user without permissions other than those of its groups, and returns the path of its kubeconfig.
func (c *ControlPlane) AddUser(name string, groups ...string) (kubeconfig string, err error) {
	c.users.Lock()
	user, err := c.env.AddUser(envtest.User{Name: name, Groups: groups}, nil)
	c.users.Unlock()
	if err != nil {
		return "", err
	}
	content, err := user.KubeConfig()
	if err != nil {
		return "", fmt.Errorf("writing the kubeconfig of %s: %w", name, err)
	}
	path := filepath.Join(c.opts.Dir, "users", name+".kubeconfig")
	return path, writeFile(path, content, 0o600)
}

// Stop ends every part and returns when they are gone. Calls after the first do nothing.
func (c *ControlPlane) Stop() error {
	c.stopping.Do(func() { c.stopped = c.stop() })
	return c.stopped
}

func (c *ControlPlane) stop() error {
	// First the parts that would complain that the API server is gone.
	errs := []error{c.scheduler.stop(), c.processes["kwok"].stop(), c.processes["kube-controller-manager"].stop()}
	if c.stopEnv != nil {
		errs = append(errs, c.stopEnv())
	}
	return errors.Join(errs...)
}

// run starts a program of opts.Bin; Stop ends it.
func (c *ControlPlane) run(name string, args ...string) error {
	path, err := program(c.opts.Bin, name, "controlplane")
	if err != nil {
		return err
	}
	cmd := exec.Command(path, args...)
	// The program has a home of its own: kwok, for example, reads a configuration from the user's.
	cmd.Env = append(os.Environ(), "HOME="+c.opts.Dir)
	c.processes[name], err = startProcess(cmd, c.logPath(name))
	return err
}

func (c *ControlPlane) logPath(name string) string {
	return filepath.Join(c.opts.Dir, "logs", name+".log")
}

func (c *ControlPlane) report(part string, began time.Time) {
	// An error of a progress line does not matter.
	_, _ = fmt.Fprintf(c.opts.Log, "%s up in %.1fs\n", part, time.Since(began).Seconds())
}
