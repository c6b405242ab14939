package manifest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// grown has managed fields as the API server writes them; %s is what others own.
const grown = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {team: data, by: hand}
  annotations: {example.com/note: x}
  finalizers: [example.com/hold]
  ownerReferences: [{uid: 7f, kind: ConfigMap, name: o, apiVersion: v1}]
  managedFields:
  - manager: syncer
    operation: Apply
    fieldsV1:
      f:metadata: {f:labels: {f:team: {}}}
      f:spec: {f:template: {f:spec: {f:containers: {'k:{"name":"web"}': {.: {}, f:name: {}, f:image: {}, f:args: {}, f:env: {'k:{"name":"A"}': {.: {}, f:name: {}, f:value: {}}}}}}}}
  - {manager: syncer, operation: Update, fieldsV1: {f:spec: {f:paused: {}}}}
  - {manager: kube-controller-manager, operation: Update, subresource: status, fieldsV1: {f:status: {f:replicas: {}}}}
  - manager: kubectl-edit
    operation: Update
    time: "2026-03-03T10:00:00Z"
    fieldsV1: %s
spec:
  replicas: 3
  paused: true
  template:
    spec:
      securityContext: {runAsUser: 0}
      containers:
      - {name: web, image: x, args: [a], env: [{name: A, value: a}, {name: B, value: b}], resources: {limits: {cpu: 1}}}
      - {name: sidecar, image: other}
status: {replicas: 3}
`

func TestAdditions(t *testing.T) {
	const pod = "f:spec: {f:template: {f:spec: {%s}}}"
	for name, c := range map[string]struct {
		fields string
		want   []string
	}{
		"nothing":                  {"{}", nil},
		"a scalar":                 {"{f:spec: {f:replicas: {}}}", []string{"spec.replicas=3"}},
		"a label":                  {"{f:metadata: {f:labels: {f:by: {}}}}", []string{"metadata.labels.by=hand"}},
		"the first annotation":     {"{f:metadata: {f:annotations: {.: {}, 'f:example.com/note': {}}}}", []string{`metadata.annotations["example.com/note"]=x`}},
		"a finalizer":              {`{f:metadata: {f:finalizers: {.: {}, 'v:"example.com/hold"': {}}}}`, []string{"metadata.finalizers[0]=example.com/hold"}},
		"an owner":                 {`{f:metadata: {f:ownerReferences: {.: {}, 'k:{"uid":"7f"}': {}}}}`, []string{"metadata.ownerReferences[uid=7f]=map[apiVersion:v1 kind:ConfigMap name:o uid:7f]"}},
		"a variable is one":        {"{" + fmt.Sprintf(pod, `f:containers: {'k:{"name":"web"}': {f:env: {'k:{"name":"B"}': {.: {}, f:name: {}, f:value: {}}}}}`) + "}", []string{"spec.template.spec.containers[name=web].env[name=B]=map[name:B value:b]"}},
		"a container is one":       {"{" + fmt.Sprintf(pod, `f:containers: {'k:{"name":"sidecar"}': {.: {}, f:name: {}, f:image: {}}}`) + "}", []string{"spec.template.spec.containers[name=sidecar]=map[image:other name:sidecar]"}},
		"a field of an item":       {"{" + fmt.Sprintf(pod, `f:containers: {'k:{"name":"sidecar"}': {f:image: {}}}`) + "}", []string{"spec.template.spec.containers[name=sidecar].image=other"}},
		"a map as a whole":         {"{" + fmt.Sprintf(pod, "f:securityContext: {.: {}, f:runAsUser: {}}") + "}", []string{"spec.template.spec.securityContext=map[runAsUser:0]"}},
		"a limit":                  {"{" + fmt.Sprintf(pod, `f:containers: {'k:{"name":"web"}': {f:resources: {.: {}, f:limits: {.: {}, f:cpu: {}}}}}`) + "}", []string{"spec.template.spec.containers[name=web].resources=map[limits:map[cpu:1]]"}},
		"what syncer shares":       {"{" + fmt.Sprintf(pod, `f:containers: {'k:{"name":"web"}': {f:image: {}, f:args: {}}}`) + "}", nil},
		"what a webhook set":       {"{f:spec: {f:paused: {}}}", nil},
		"status of a plain update": {"{f:status: {f:replicas: {}}}", nil},
		"what is gone":             {"{f:spec: {f:minReadySeconds: {}}, f:metadata: {f:labels: {f:was: {}}}}", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, addition := range Additions(obj(t, fmt.Sprintf(grown, c.fields)), "syncer", nil) {
				if addition.Manager.Name != "kubectl-edit" || addition.Manager.Time.IsZero() {
					t.Errorf("%s: manager %v", addition.Path, addition.Manager)
				}
				if _, err := ParsePath(addition.Path); err != nil {
					t.Error(err)
				}
				got = append(got, addition.Path+"="+fmt.Sprint(addition.Value))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAdditionsAreMasked(t *testing.T) {
	secret := obj(t, `{apiVersion: v1, kind: Secret, data: {a: canary}, metadata: {managedFields: [{manager: kubectl, operation: Update, fieldsV1: {f:data: {.: {}, f:a: {}}}}]}}`)
	got := Additions(secret, "syncer", []byte("salt"))
	if len(got) != 1 || got[0].Path != "data.a" || fmt.Sprint(got[0].Value) == "canary" {
		t.Errorf("got %v", got)
	}
}

// Who applies a Secret's stringData owns it by that name, and the values are those of data.
func TestStringDataIsData(t *testing.T) {
	secret := obj(t, `{apiVersion: v1, kind: Secret, data: {a: canary, b: canary}, metadata: {managedFields: [
		{manager: syncer, operation: Apply, fieldsV1: {f:data: {f:a: {}}}},
		{manager: hand, operation: Apply, fieldsV1: {f:stringData: {f:a: {}, f:b: {}}}}]}}`)
	if got := Additions(secret, "syncer", nil); len(got) != 1 || got[0].Path != "data.b" || got[0].Manager.Name != "hand" {
		t.Errorf("added: %v", got)
	}
	if manager, ok := ManagerOf(secret, Path{{Name: "data"}, {Name: "a"}}, "syncer"); !ok || manager.Name != "hand" {
		t.Errorf("written by %v, %t", manager, ok)
	}
}
