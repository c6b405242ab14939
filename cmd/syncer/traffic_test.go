package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/syncerdev/syncer/internal/lab"
)

const (
	// trafficTime is what the controllers of `traffic` live through.
	trafficTime = 2 * time.Hour
	// trafficStep is the shortest period among them: that of a leader's lock in client-go.
	trafficStep = 2 * time.Second
)

// traffic NAMESPACE... has the controllers of a cluster do to the objects of namespaces what they do in two hours. Their
// periods are the real ones; the time between two writes is left out.
func (p *parts) traffic(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: traffic NAMESPACE...")
	}
	config := p.plane.Config()
	config.QPS, config.UserAgent = -1, "traffic"
	cluster, err := dynamic.NewForConfig(config)
	ts.Check(err)
	ca, err := certificate()
	ts.Check(err)
	ts.Setenv("AUDIT_FROM", strconv.Itoa(len(p.audited(ts))))
	began := time.Now()
	var writes atomic.Int64
	for at := time.Duration(0); at < trafficTime; at += trafficStep {
		g, ctx := errgroup.WithContext(context.Background())
		for _, namespace := range args {
			for _, c := range controllers {
				if at%c.every != 0 {
					continue
				}
				place := &place{ctx: ctx, client: cluster, namespace: namespace, manager: c.manager, ca: ca[int(at/c.every)%len(ca)], writes: &writes}
				g.Go(func() error {
					if err := c.write(place, int(at/c.every)); err != nil {
						return fmt.Errorf("%s, %s after the start: %w", c.manager, at, err)
					}
					return nil
				})
			}
		}
		ts.Check(g.Wait())
	}
	ts.Logf("%d writes of %d controllers in %s, for %s", writes.Load(), len(controllers)*len(args), time.Since(began).Round(time.Second), trafficTime)
}

// restTime is how long a daemon asks nothing before it counts as at rest; it polls once a second in the scripts.
const restTime = 5 * time.Second

// rests NAMESPACE... waits until the script's daemon asks the API server nothing any more, and fails where it has written
// an object of the namespaces since `traffic` began.
func (p *parts) rests(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: rests NAMESPACE...")
	}
	from, err := strconv.Atoi(ts.Getenv("AUDIT_FROM"))
	ts.Check(err)
	mine := func(e lab.AuditEvent) bool { // a pass begins with the record
		return strings.HasPrefix(e.UserAgent, "syncer/") && strings.HasPrefix(e.Object.Namespace, ts.Getenv("NS")+"-") && e.Verb != "watch" && e.Object.Resource != "leases"
	}
	began, last, asked := time.Now(), time.Now(), -1
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for time.Since(last) < restTime {
		<-tick.C
		events, err := lab.ReadAudit(p.audit)
		ts.Check(err)
		var requests []lab.AuditEvent
		for _, e := range events[from:] {
			if mine(e) {
				requests = append(requests, e)
			}
			written := slices.Contains([]string{"create", "update", "patch", "delete"}, e.Verb) && !strings.Contains(e.RequestURI, "dryRun=")
			about := slices.Contains(args, e.Object.Namespace) || slices.Contains(args, e.Object.Name)
			if strings.HasPrefix(e.UserAgent, "syncer/") && written && about {
				ts.Fatalf("it wrote an object: %s %s", e.Verb, e.RequestURI)
			}
		}
		if len(requests) != asked {
			asked, last = len(requests), time.Now()
		}
		if time.Since(began) > awaitTimeout {
			ts.Check(ts.Exec("kubectl", "-n", ts.Getenv("NS")+"-syncer", "get", "psync", "-o", `jsonpath={range .items[*]}{.metadata.name}{range .status.conditions[*]}{"\n"}{.type} {.status} {.message}{end}{"\n"}{end}`))
			ts.Fatalf("after %s it has made %d requests and goes on; the last: %+v", awaitTimeout, asked, requests[max(0, asked-10):])
		}
	}
	ts.Logf("at rest after %d requests", asked)
}

// controller writes to a cluster now and then.
type controller struct {
	manager string
	every   time.Duration
	write   func(p *place, n int) error
}

// place is where a controller writes.
type place struct {
	ctx       context.Context
	client    dynamic.Interface
	namespace string
	manager   string
	ca        string // of the webhooks, by now
	writes    *atomic.Int64
}

func resource(group, version, name string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: name}
}

// in gives objects of the namespace.
func (p *place) in(group, version, name string) dynamic.ResourceInterface {
	return p.client.Resource(resource(group, version, name)).Namespace(p.namespace)
}

// cluster gives objects outside namespaces; those of a namespace have its name.
func (p *place) cluster(group, version, name string) dynamic.ResourceInterface {
	return p.client.Resource(resource(group, version, name))
}

// patch writes by a merge patch.
func (p *place) patch(objects dynamic.ResourceInterface, name, patch string, subresource ...string) error {
	return p.patchAs(types.MergePatchType, objects, name, patch, subresource...)
}

func (p *place) patchAs(form types.PatchType, objects dynamic.ResourceInterface, name, patch string, subresource ...string) error {
	p.writes.Add(1)
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error { // the real controllers write beside this one
		_, err := objects.Patch(p.ctx, name, form, []byte(patch), metav1.PatchOptions{FieldManager: p.manager}, subresource...)
		return err
	})
}

// create makes an object that the one named as its owner controls.
func (p *place) create(objects dynamic.ResourceInterface, owner *unstructured.Unstructured, obj map[string]any) error {
	p.writes.Add(1)
	made := &unstructured.Unstructured{Object: obj}
	made.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(owner, owner.GroupVersionKind())})
	_, err := objects.Create(p.ctx, made, metav1.CreateOptions{FieldManager: p.manager})
	return err
}

// moment is the n-th time of some clock, in the form of metav1.MicroTime.
func moment(n int) string {
	return time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC).Format(metav1.RFC3339Micro)
}

// controllers are those that a cluster with data pipelines has beside kube-controller-manager, which runs itself: it makes
// pods, endpoints and volumes, counts quotas, and writes the statuses of what it runs. Where its own period is longer
// than a test, as an autoscaler's, its writes are here as well.
var controllers = []controller{
	{"web", trafficStep, func(p *place, n int) error { // a leader's lock of the older form
		return p.patch(p.in("", "v1", "configmaps"), "lock", fmt.Sprintf(`{"metadata":{"annotations":{"control-plane.alpha.kubernetes.io/leader":"{\"holderIdentity\":\"web-0\",\"leaseDurationSeconds\":15,\"renewTime\":\"%s\"}"}}}`, moment(n)))
	}},
	{"web", 10 * time.Second, func(p *place, n int) error {
		return p.patch(p.in("coordination.k8s.io", "v1", "leases"), "web", fmt.Sprintf(`{"spec":{"holderIdentity":"web-%d","leaseDurationSeconds":15,"renewTime":"%s"}}`, n%3, moment(n)))
	}},
	{"kubelet", 10 * time.Second, func(p *place, _ int) error { // the real time: the node is lost else, and every pod with it
		now := time.Now().UTC().Format(metav1.RFC3339Micro)
		return p.patch(p.client.Resource(resource("coordination.k8s.io", "v1", "leases")).Namespace("kube-node-lease"), "node-1", fmt.Sprintf(`{"spec":{"renewTime":"%s"}}`, now))
	}},
	{"kubelet", 5 * time.Minute, func(p *place, n int) error {
		return p.patchAs(types.StrategicMergePatchType, p.cluster("", "v1", "nodes"), "node-1", fmt.Sprintf(`{"status":{"conditions":[{"type":"DiskPressure","status":"False","message":"looked %d times"}]}}`, n), "status")
	}},
	{"kube-controller-manager", 15 * time.Second, func(p *place, n int) error {
		return p.patch(p.in("autoscaling", "v2", "horizontalpodautoscalers"), "web", fmt.Sprintf(`{"status":{"desiredReplicas":%d}}`, 2+n/20%4), "status")
	}},
	{"kube-controller-manager", 5 * time.Minute, func(p *place, n int) error { // the window in which an autoscaler does not go back
		return p.patch(p.in("apps", "v1", "deployments"), "web", fmt.Sprintf(`{"spec":{"replicas":%d}}`, 2+n%4), "scale")
	}},
	{"keda", 5 * time.Minute, func(p *place, n int) error {
		// The scale is not 0: a scale of 0 leaves the field without an owner.
		return p.patch(p.in("apps", "v1", "deployments"), "consumer", fmt.Sprintf(`{"spec":{"replicas":%d}}`, 1+n%3), "scale")
	}},
	{"kube-controller-manager", 30 * time.Second, func(p *place, n int) error {
		return p.patchAs(types.StrategicMergePatchType, p.in("apps", "v1", "deployments"), "web", fmt.Sprintf(`{"status":{"conditions":[{"type":"Progressing","status":"True","message":"ReplicaSet \"web-%d\" has successfully progressed."}]}}`, n), "status")
	}},
	{"spark-operator", 30 * time.Second, func(p *place, n int) error {
		return p.patch(p.in("sparkoperator.k8s.io", "v1beta2", "sparkapplications"), "etl", fmt.Sprintf(`{"status":{"executorState":{"etl-exec-%d":"RUNNING","etl-exec-%d":"COMPLETED"}}}`, n+1, n), "status")
	}},
	{"spark-operator", 5 * time.Minute, runScheduled},
	{"kube-controller-manager", 5 * time.Minute, runCronJob},
	{"kubectl-rollout", 30 * time.Minute, func(p *place, n int) error {
		return p.patch(p.in("apps", "v1", "deployments"), "web", fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"%s"}}}}}`, moment(n)))
	}},
	{"kubelet", 5 * time.Minute, losePod},
	{"kube-controller-manager", time.Hour, func(p *place, n int) error {
		return p.patch(p.in("", "v1", "secrets"), "runner-token", fmt.Sprintf(`{"data":{"token":"%s"},"metadata":{"annotations":{"kubernetes.io/service-account.name":"runner"}}}`, base64.StdEncoding.EncodeToString([]byte(moment(n)))))
	}},
	{"kube-apiserver", time.Hour, func(p *place, n int) error {
		return p.patch(p.in("", "v1", "secrets"), "runner-token", fmt.Sprintf(`{"metadata":{"labels":{"kubernetes.io/legacy-token-last-used":"2026-01-%02d"}}}`, n+1))
	}},
	{"openshift-controller-manager", time.Hour, func(p *place, n int) error {
		return p.patch(p.in("", "v1", "serviceaccounts"), "runner", fmt.Sprintf(`{"secrets":[{"name":"runner-dockercfg-%d"}],"imagePullSecrets":[{"name":"runner-dockercfg-%d"}]}`, n, n))
	}},
	{"cainjector", time.Hour, func(p *place, _ int) error {
		return p.patchAs(types.JSONPatchType, p.cluster("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"), p.namespace, `[{"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"`+p.ca+`"}]`)
	}},
	{"cainjector", time.Hour, func(p *place, _ int) error {
		return p.patch(p.cluster("apiextensions.k8s.io", "v1", "customresourcedefinitions"), "things."+p.namespace+".example.com", `{"spec":{"conversion":{"webhook":{"clientConfig":{"caBundle":"`+p.ca+`"}}}}}`)
	}},
	{"cloud-controller-manager", 10 * time.Minute, func(p *place, n int) error {
		return errors.Join(
			p.patch(p.in("", "v1", "services"), "web", `{"metadata":{"finalizers":["service.kubernetes.io/load-balancer-cleanup"]}}`),
			p.patch(p.in("", "v1", "services"), "web", fmt.Sprintf(`{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.%d"}]}}}`, n+1), "status"),
		)
	}},
	{"nginx-ingress-controller", 10 * time.Minute, func(p *place, n int) error {
		return p.patch(p.in("networking.k8s.io", "v1", "ingresses"), "web", fmt.Sprintf(`{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.%d"}]}}}`, n+1), "status")
	}},
	{"kube-scheduler", time.Hour, func(p *place, n int) error {
		return p.patch(p.in("", "v1", "persistentvolumeclaims"), "data", fmt.Sprintf(`{"metadata":{"annotations":{"volume.kubernetes.io/selected-node":"node-%d"}}}`, n+1))
	}},
	{"clusterrole-aggregation-controller", time.Hour, func(p *place, n int) error {
		return p.patch(p.cluster("rbac.authorization.k8s.io", "v1", "clusterroles"), p.namespace, fmt.Sprintf(`{"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"],"resourceNames":["pod-%d"]}]}`, n))
	}},
}

// runScheduled does what the Spark operator does when an hour has come: it makes a SparkApplication, which inherits the
// labels of its schedule, and notes it.
func runScheduled(p *place, n int) error {
	owner, err := p.in("sparkoperator.k8s.io", "v1beta2", "scheduledsparkapplications").Get(p.ctx, "hourly", metav1.GetOptions{})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("hourly-%d", n)
	template, _, err := unstructured.NestedMap(owner.Object, "spec", "template")
	if err != nil {
		return err
	}
	labels := map[string]any{"sparkoperator.k8s.io/scheduled-app-name": "hourly"}
	for key, value := range owner.GetLabels() {
		labels[key] = value
	}
	return errors.Join(
		p.create(p.in("sparkoperator.k8s.io", "v1beta2", "sparkapplications"), owner, map[string]any{
			"apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication", "spec": template,
			"metadata": map[string]any{"name": name, "labels": labels, "annotations": map[string]any{"lab.syncer.dev/run-seconds": "1"}},
		}),
		p.patch(p.in("sparkoperator.k8s.io", "v1beta2", "scheduledsparkapplications"), "hourly", fmt.Sprintf(`{"status":{"lastRunName":"%s","lastRun":"%s"}}`, name, moment(n)), "status"),
	)
}

// runCronJob makes a Job as a CronJob does; the Job's own life is kube-controller-manager's.
func runCronJob(p *place, n int) error {
	owner, err := p.in("batch", "v1", "cronjobs").Get(p.ctx, "nightly", metav1.GetOptions{})
	if err != nil {
		return err
	}
	spec, _, err := unstructured.NestedMap(owner.Object, "spec", "jobTemplate", "spec")
	if err != nil {
		return err
	}
	return p.create(p.in("batch", "v1", "jobs"), owner, map[string]any{
		"apiVersion": "batch/v1", "kind": "Job", "spec": spec, "metadata": map[string]any{"name": fmt.Sprintf("nightly-%d", n)},
	})
}

// losePod takes one of a deployment's pods away, as a node does that goes.
func losePod(p *place, _ int) error {
	pods, err := p.in("", "v1", "pods").List(p.ctx, metav1.ListOptions{LabelSelector: "app=web", Limit: 1})
	if err != nil || len(pods.Items) == 0 {
		return err
	}
	p.writes.Add(1)
	err = p.in("", "v1", "pods").Delete(p.ctx, pods.Items[0].GetName(), metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	return client.IgnoreNotFound(err) // its deployment may have been quicker
}

// certificate returns two certificates, base64 of their PEM: the injected one is renewed.
func certificate() (out [2]string, err error) {
	for i := range out {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return out, err
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(i) + 1), NotAfter: time.Now().Add(trafficTime)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return out, err
		}
		out[i] = base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return out, nil
}
