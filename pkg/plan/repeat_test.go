package plan_test

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
)

// A value that the API server writes in another form than git, or fills in, is no difference. A plan without the record of
// the first apply finds nothing to do, and so does a plan that tries every object.
func TestSecondApplyHasNothingToDo(t *testing.T) {
	web := func(container string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: $NS}\nspec:\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: main, image: \"web:1\", " + container + "}]}\n"
	}
	for name, doc := range map[string]string{
		"quantities in other words":      web(`resources: {requests: {cpu: 1000m, memory: 1024Mi}, limits: {cpu: "2.0", memory: 2000000000}}`),
		"quantity as a number":           web(`resources: {requests: {cpu: 1}}`),
		"quantities of a quota":          "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q, namespace: $NS}\nspec: {hard: {requests.cpu: 4000m, requests.memory: 1024Gi, count/sparkapplications.sparkoperator.k8s.io: \"20\"}}\n",
		"limit range":                    "apiVersion: v1\nkind: LimitRange\nmetadata: {name: l, namespace: $NS}\nspec: {limits: [{type: Container, default: {cpu: 500m, memory: 0.5Gi}, defaultRequest: {cpu: \"0.25\"}}]}\n",
		"ports by number and by name":    web(`ports: [{name: http, containerPort: 8080}, {containerPort: 9090, protocol: UDP}], readinessProbe: {httpGet: {port: http}}, livenessProbe: {tcpSocket: {port: 8080}}`),
		"service with target ports":      "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: $NS}\nspec: {selector: {app: web}, ports: [{name: a, port: 80, targetPort: 8080}, {name: b, port: 81, targetPort: http}]}\n",
		"environment of empty values":    web(`env: [{name: EMPTY, value: ""}, {name: NONE}], command: [], args: []`),
		"empty maps":                     web(`resources: {}, securityContext: {}`),
		"annotations that are empty":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: $NS, annotations: {}, labels: {}}\ndata: {}\n",
		"null values":                    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: $NS, annotations: null}\ndata: null\n",
		"network policy from nobody":     "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: closed, namespace: $NS}\nspec: {podSelector: {}, policyTypes: [Ingress, Egress], ingress: [], egress: [{to: []}]}\n",
		"role without rules":             "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r, namespace: $NS}\nrules: []\n",
		"cron job":                       "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c, namespace: $NS}\nspec:\n  schedule: \"0 3 * * *\"\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, volumes: [{name: v, emptyDir: {}}], containers: [{name: main, image: x, volumeMounts: [{name: v, mountPath: /v}]}]}}}}\n",
		"job with defaults":              bench.Backfill("j", 600),
		"suspended job":                  bench.Backfill("j", 600, "suspend: true"),
		"volume claim":                   "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: p, namespace: $NS}\nspec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1024Mi}}}\n",
		"stateful set with claims":       "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s, namespace: $NS}\nspec:\n  serviceName: s\n  replicas: 0\n  selector: {matchLabels: {app: s}}\n  template: {metadata: {labels: {app: s}}, spec: {containers: [{name: main, image: x}]}}\n  volumeClaimTemplates: [{metadata: {name: d}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}}]\n",
		"autoscaler":                     "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: h, namespace: $NS}\nspec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 1, maxReplicas: 3, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]}\n",
		"ingress":                        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i, namespace: $NS}\nspec: {rules: [{host: a.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}]}}]}\n",
		"disruption budget":              "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: p, namespace: $NS}\nspec: {minAvailable: 50%, selector: {matchLabels: {app: web}}}\n",
		"spark application":              sparkApp("s", 600, "sparkConf: {spark.ui.port: \"4041\", spark.on: \"on\"}", "dynamicAllocation: {enabled: true, initialExecutors: 1}"),
		"secret with plain values":       "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: $NS}\nstringData: {a: \"1\", b: \"\"}\ndata: {c: Yw==}\n",
		"service account":                "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner, namespace: $NS}\nimagePullSecrets: [{name: pull}]\n",
		"config map with every string":   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: $NS, labels: {flag: \"on\", n: \"n\", number: \"1e3\"}}\ndata: {a: \"1e3\", b: \"0x10\", c: \"on\", d: \"~\", e: \"null\", f: \"2030-01-02\", g: \"a: b\\n# c\\n\", h: \"\", i: \"01:02:03\", j: \"é😀\\u2028\\t\\u001b[0m\", k: \"\\uFEFFid,name\", l: \"\\u007f\\u0085\\u0090\\uFFFF\"}\nbinaryData: {z: AAEC}\n",
		"leftovers of kubectl get":       "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: $NS, uid: 6f8e, resourceVersion: \"12\", creationTimestamp: null, generation: 4, selfLink: /x, managedFields: [{manager: kubectl, operation: Update, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {}}]}\nspec: {ports: [{port: 80}]}\nstatus: {loadBalancer: {}}\n",
		"claim with a status of its own": "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: p, namespace: $NS, creationTimestamp: null}\nspec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Gi}}}\nstatus: {}\n",
		"config map of a megabyte":       "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: big, namespace: $NS}\ndata: {key: \"" + strings.Repeat("0123456789abcdef", 65000) + "\"}\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			set := b.Set(doc)
			pass.Sync(b, set)
			pass.NothingToDo(b, set)
		})
	}
}

// The old YAML rules of the API server would read the namespace "n" as false.
func TestNamespaceN(t *testing.T) {
	b := bench.New(t)
	b.CreateNamespace("n")
	t.Cleanup(func() {
		if err := b.Admin.Resource(bench.ConfigMaps).Namespace("n").Delete(context.Background(), "on", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	set := b.Set("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"on\", namespace: \"n\"}\ndata: {\"yes\": \"no\"}\n")
	pass.Sync(b, set)
	if got := bench.Value(b.Get(bench.ConfigMaps, "n", "on"), "data", "yes"); got != "no" {
		t.Errorf("the value is %v", got)
	}
	pass.NothingToDo(b, set)
}

func TestFieldsThatAKindPreservesWithoutKnowingThem(t *testing.T) {
	b := bench.New(t)
	definition := strings.Replace(bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer, default: 5}, free: {type: object, x-kubernetes-preserve-unknown-fields: true}, either: {x-kubernetes-int-or-string: true}"), "\nspec:\n", "\nspec:\n  preserveUnknownFields: false\n", 1)
	set := b.Set(bench.Join(definition, bench.Custom(b.Group(), "v1", "Widget", b.Namespace, "one", "free: {a: 1, b: [], c: {}, d: \"on\", e: 1.0, f: 1.5}, either: 80")))
	pass.Sync(b, set)
	pass.NothingToDo(b, set)
}

// A mutating policy replaces the webhooks that add sidecars.
func TestSidecarThatAdmissionAddsIsNoDrift(t *testing.T) {
	b := bench.New(t)
	policies := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingadmissionpolicies"}
	bindings := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingadmissionpolicybindings"}
	b.Create(policies, `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: `+b.Namespace+`}
spec:
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: $NS}}
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}]
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration:
      expression: >-
        Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{
          containers: [Object.spec.template.spec.containers{name: "proxy", image: "proxy:1"}]}}}}
`)
	b.Create(bindings, `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: `+b.Namespace+`}
spec: {policyName: `+b.Namespace+`}
`)
	web := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: $NS}\nspec:\n  selector: {matchLabels: {app: web}}\n  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: \"web:1\"}]}}\n"
	b.Eventually("the policy is in force", func() bool {
		containers, _ := bench.Value(pass.Plan(b, b.Set(web)).Changes()[0].Want, "spec", "template", "spec", "containers").([]any)
		return len(containers) == 2
	})
	set := b.Set(web)
	pass.Sync(b, set)
	pass.NothingToDo(b, set)
}

// The controller manager fills in the rules of an aggregated role.
func TestAggregatedRole(t *testing.T) {
	b := bench.New(t)
	roles := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}
	part := "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: " + b.Namespace + "-part, labels: {part-of: " + b.Namespace + "}}\nrules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n"
	whole := "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: " + b.Namespace + "-whole}\nrules: []\naggregationRule: {clusterRoleSelectors: [{matchLabels: {part-of: " + b.Namespace + "}}]}\n"
	set := b.Set(bench.Join(part, whole))
	pass.Sync(b, set)
	b.Eventually("the rules are filled in", func() bool {
		rules, _ := bench.Value(b.Get(roles, "", b.Namespace+"-whole"), "rules").([]any)
		return len(rules) == 1
	})
	pass.NothingToDo(b, set)
}
