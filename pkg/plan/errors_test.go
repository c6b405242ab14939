package plan_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
)

func TestErrorsSayWhatToDo(t *testing.T) {
	b := bench.New(t)
	t.Run("kind that is not served", func(t *testing.T) {
		_, err := pass.TryPlan(b, b.Set("apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: old, namespace: $NS}\n"))
		bench.WantError(t, err, "CronJob/"+b.Namespace+"/old: the cluster serves no kind CronJob in batch/v1beta1; install its CRD, or mend apiVersion and kind")
	})
	t.Run("namespace that is not there", func(t *testing.T) {
		_, err := pass.TryPlan(b, b.Set("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: lost, namespace: nowhere}\n"))
		bench.WantError(t, err, "ConfigMap/nowhere/lost: namespace nowhere is not there; add a Namespace object to a pipeline, or create it")
	})
	t.Run("namespace that is being deleted", func(t *testing.T) {
		doomed := b.Namespace + "-doomed"
		b.CreateNamespace(doomed)
		b.Create(bench.ConfigMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hangs, namespace: "+doomed+", finalizers: [example.com/never]}\n")
		b.Delete(bench.Namespaces, "", doomed)
		t.Cleanup(func() {
			inside := *b
			inside.Namespace = doomed
			bench.LetGo(&inside, bench.ConfigMaps, "hangs")
		})
		_, err := pass.TryPlan(b, b.Set("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late, namespace: "+doomed+"}\n"))
		bench.WantError(t, err, "ConfigMap/"+doomed+"/late: ", "is being deleted")
		if strings.Contains(err.Error(), "Role") {
			t.Error("it is taken for RBAC")
		}
	})
	t.Run("field that a live object cannot change", func(t *testing.T) {
		live := b.Create(bench.Services, "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: $NS}\nspec: {ports: [{port: 80}]}\n")
		want := "10.0.0.77"
		if address, _, _ := unstructured.NestedString(live.Object, "spec", "clusterIP"); address == want { // the API server picked this one
			want = "10.0.0.78"
		}
		_, err := pass.TryPlan(b, b.Set("apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: $NS}\nspec: {clusterIP: "+want+", ports: [{port: 80}]}\n"))
		bench.WantError(t, err, "Service/"+b.Namespace+"/web: ", "spec.clusterIPs[0]", "may not change once set", "a live object cannot change this field")
	})
}

func TestForbiddenRequestNamesVerbAndResource(t *testing.T) {
	b := bench.New(t)
	user := "clerk-" + b.Namespace
	kubeconfig, err := b.Plane.AddUser(user)
	if err != nil {
		t.Fatal(err)
	}
	roles := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}
	bindings := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}
	// This account may write records. It may read everything else, and write none of it.
	b.Create(roles, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: `+user+`}
rules:
- {apiGroups: [syncer.dev], resources: ["*"], verbs: ["*"]}
- {apiGroups: [""], resources: [configmaps, resourcequotas], verbs: [get, list]}
- {apiGroups: [""], resources: [serviceaccounts], verbs: [list]}
- {apiGroups: [batch], resources: [cronjobs], verbs: [get, list, patch]}
`)
	b.Create(bindings, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: `+user+`}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: `+user+`}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: `+user+`}]
`)
	b.Agent, b.Cluster = b.Connect(kubeconfig)
	b.Eventually("the role is in force", func() bool { _, err := b.Cluster.Records().Get(b.Ctx, b.Target); return err == nil })
	for name, c := range map[string]struct{ doc, object, right string }{
		"list":                     {doc: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: $NS}\n", object: "listing the Deployment objects of orders@prod", right: "to list deployments.apps"},
		"get":                      {doc: "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, namespace: $NS}\n", object: "ServiceAccount/" + b.Namespace + "/a: reading", right: "to get serviceaccounts"},
		"patch":                    {doc: bench.Settings("a", "1"), object: "ConfigMap/" + b.Namespace + "/a: ", right: "to patch configmaps"},
		"patch of a quota":         {doc: "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: quota, namespace: $NS}\nspec: {hard: {pods: 1}}\n", object: "ResourceQuota/" + b.Namespace + "/quota: ", right: "to patch resourcequotas"},
		"create":                   {doc: "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a, namespace: $NS}\nspec:\n  schedule: \"@daily\"\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}\n", object: "CronJob/" + b.Namespace + "/a: ", right: "to create cronjobs.batch"},
		"reading the Secrets' key": {doc: login("x"), object: b.Records + "/syncer-inventory-key", right: "to get secrets"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pass.TryPlan(b, b.Set(c.doc))
			bench.WantError(t, err, c.object, "give "+user+" a Role or ClusterRole that allows "+c.right+";")
		})
	}
}

// Admission answers Forbidden as RBAC does, with reasons of its own.
func TestRefusalByAdmissionIsNotTakenForRBAC(t *testing.T) {
	b := bench.New(t)
	policies := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"}
	bindings := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"}
	b.Create(policies, `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: `+b.Namespace+`}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: $NS}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
  validations: [{expression: "!has(object.data.key)", message: "the team cannot have keys", reason: Forbidden}]
`)
	b.Create(bindings, `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: `+b.Namespace+`}
spec: {policyName: `+b.Namespace+`, validationActions: [Deny]}
`)
	var err error
	b.Eventually("the policy is in force", func() bool { _, err = pass.TryPlan(b, b.Set(bench.Settings("a", "1"))); return err != nil })
	bench.WantError(t, err, "ConfigMap/"+b.Namespace+"/a: ", "the team cannot have keys")
	if strings.Contains(err.Error(), "ClusterRole") {
		t.Error("it is taken for RBAC")
	}
}
