package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// fixedFields are objects with a field that the API server does not change, and a change of that field. $NS makes names
// unique.
var fixedFields = map[string]struct{ doc, from, to string }{
	"RoleBinding": {
		doc:  "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: it, namespace: $NS, annotations: {}}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}\nsubjects: [{kind: ServiceAccount, name: it, namespace: $NS}]\n",
		from: "name: view", to: "name: edit",
	},
	"ClusterRoleBinding": {
		doc:  "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: $NS-it, annotations: {}}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}\nsubjects: [{kind: ServiceAccount, name: it, namespace: $NS}]\n",
		from: "name: view", to: "name: edit",
	},
	"PriorityClass": {
		doc:  "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: $NS-it, annotations: {}}\nvalue: 1000\n",
		from: "1000", to: "2000",
	},
	"StorageClass parameters": {
		doc:  "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: $NS-it, annotations: {}}\nprovisioner: example.com/disk\nparameters: {tier: slow}\n",
		from: "slow", to: "fast",
	},
	"StorageClass provisioner": {
		doc:  "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: $NS-it, annotations: {}}\nprovisioner: example.com/disk\n",
		from: "example.com/disk", to: "example.com/other",
	},
	"Secret type": {
		doc:  "apiVersion: v1\nkind: Secret\nmetadata: {name: it, namespace: $NS, annotations: {}}\ntype: example.com/one\nstringData: {password: canary}\n",
		from: "example.com/one", to: "example.com/two",
	},
	"immutable Secret": {
		doc:  "apiVersion: v1\nkind: Secret\nmetadata: {name: it, namespace: $NS, annotations: {}}\nimmutable: true\nstringData: {password: canary-one}\n",
		from: "canary-one", to: "canary-two",
	},
	"key of an immutable ConfigMap": {
		doc:  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it, namespace: $NS, annotations: {}}\nimmutable: true\ndata: {key: one, other: two}\n",
		from: ", other: two", to: "",
	},
	"immutable taken back": {
		doc:  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it, namespace: $NS, annotations: {}}\nimmutable: true\ndata: {key: one}\n",
		from: "immutable: true", to: "immutable: false",
	},
	"Pod arguments": {
		doc:  "apiVersion: v1\nkind: Pod\nmetadata: {name: it, namespace: $NS, annotations: {}}\nspec: {containers: [{name: main, image: \"web:1\", env: [{name: PASSWORD, value: canary}], args: [one]}]}\n",
		from: "args: [one]", to: "args: [two]",
	},
	"Pod with another container": {
		doc:  "apiVersion: v1\nkind: Pod\nmetadata: {name: it, namespace: $NS, annotations: {}}\nspec: {containers: [{name: main, image: \"web:1\"}]}\n",
		from: "image: \"web:1\"}", to: "image: \"web:1\"}, {name: more, image: \"web:1\"}",
	},
	"Service address": {
		doc:  "apiVersion: v1\nkind: Service\nmetadata: {name: it, namespace: $NS, annotations: {}}\nspec: {ports: [{port: 80}]}\n",
		from: "spec: {", to: "spec: {clusterIP: None, ",
	},
	"Service class beside a fixed port": {
		doc:  "apiVersion: v1\nkind: Service\nmetadata: {name: it, namespace: $NS, annotations: {}}\nspec: {type: LoadBalancer, loadBalancerClass: example.com/one, ports: [{port: 80, nodePort: 31999}]}\n",
		from: "example.com/one", to: "example.com/two",
	},
	"Job template": {
		doc:  "apiVersion: batch/v1\nkind: Job\nmetadata: {name: it, namespace: $NS, annotations: {}}\nspec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: main, image: \"web:1\"}]}}}\n",
		from: "web:1", to: "web:2",
	},
	"Job completions": {
		doc:  "apiVersion: batch/v1\nkind: Job\nmetadata: {name: it, namespace: $NS, annotations: {}}\nspec: {suspend: true, completions: 1, template: {spec: {restartPolicy: Never, containers: [{name: main, image: \"web:1\"}]}}}\n",
		from: "completions: 1", to: "completions: 2",
	},
	"StatefulSet": {
		doc:  "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: it, namespace: $NS, annotations: {}}\nspec: {replicas: 0, serviceName: it, selector: {matchLabels: {app: it}}, template: {metadata: {labels: {app: it}}, spec: {containers: [{name: main, image: \"web:1\"}]}}}\n",
		from: "serviceName: it", to: "serviceName: other",
	},
	"DaemonSet selector": {
		doc:  "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: it, namespace: $NS, annotations: {}}\nspec: {selector: {matchLabels: {app: it}}, template: {metadata: {labels: {app: it, more: x}}, spec: {nodeSelector: {none: x}, containers: [{name: main, image: \"web:1\"}]}}}\n",
		from: "{matchLabels: {app: it}}", to: "{matchLabels: {more: x}}",
	},
	"IngressClass controller": {
		doc:  "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: $NS-it, annotations: {}}\nspec: {controller: example.com/one}\n",
		from: "example.com/one", to: "example.com/two",
	},
	"RuntimeClass handler": {
		doc:  "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: $NS-it, annotations: {}}\nhandler: one\n",
		from: "handler: one", to: "handler: two",
	},
}

// queues defines a kind with transition rules, written in several ways.
const queues = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: queues.$NS.example.com}
spec:
  group: $NS.example.com
  scope: Namespaced
  names: {kind: Queue, listKind: QueueList, plural: queues, singular: queue}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        x-kubernetes-validations:
        - {rule: "!has(oldSelf.spec.root) || self.spec.root == oldSelf.spec.root", message: the root stands}
        properties:
          spec:
            type: object
            x-kubernetes-validations:
            - {rule: "!has(oldSelf.kept) || has(self.kept)", message: kept cannot be taken away}
            - {rule: "!has(self.low) || !has(self.high) || self.low <= self.high", message: low is above high}
            properties:
              plain: {type: string, x-kubernetes-validations: [{rule: self == oldSelf}]}
              worded: {type: string, x-kubernetes-validations: [{rule: self == oldSelf, message: the queue stays where it is}]}
              root: {type: string}
              kept: {type: string}
              free: {type: string}
              low: {type: integer}
              high: {type: integer}
              even: {type: integer, x-kubernetes-validations: [{rule: self % 2 == 0, message: it is odd}]}
              parts:
                type: array
                maxItems: 5
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties:
                    name: {type: string, maxLength: 20}
                    size: {type: integer, x-kubernetes-validations: [{rule: self == oldSelf, message: size stays}]}
`

// defineQueues serves the kind Queue in the bench's group.
func defineQueues(b *bench.Bench) {
	b.T.Helper()
	definition := b.Create(bench.CRDs, queues)
	b.Eventually("queues are served", func() bool {
		crd := b.Get(bench.CRDs, "", definition.GetName())
		return (*health.Judge)(nil).Health(crd).Status == health.Healthy
	})
	b.Restart() // with the new kind
	b.Eventually("queues can be listed", func() bool {
		_, err := b.Admin.Resource(queueResource(b)).Namespace(b.Namespace).List(b.Ctx, metav1.ListOptions{})
		return err == nil
	})
}

func queueResource(b *bench.Bench) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: b.Group(), Version: "v1", Resource: "queues"}
}

// only reads the one object of a set from the cluster.
func only(b *bench.Bench, set manifest.Set) *unstructured.Unstructured {
	b.T.Helper()
	resource, _ := meta.UnsafeGuessKindToResource(manifest.IDOf(set[0]).GroupVersionKind())
	return b.Get(resource, set[0].GetNamespace(), set[0].GetName())
}

func TestForceReplacesWhatCannotBeChanged(t *testing.T) {
	for name, c := range fixedFields {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			first := b.Set(c.doc)
			pass.Sync(b, first)
			before := only(b, first)
			if !strings.Contains(c.doc, c.from) {
				t.Fatal("the case changes nothing")
			}
			changed := strings.Replace(c.doc, c.from, c.to, 1)
			if !strings.Contains(c.doc, "kind: Job") {
				_, err := pass.TryPlan(b, b.Set(changed))
				bench.WantError(t, err, before.GetKind()+"/", "it: trying: ", "annotate it with syncer.dev/force: enabled to have it deleted and created again")
				if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "\n") {
					t.Errorf("the error shows too much: %v", err)
				}
			}

			allowed := b.Set(strings.Replace(changed, "annotations: {}", forced, 1))
			if got := pass.Plan(b, allowed).Changes(); len(got) != 1 || got[0].Action != manifest.Replace {
				t.Fatalf("the plan: %s", bench.Actions(got))
			}
			pass.Sync(b, allowed)
			if after := only(b, allowed); after == nil || after.GetUID() == before.GetUID() {
				t.Error("it is not another object")
			}
			pass.Sync(b, allowed)
			pass.NothingToDo(b, allowed)
		})
	}
}

// ruledFields are fields that a CEL rule of the definition makes immutable.
var ruledFields = map[string]struct{ name, from, to string }{
	"rule without a message":        {name: "plain", from: "plain: one", to: "plain: two"},
	"rule with a message":           {name: "worded", from: "worded: one", to: "worded: two"},
	"rule with a message in a list": {name: "parts", from: "parts: [{name: a, size: 1}]", to: "parts: [{name: a, size: 2}]"},
	"rule of the whole object":      {name: "root", from: "root: one", to: "root: two"},
	"field that may not leave":      {name: "kept", from: "kept: one, free: one", to: "free: one"},
}

// The plan finds this by a dry run. If the definition changes in the same commit, only the apply can find it.
func TestForceReplacesWhatARuleFixes(t *testing.T) {
	b := bench.New(t)
	queue := "apiVersion: $NS.example.com/v1\nkind: Queue\nmetadata: {name: %s, namespace: $NS, %s}\nspec: {%s}\n"
	docs, changed := []string{queues}, []string{strings.Replace(queues, "free: {type: string}", "free: {type: string, maxLength: 9}", 1)}
	for _, c := range ruledFields {
		docs = append(docs, fmt.Sprintf(queue, c.name, "annotations: {}", c.from))
		changed = append(changed, fmt.Sprintf(queue, c.name, forced, c.to))
	}
	pass.Sync(b, b.Set(bench.Join(docs...)))
	before := map[string]types.UID{}
	for name, c := range ruledFields {
		t.Run(name, func(t *testing.T) {
			before[c.name] = b.Get(queueResource(b), b.Namespace, c.name).GetUID()
			_, err := pass.TryPlan(b, b.Set(fmt.Sprintf(queue, c.name, "annotations: {}", c.to)))
			bench.WantError(t, err, "Queue/"+b.Namespace+"/"+c.name+": trying: ", "annotate it with syncer.dev/force: enabled to have it deleted and created again")
		})
	}
	if got := bench.Actions(pass.Plan(b, b.Set(bench.Join(append(docs[:1:1], changed[1:]...)...))).Changes()); strings.Count(got, "Replace Queue/") != len(ruledFields) {
		t.Errorf("the plan: %s", got)
	}
	set := b.Set(bench.Join(changed...))
	pass.Sync(b, set)
	for name, uid := range before {
		if after := b.Get(queueResource(b), b.Namespace, name); after == nil || after.GetUID() == uid {
			t.Errorf("%s is not another object", name)
		}
	}
	pass.NothingToDo(b, set)
}

// If an object is invalid in itself, or only with the fields of others, a deletion does not help.
func TestForceDeletesNothingThatStaysRefused(t *testing.T) {
	queue := "apiVersion: $NS.example.com/v1\nkind: Queue\nmetadata: {name: it, namespace: $NS, " + forced + "}\nspec: {worded: one, high: 5, even: 2}\n"
	for name, c := range map[string]struct{ from, to, edit, want string }{
		"rule of a value":         {from: "even: 2", to: "even: 3", want: "it is odd"},
		"fixed and wrong":         {from: "worded: one, high: 5, even: 2", to: "worded: two, high: 5, even: 3", want: "it is odd"},
		"against another's":       {from: "high: 5", to: "high: 3", edit: `{"spec":{"low":4}}`, want: "low is above high"},
		"type":                    {from: "high: 5", to: "high: many", want: "spec.high"},
		"field that is not there": {from: "high: 5", to: "height: 5", want: "spec.height"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			defineQueues(b)
			pass.Sync(b, b.Set(queue))
			before := b.Get(queueResource(b), b.Namespace, "it").GetUID()
			if c.edit != "" {
				b.Edit(queueResource(b), "it", c.edit)
			}
			applied, err := pass.TrySync(b, b.Set(strings.Replace(queue, c.from, c.to, 1)))
			bench.WantError(t, err, "Queue/"+b.Namespace+"/it: ", c.want)
			if strings.Contains(err.Error(), "delete it") {
				t.Error("the error advises to delete it")
			}
			if after := b.Get(queueResource(b), b.Namespace, "it"); after == nil || after.GetUID() != before {
				t.Errorf("it was deleted: %s", bench.Actions(applied.Changes))
			}
		})
	}
}

// policy refuses objects that do not meet an expression, in one namespace.
func createPolicy(b *bench.Bench, expression string) {
	b.T.Helper()
	group := schema.GroupVersion{Group: "admissionregistration.k8s.io", Version: "v1"}
	b.Create(group.WithResource("validatingadmissionpolicies"), fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: $NS}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]}
  validations: [{expression: %q, message: the policy of $NS}]
`, expression))
	b.Create(group.WithResource("validatingadmissionpolicybindings"), `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: $NS}
spec: {policyName: $NS, validationActions: [Deny], matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: $NS}}}}
`)
}

// A policy names no field, so syncer cannot guess whether the object would be accepted on the next request.
func TestForceIsNotEnoughForWhatAPolicyRefuses(t *testing.T) {
	b := bench.New(t)
	createPolicy(b, "oldObject == null || !has(object.data) || object.data == oldObject.data")
	for _, annotations := range []string{"annotations: {}", forced} {
		name := map[bool]string{true: "free", false: "forced"}[annotations != forced]
		doc := strings.Replace(bench.Settings(name, "one"), "namespace: $NS", "namespace: $NS, "+annotations, 1)
		pass.Sync(b, b.Set(doc))
		before := b.Get(bench.ConfigMaps, b.Namespace, name).GetUID()
		changed := b.Set(strings.Replace(doc, "one", "two", 1))
		var err error
		b.Eventually("the policy is in force", func() bool { _, err = pass.TryPlan(b, changed); return err != nil })
		bench.WantError(t, err, "ConfigMap/"+b.Namespace+"/"+name+": trying: ", "the policy of "+b.Namespace,
			"if a live object cannot change in this way, give it a new name, or delete it and syncer creates it again", "syncer.dev/force: enabled")
		if after := b.Get(bench.ConfigMaps, b.Namespace, name); after == nil || after.GetUID() != before {
			t.Errorf("%s is not the same object", name)
		}
		b.Target.Pipeline += "-next"
	}
}

// The immutable field is refused before any policy runs. The policy refuses the new object.
func TestForceDeletesNothingThatAPolicyRefusesAsNew(t *testing.T) {
	b := bench.New(t)
	doc := strings.Replace(immutableKinds["ConfigMap"].doc, "annotations: {}", forced, 1)
	pass.Sync(b, b.Set(doc))
	before := b.Get(bench.ConfigMaps, b.Namespace, "it").GetUID()
	createPolicy(b, "!has(object.data) || !has(object.data.key) || object.data.key != 'two'")
	b.Eventually("the policy is in force", func() bool {
		obj := b.Object(bench.Settings("probe", "two"))
		_, err := b.Admin.Resource(bench.ConfigMaps).Namespace(b.Namespace).Create(b.Ctx, obj, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err != nil
	})
	_, err := pass.TryPlan(b, b.Set(strings.Replace(doc, "key: one", "key: two", 1)))
	bench.WantError(t, err, "field is immutable", "it would be refused as a new one", "the policy of "+b.Namespace)
	if after := b.Get(bench.ConfigMaps, b.Namespace, "it"); after == nil || after.GetUID() != before {
		t.Error("it was deleted")
	}
}

// A bare Pod that runs to its end is a run.
func TestForceWaitsForAPodThatRunsToItsEnd(t *testing.T) {
	b := bench.New(t)
	doc := "apiVersion: v1\nkind: Pod\nmetadata: {name: it, namespace: $NS, " + forced + "}\nspec: {restartPolicy: Never, schedulerName: nobody, containers: [{name: main, image: \"web:1\", args: [one]}]}\n"
	pass.Sync(b, b.Set(doc))
	b.Status(bench.Pods, "it", `{"status":{"phase":"Running"}}`)
	changed := b.Set(strings.Replace(doc, "args: [one]", "args: [two]", 1))
	applied := pass.Sync(b, changed)
	if got := bench.Held(applied.Held); got != "Running Pod/it" {
		t.Fatalf("held are %q, applied is %q", got, bench.Actions(applied.Changes))
	}
	b.Status(bench.Pods, "it", `{"status":{"phase":"Succeeded"}}`)
	if got := bench.Actions(pass.Plan(b, changed).Changes()); got != "Replace Pod/it" {
		t.Errorf("after its end: %q", got)
	}
}
