package bench

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Backfill is a Job that the lab runs for some seconds. Lines in spec come first in its spec.
func Backfill(name string, seconds int, spec ...string) string {
	return fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: %s, namespace: $NS}
spec:
  backoffLimit: 0
%s
  template:
    metadata: {annotations: {lab.syncer.dev/run-seconds: "%d"}}
    spec:
      restartPolicy: Never
      containers: [{name: main, image: "backfill:1"}]
`, name, "  "+strings.Join(spec, "\n  "), seconds)
}

// Service is a Deployment with every kind of list that a change of ownership could duplicate.
func Service(metadata string, env ...string) string {
	return `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: $NS` + metadata + `}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: web:1
        ports: [{containerPort: 80}]
        env: [` + strings.Join(env, ", ") + `]
`
}

// Definition defines a kind in a group of the test, with a schema that has the given properties of spec.
func Definition(group, kind, scope string, versions ...string) string {
	plural := strings.ToLower(kind) + "s"
	text := fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]s.%[2]s}
spec:
  group: %[2]s
  scope: %[3]s
  names: {kind: %[4]s, listKind: %[4]sList, plural: %[1]s, singular: %[5]s}
  versions:
`, plural, group, scope, kind, strings.ToLower(kind))
	for i, version := range versions {
		name, properties, _ := strings.Cut(version, " ")
		text += fmt.Sprintf(`  - name: %s
    served: true
    storage: %v
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {%s}}
`, name, i == 0, properties)
	}
	return text
}

// Custom is an object of a kind that Definition defines.
func Custom(group, version, kind, namespace, name, spec string) string {
	return fmt.Sprintf("apiVersion: %s/%s\nkind: %s\nmetadata: {name: %s, namespace: %q}\nspec: {%s}\n", group, version, kind, name, namespace, spec)
}

// Group is a group for CRDs that no other test uses.
func (b *Bench) Group() string { return b.Namespace + ".example.com" }

// AwaitRun waits until an object is in a state of its run.
func (b *Bench) AwaitRun(resource schema.GroupVersionResource, name string, state health.State) *unstructured.Unstructured {
	b.T.Helper()
	var live *unstructured.Unstructured
	b.Eventually(name+" is "+string(state), func() bool {
		live = b.Get(resource, b.Namespace, name)
		return live != nil && (*health.Judge)(nil).Run(live).State == state
	})
	return live
}

// Images lists the images of an object.
func Images(obj *unstructured.Unstructured) string {
	var out []string
	for _, field := range manifest.Leaves(obj.Object) {
		if strings.HasSuffix(field.Path.String(), ".image") {
			out = append(out, field.Value.(string))
		}
	}
	return strings.Join(out, " ")
}

// MustPath reads a path that is a constant.
func MustPath(text string) manifest.Path {
	path, err := manifest.ParsePath(text)
	if err != nil {
		panic(err)
	}
	return path
}
