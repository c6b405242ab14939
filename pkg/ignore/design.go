package ignore

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Quiet is a difference that does not count, because another owner decides the field by design.
type Quiet struct {
	Rule   string // the name of a built-in rule, or its place in the configuration
	Reason string
	ID     manifest.ID
	Path   string
}

// designed lists fields that git may set but that a controller decides. Every apply leaves them to the controller, as with
// an ignore rule.
var designed = []design{
	{
		name: "HorizontalPodAutoscaler", reason: "an autoscaler set the number of replicas",
		patterns: patterns("spec.replicas"),
		yields: func(field manifest.Field, live *unstructured.Unstructured) bool {
			owner, ok := manifest.ManagerOf(live, field.Path, manifest.FieldManager)
			return ok && slices.Contains(autoscalers, owner.Name) && owner.Subresource == "scale" && !manifest.Owns(live, field.Path, manifest.FieldManager)
		},
	},
	{
		name: "caBundle", reason: "a certificate was injected where git has a placeholder",
		patterns: patterns("webhooks[*].clientConfig.caBundle", "spec.conversion.webhook.clientConfig.caBundle", "spec.caBundle"),
		yields: func(field manifest.Field, _ *unstructured.Unstructured) bool {
			const emptyLine = "Cg==" // the value of controller-gen
			return field.Value == "" || field.Value == emptyLine
		},
	},
}

type design struct {
	name, reason string
	patterns     []manifest.Path
	yields       func(field manifest.Field, live *unstructured.Unstructured) bool
}

// fields returns the fields of an object that the rule is about.
func (d design) fields(obj *unstructured.Unstructured) []manifest.Field {
	var out []manifest.Field
	for _, pattern := range d.patterns {
		out = append(out, manifest.Find(obj.Object, pattern)...)
	}
	return out
}

// autoscalers are the controllers that scale by a rule. They write the scale subresource, as a person's `kubectl scale`
// does, so only their names distinguish them.
var autoscalers = []string{"kube-controller-manager", "keda", "cluster-proportional-autoscaler"}

// added lists rules for fields that git does not set.
var added = []struct {
	name, reason string
	matches      func(id manifest.ID, path manifest.Path, value any, manager manifest.Manager) bool
}{
	{
		"Kubernetes", "a controller of Kubernetes itself set it",
		func(_ manifest.ID, _ manifest.Path, _ any, manager manifest.Manager) bool {
			return slices.Contains([]string{"kube-controller-manager", "cloud-controller-manager", "openshift-controller-manager", "kube-scheduler", "kubelet", "kube-apiserver", "clusterrole-aggregation-controller"}, manager.Name)
		},
	},
	{
		"Kubernetes' notes", "a controller's note in a domain of Kubernetes itself",
		func(_ manifest.ID, path manifest.Path, value any, _ manifest.Manager) bool {
			// Distributions use their own names for controllers.
			return slices.Contains([]string{
				"deployment.kubernetes.io", "batch.kubernetes.io", "autoscaling.alpha.kubernetes.io", "service.kubernetes.io", "endpoints.kubernetes.io",
				"pv.kubernetes.io", "volume.kubernetes.io", "volume.beta.kubernetes.io", "storage.kubernetes.io",
			}, noteDomain(path, value))
		},
	},
	{
		"leader election", "the copies of a program agree there on their leader",
		func(id manifest.ID, path manifest.Path, value any, _ manifest.Manager) bool {
			isLease := id.GroupKind() == schema.GroupKind{Group: "coordination.k8s.io", Kind: "Lease"}
			return isLease && path[0].Name == "spec" || noteDomain(path, value) == "control-plane.alpha.kubernetes.io"
		},
	},
	{
		"rollout restart", "`kubectl rollout restart` left its mark",
		func(_ manifest.ID, path manifest.Path, _ any, _ manifest.Manager) bool {
			return strings.HasSuffix(path.String(), `template.metadata.annotations["kubectl.kubernetes.io/restartedAt"]`)
		},
	},
	{
		"serviceAccount", "the API server copies serviceAccountName to it",
		func(_ manifest.ID, path manifest.Path, _ any, _ manifest.Manager) bool {
			return len(path) > 1 && path[len(path)-1].Name == "serviceAccount" && path[len(path)-2].Name == "spec"
		},
	},
	{
		"caBundle", "a certificate was injected",
		func(_ manifest.ID, path manifest.Path, _ any, _ manifest.Manager) bool {
			return path[len(path)-1].Name == "caBundle"
		},
	},
	{
		"the kind's controller", "a note in the domain of the object's own kind",
		func(id manifest.ID, path manifest.Path, value any, _ manifest.Manager) bool {
			group, domain := id.GroupVersionKind().Group, noteDomain(path, value)
			return strings.Contains(group, ".") && !strings.HasSuffix(group, ".k8s.io") && (domain == group || strings.HasSuffix(domain, "."+group))
		},
	},
	{
		"finalizers", "a controller has to clean up before the object goes",
		func(_ manifest.ID, path manifest.Path, _ any, manager manifest.Manager) bool {
			return len(path) > 1 && path[0].Name == "metadata" && path[1].Name == "finalizers" && !strings.HasPrefix(manager.Name, "kubectl")
		},
	},
}

// noteDomain returns the domain of a label, an annotation or a finalizer of the object itself. It returns "" for any other
// field.
func noteDomain(path manifest.Path, value any) string {
	if len(path) != 3 || path[0].Name != "metadata" {
		return ""
	}
	name := path[2].Name
	switch path[1].Name {
	case "labels", "annotations":
		domain, _, ok := strings.Cut(name, "/")
		if !ok {
			return ""
		}
		return domain
	case "finalizers":
		text, _ := value.(string)
		domain, _, _ := strings.Cut(text, "/")
		return domain
	}
	return ""
}

func patterns(texts ...string) []manifest.Path {
	out := make([]manifest.Path, len(texts))
	for i, text := range texts {
		path, err := manifest.ParsePath(text)
		if err != nil {
			panic(err) // the texts are constants
		}
		out[i] = path
	}
	return out
}

// Additions lists the fields of a live object that others have set since syncer first applied it and that git does not set.
// It leaves out fields that others set by design.
func (r Rules) Additions(rendered, live *unstructured.Unstructured, entry v1alpha1.InventoryEntry, salt func() []byte) (out []manifest.Addition, quiet []Quiet) {
	if entry.Fields == "" || len(manifest.Additions(live, manifest.FieldManager, nil)) == 0 {
		return nil, nil
	}
	id := manifest.IDOf(live)
	for _, addition := range manifest.Additions(live, manifest.FieldManager, salt()) {
		path, err := manifest.ParsePath(addition.Path)
		if err != nil || slices.ContainsFunc(entry.Others, func(other string) bool { return manifest.Within(addition.Path, other) }) {
			continue
		}
		if len(manifest.Find(rendered.Object, path)) > 0 {
			continue // git sets the field, so another value is a changed one
		}
		rule, reason, is := r.quietly(id, path, addition)
		if is {
			quiet = append(quiet, Quiet{Rule: rule, Reason: reason, ID: id, Path: addition.Path})
			continue
		}
		out = append(out, addition)
	}
	return out, quiet
}

func (r Rules) quietly(id manifest.ID, path manifest.Path, addition manifest.Addition) (rule, reason string, is bool) {
	for _, ignore := range r {
		if ignore.Covers(id, path) || ignore.matches(id) && slices.Contains(ignore.Managers, addition.Manager.Name) {
			return ignore.Place, "an ignore rule", true
		}
	}
	for _, each := range added {
		if each.matches(id, path, addition.Value, addition.Manager) {
			return each.name, each.reason, true
		}
	}
	return "", "", false
}

// Others returns the fields of an object that belong to others and are not reported: the fields that they had when syncer
// first applied the object, as far as these still exist. A field that was reported as added stays reported when syncer
// applies again.
func Others(before v1alpha1.InventoryEntry, live *unstructured.Unstructured) []string {
	var out []string
	for _, addition := range manifest.Additions(live, manifest.FieldManager, nil) {
		path, err := manifest.ParsePath(addition.Path)
		if err != nil {
			continue
		}
		if _, _, quiet := (Rules{}).quietly(manifest.IDOf(live), path, addition); quiet {
			continue
		}
		first := before.Fields == ""
		if first || slices.ContainsFunc(before.Others, func(other string) bool { return manifest.Within(addition.Path, other) }) {
			out = append(out, addition.Path)
		}
	}
	if len(out) > mostOthers {
		// The record must stay small: one entry for a part of the object replaces the entries of its fields.
		for i, text := range out {
			if path, err := manifest.ParsePath(text); err == nil {
				out[i] = path[:min(2, len(path))].String()
			}
		}
		out = slices.Compact(out)
	}
	return out
}

// mostOthers limits the number of fields that the record keeps for one object.
const mostOthers = 50
