package manifest

import (
	"strings"
	"testing"
	"time"
)

// deployment was applied by syncer, scaled by an autoscaler, edited twice by hand, and is watched by controllers.
const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations: {example.com/owner: bob, deployment.kubernetes.io/revision: "3"}
  labels: {app: web}
  finalizers: [example.com/a, example.com/b]
  managedFields:
  - manager: syncer
    operation: Apply
    apiVersion: apps/v1
    time: "2026-03-01T10:00:00Z"
    fieldsType: FieldsV1
    fieldsV1:
      f:metadata: {"f:labels": {"f:app": {}}}
      f:spec:
        f:selector: {}
        f:template:
          f:spec:
            f:containers:
              k:{"name":"web"}: {".": {}, "f:name": {}, "f:args": {}, "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}}
  - manager: horizontal-autoscaler
    operation: Update
    apiVersion: apps/v1
    time: "2026-03-02T10:00:00Z"
    fieldsType: FieldsV1
    fieldsV1: {"f:spec": {"f:replicas": {}}}
    subresource: scale
  - manager: kubectl-edit
    operation: Update
    apiVersion: apps/v1
    time: "2026-03-03T10:00:00Z"
    fieldsType: FieldsV1
    fieldsV1:
      f:metadata:
        f:annotations: {".": {}, "f:example.com/owner": {}}
        f:finalizers: {".": {}, 'v:"example.com/b"': {}}
      f:spec:
        f:template:
          f:spec:
            f:containers:
              k:{"name":"web"}:
                f:image: {}
                f:ports: {".": {}, 'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}}
                f:env: {'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}}}
            f:nodeSelector: {}
  - manager: patcher
    operation: Update
    apiVersion: apps/v1
    time: "2026-03-04T10:00:00Z"
    fieldsType: FieldsV1
    fieldsV1:
      f:spec: {"f:template": {"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:image": {}}}}}}
  - manager: kube-controller-manager
    operation: Update
    apiVersion: apps/v1
    time: "2026-03-05T10:00:00Z"
    fieldsType: FieldsV1
    fieldsV1:
      f:metadata: {"f:annotations": {"f:deployment.kubernetes.io/revision": {}}}
      f:status: {"f:replicas": {}}
    subresource: status
spec:
  replicas: 5
  selector: {matchLabels: {app: web}}
  template:
    spec:
      nodeSelector: {zone: a}
      containers:
      - name: web
        image: web:2
        args: [--a, --b]
        ports: [{containerPort: 80, protocol: TCP}]
        env: [{name: A, value: "1"}, {name: B, value: "2"}]
status: {replicas: 5}
`

func TestManagerOf(t *testing.T) {
	live := obj(t, deployment)
	const container = "spec.template.spec.containers[name=web]"
	for path, want := range map[string]string{
		"spec.replicas": "horizontal-autoscaler Update scale 2026-03-02",
		`metadata.annotations["example.com/owner"]`:                 "kubectl-edit Update  2026-03-03",
		`metadata.annotations["deployment.kubernetes.io/revision"]`: "kube-controller-manager Update status 2026-03-05",
		container + ".image": "patcher Update  2026-03-04", // the last of two
		container + ".ports[containerPort=80,protocol=TCP]": "kubectl-edit Update  2026-03-03",
		container + ".ports[0].containerPort":               "kubectl-edit Update  2026-03-03",
		container + ".env[name=B].value":                    "kubectl-edit Update  2026-03-03",
		container + ".env[name=B]":                          "kubectl-edit Update  2026-03-03",
		"spec.template.spec.nodeSelector.zone":              "kubectl-edit Update  2026-03-03", // an atomic map
		"metadata.finalizers[1]":                            "kubectl-edit Update  2026-03-03",
		"metadata.finalizers[0]":                            "",
		container + ".args[1]":                              "", // syncer's own
		container + ".env[name=A].value":                    "",
		container + ".env[name=C].value":                    "",
		"metadata.labels.app":                               "",
		"spec.paused":                                       "",
		"spec.template.spec.containers[name=gone].image":    "",
	} {
		parsed, err := ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		manager, ok := ManagerOf(live, parsed, "syncer")
		got := ""
		if ok {
			got = strings.Join([]string{manager.Name, manager.Operation, manager.Subresource, manager.Time.Format(time.DateOnly)}, " ")
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestManagerOfAnItemOfAnAtomicList(t *testing.T) {
	path, err := ParsePath("spec.template.spec.containers[name=web].args[1]")
	if err != nil {
		t.Fatal(err)
	}
	if manager, ok := ManagerOf(obj(t, deployment), path, "somebody"); !ok || manager.Name != "syncer" {
		t.Errorf("%v, %t", manager, ok)
	}
}

func TestManagerWithoutATime(t *testing.T) {
	live := obj(t, "spec: {a: 1}\nmetadata: {managedFields: [{manager: m, operation: Update, fieldsV1: {f:spec: {f:a: {}}}}, 7, {manager: broken}]}")
	manager, ok := ManagerOf(live, Path{{Name: "spec"}, {Name: "a"}}, "syncer")
	if !ok || manager.Name != "m" || !manager.Time.IsZero() {
		t.Errorf("%v, %t", manager, ok)
	}
	if _, ok := ManagerOf(obj(t, "spec: {a: 1}"), Path{{Name: "spec"}}, "syncer"); ok {
		t.Error("no managed fields, and a manager all the same")
	}
}

func TestOwnedFields(t *testing.T) {
	before := OwnedFields(obj(t, deployment), "syncer")
	if before == "" || OwnedFields(obj(t, deployment), "nobody") != "" {
		t.Errorf("got %q", before)
	}
	for change, c := range map[string]struct {
		from, to string
		same     bool
	}{
		"another manager takes a field": {`"f:args": {}, `, "", false},
		"a field more":                  {"f:selector: {}", "f:selector: {}\n        f:replicas: {}", false},
		"another manager's own field":   {`{"f:replicas": {}}`, `{"f:replicas": {}, "f:paused": {}}`, true},
		"another time":                  {"2026-03-01T10", "2026-03-01T11", true},
		"a value":                       {"value: \"1\"", "value: \"9\"", true},
		"an update by the same name":    {"manager: patcher", "manager: syncer", true},
		"only an update":                {"operation: Apply", "operation: Update", false},
	} {
		after := OwnedFields(obj(t, strings.Replace(deployment, c.from, c.to, 1)), "syncer")
		if (after == before) != c.same {
			t.Errorf("%s: %s, %s", change, before, after)
		}
	}
}

// An object that is not in the cluster has no managers.
func TestNobodyManagesAnObjectThatIsNotThere(t *testing.T) {
	path, err := ParsePath("spec.replicas")
	if err != nil {
		t.Fatal(err)
	}
	if _, managed := ManagerOf(nil, path, "syncer"); managed {
		t.Error("somebody manages a field of no object")
	}
	if Owns(nil, path, "syncer") || OwnedFields(nil, "syncer") != "" || OwnedState(nil, "syncer", nil) != "" {
		t.Error("syncer owns fields of no object")
	}
	if _, written := LastWrite(nil, "syncer"); written {
		t.Error("syncer wrote no object")
	}
}
