package lab

import (
	"context"
	_ "embed" // for the wrapper
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// auditPolicy logs a line for each answered request, and another line for the begin of a watch.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// startAPIServer starts etcd and kube-apiserver through envtest and writes the admin's kubeconfig.
func (c *ControlPlane) startAPIServer(ctx context.Context) (err error) {
	// Without a logger of its own, controller-runtime complains on stderr after half a minute.
	ctrllog.SetLogger(logr.Discard())

	existing := false
	c.env = &envtest.Environment{
		UseExistingCluster:       &existing,
		ControlPlaneStartTimeout: 3 * time.Minute, // on a busy machine
		ControlPlaneStopTimeout:  time.Minute,     // it is killed at once, see wrapper.sh
	}
	for _, earlier := range []string{c.state(), c.keys()} {
		if err := os.RemoveAll(earlier); err != nil {
			return err
		}
	}
	etcdLog, err := openLog(c.logPath("etcd"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcdLog.Close()) }()
	serverLog, err := openLog(c.logPath("kube-apiserver"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, serverLog.Close()) }()

	if err := c.configureEtcd(etcdLog); err != nil {
		return err
	}
	if err := c.configureAPIServer(serverLog); err != nil {
		return err
	}
	if err := c.startEnv(); err != nil {
		return fmt.Errorf("%w; kube-apiserver printed:\n%s", err, lastLines(serverLog.Name()))
	}
	if err := ctx.Err(); err != nil {
		return err // envtest takes no context
	}
	return writeFile(c.Kubeconfig, c.env.KubeConfig, 0o600)
}

// startEnv starts the environment on a thread that lives until it is stopped, for the reason given in startProcess.
func (c *ControlPlane) startEnv() error {
	started, stop, stopped := make(chan error), make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		_, err := c.env.Start()
		// Keys for webhooks that do not exist here, in the folder for temporary files.
		started <- errors.Join(err, c.env.WebhookInstallOptions.Cleanup())
		<-stop
		stopped <- c.env.Stop()
	}()
	c.stopEnv = func() error {
		close(stop)
		return <-stopped
	}
	return <-started
}

func (c *ControlPlane) configureEtcd(log *os.File) error {
	path, err := c.wrapped("etcd")
	if err != nil {
		return err
	}
	address, err := FreeAddress()
	if err != nil {
		return err
	}
	etcd := &envtest.Etcd{Path: path, DataDir: c.state(), Out: log, Err: log, URL: &url.URL{Scheme: "http", Host: address}}
	c.env.ControlPlane.Etcd = etcd
	return os.MkdirAll(etcd.DataDir, 0o700)
}

func (c *ControlPlane) configureAPIServer(log *os.File) error {
	path, err := c.wrapped("kube-apiserver")
	if err != nil {
		return err
	}
	server := c.env.ControlPlane.GetAPIServer()
	server.Path, server.Out, server.Err = path, log, log
	server.CertDir = c.keys()
	port, err := FreePort()
	if err != nil {
		return err
	}
	server.SecureServing.Address, server.SecureServing.Port = "127.0.0.1", strconv.Itoa(port)
	if c.opts.Controllers {
		// envtest turns this admission plugin off because it has no service accounts; the lab has them.
		server.Configure().Disable("disable-admission-plugins")
	}
	if c.opts.AuditLog != "" {
		policy := filepath.Join(c.opts.Dir, "audit-policy.yaml")
		if err := writeFile(policy, []byte(auditPolicy), 0o644); err != nil {
			return err
		}
		server.Configure().Set("audit-policy-file", policy).Set("audit-log-path", c.opts.AuditLog).
			Set("audit-log-maxsize", "10000") // megabytes: it stays one file
	}
	return os.MkdirAll(server.CertDir, 0o700)
}

// state is the folder of etcd's data.
func (c *ControlPlane) state() string { return filepath.Join(c.opts.Dir, "etcd") }

// keys is the folder of the API server's keys and certificates.
func (c *ControlPlane) keys() string { return filepath.Join(c.opts.Dir, "keys") }

// wrapper runs a program that envtest starts.
//
//go:embed wrapper.sh
var wrapper string

// wrapped returns a wrapper around a program of opts.Bin.
func (c *ControlPlane) wrapped(name string) (string, error) {
	path, err := program(c.opts.Bin, name, "controlplane")
	if err != nil {
		return "", err
	}
	quoted := "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	script := strings.ReplaceAll(wrapper, "$mortal PROGRAM", "$mortal "+quoted)
	file := filepath.Join(c.opts.Dir, "bin", name)
	return file, writeFile(file, []byte(script), 0o755)
}
