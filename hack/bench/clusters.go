package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/standin"
)

// clusters are API servers that one syncer works with: some real ones, and many stand-ins that answer from memory.
type clusters struct {
	names     []string // the real ones first; also those of their environments
	real      []*lab.ControlPlane
	audits    []*audit
	clients   []dynamic.Interface // a person's, of the real ones
	standIns  *standin.Servers
	completes chan completion
	working   sync.WaitGroup
}

// completion is an application that the stand-in operator has to complete.
type completion struct {
	server string
	object standin.Object
}

func clusterName(i int) string { return fmt.Sprintf("c%03d", i) }

// start starts real API servers, and stand-ins that serve the same kinds. note receives each new state of a record.
func (c *clusters) start(ctx context.Context, s *scale, note func(*unstructured.Unstructured)) error {
	for i := range s.real + s.simulated {
		c.names = append(c.names, clusterName(i))
	}
	for i := range s.real {
		if err := c.startReal(ctx, s, i); err != nil {
			return err
		}
	}
	if err := s.writeConfig("real.yaml", c.names[:s.real], ""); err != nil {
		return err
	}
	if err := c.writeKubeconfigs(s, ""); err != nil {
		return err
	}
	if out, err := s.daemon.command(ctx, "install", "--config", filepath.Join(s.dir, "real.yaml")).CombinedOutput(); err != nil {
		return fmt.Errorf("syncer install: %w: %s", err, out)
	}
	if err := sleep(ctx, createDelay); err != nil {
		return err
	}
	documents, err := standin.Copy(ctx, c.real[0].Config())
	if err != nil {
		return err
	}
	c.completes = make(chan completion, 100_000)
	c.standIns, err = standin.Start(standin.Options{
		Names: c.names[s.real:], CAFile: filepath.Join(s.dir, "standin-ca.pem"), Documents: documents,
		Wrote: func(server string, o standin.Object) { c.wrote(server, o, note) },
	})
	if err != nil {
		return err
	}
	return c.writeKubeconfigs(s, c.standIns.Address)
}

func (c *clusters) startReal(ctx context.Context, s *scale, i int) error {
	log := filepath.Join(s.dir, c.names[i]+"-audit.log")
	plane, err := lab.StartControlPlane(ctx, lab.ControlPlaneOptions{
		Bin: filepath.Join(s.opts.bin, "controlplane"), Dir: filepath.Join(s.dir, c.names[i]), CRDs: true, AuditLog: log,
	})
	if err != nil {
		return err
	}
	c.real = append(c.real, plane)
	config := plane.Config()
	config.QPS, config.UserAgent = -1, "bench"
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	c.clients, c.audits = append(c.clients, client), append(c.audits, &audit{path: log, config: config})
	_, err = client.Resource(bindings).Create(ctx, groupBinding(), metav1.CreateOptions{})
	return err
}

// wrote passes records on, and has applications completed.
func (c *clusters) wrote(server string, o standin.Object, note func(*unstructured.Unstructured)) {
	switch o["kind"] {
	case "PipelineSync":
		note(&unstructured.Unstructured{Object: o})
	case "SparkApplication":
		select {
		case c.completes <- completion{server, o}:
		default: // a stand-in does not wait; the application stays in progress, and the run says so
		}
	}
}

// follow has the records of the real servers noted, and applications completed.
func (c *clusters) follow(ctx context.Context, s *scale, note func(*unstructured.Unstructured)) {
	for _, client := range c.clients {
		c.working.Go(func() { follow(ctx, client.Resource(pipelineSync), note) })
		o := &operator{client: client, todo: make(chan *unstructured.Unstructured, 10_000), log: s.opts.log}
		c.working.Go(func() { o.run(ctx) })
	}
	c.working.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case app := <-c.completes:
				if err := c.complete(app); err != nil {
					fmt.Fprintln(s.opts.log, err)
				}
			}
		}
	})
}

// complete completes an application of a stand-in.
func (c *clusters) complete(app completion) error {
	o := unstructured.Unstructured{Object: app.object}
	submission := fmt.Sprintf("%s-%d", o.GetUID(), o.GetGeneration())
	if done, _, _ := unstructured.NestedString(app.object, "status", "submissionID"); done == submission {
		return nil
	}
	path := "apis/sparkoperator.k8s.io/v1beta2/namespaces/" + o.GetNamespace() + "/sparkapplications/" + o.GetName()
	return c.standIns.Patch(app.server, path, standin.Object{"status": standin.Object{
		"submissionID": submission, "driverInfo": standin.Object{"podName": o.GetName() + "-driver"},
		"applicationState": standin.Object{"state": "COMPLETED"},
	}})
}

// writeKubeconfigs writes a kubeconfig for each server, or one for all. Without an address there are no stand-ins yet.
func (c *clusters) writeKubeconfigs(s *scale, address string) error {
	all := clientcmdapi.NewConfig()
	for i, name := range c.names {
		one := clientcmdapi.NewConfig()
		switch {
		case i < len(c.real):
			path, err := c.real[i].AddUser(daemonUser, group)
			if err != nil {
				return err
			}
			loaded, err := clientcmd.LoadFromFile(path)
			if err != nil {
				return err
			}
			of := loaded.Contexts[loaded.CurrentContext]
			one.Clusters[name], one.AuthInfos[name] = loaded.Clusters[of.Cluster], loaded.AuthInfos[of.AuthInfo]
		case address == "":
			continue
		default:
			ca, err := os.ReadFile(filepath.Join(s.dir, "standin-ca.pem"))
			if err != nil {
				return err
			}
			one.Clusters[name] = &clientcmdapi.Cluster{Server: address + "/" + name, CertificateAuthorityData: ca}
			one.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: standin.Token(name)}
		}
		one.Contexts[name], one.CurrentContext = &clientcmdapi.Context{Cluster: name, AuthInfo: name}, name
		all.Clusters[name], all.AuthInfos[name], all.Contexts[name] = one.Clusters[name], one.AuthInfos[name], one.Contexts[name]
		if !s.oneFile {
			if err := clientcmd.WriteToFile(*one, s.kubeconfig(name)); err != nil {
				return err
			}
		}
	}
	if s.oneFile {
		return clientcmd.WriteToFile(*all, s.kubeconfig(""))
	}
	return nil
}

// asked returns the requests of the daemon since the last call, to all servers, and the ones that no stand-in could answer.
func (c *clusters) asked(ctx context.Context) (all counts, unknown []string, err error) {
	all = counts{}
	for _, a := range c.audits {
		events, err := a.upToNow(ctx)
		if err != nil {
			return nil, nil, err
		}
		all.add(countOf(events, daemonUser))
	}
	for what, n := range c.standIns.Requests() {
		all[what] += n
		if strings.HasPrefix(what, "unknown ") {
			unknown = append(unknown, what)
		}
	}
	return all, unknown, nil
}

// quiet waits until the servers are asked nothing but Leases for a time, or until the limit.
func (c *clusters) quiet(ctx context.Context, silence, limit time.Duration) (counts, error) {
	sum := counts{}
	for began, last := time.Now(), time.Now(); time.Since(last) < silence && time.Since(began) < limit; {
		more, _, err := c.asked(ctx)
		if err != nil {
			return nil, err
		}
		if sum.add(more); more.total() > 0 {
			last = time.Now()
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

func (c *clusters) stop() error {
	var errs []error
	if c.standIns != nil {
		errs = append(errs, c.standIns.Stop())
	}
	for _, plane := range c.real {
		errs = append(errs, plane.Stop())
	}
	return errors.Join(errs...)
}
