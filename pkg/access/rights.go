package access

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
)

// Right is one verb on the objects of one resource.
type Right struct {
	Verb, Group, Resource string
	Namespace             string // empty: all of them, or the resource has none
	Name                  string // empty: any
	Global                bool   // the resource has no namespace
}

// Need is a right and its purpose.
type Need struct {
	Right
	// Why says what gets worse without the right, where syncer works without it; empty: syncer does not work without it.
	Why string
}

// deployVerbs are the verbs that syncer needs to deploy an object, to follow it, and to prune it.
var deployVerbs = []string{"get", "list", "watch", "create", "patch", "delete"}

// Account answers questions about the rights of the account of a connection.
type Account struct{ cluster *cluster.Cluster }

// RightsOfAccount asks as the account of a connection.
func RightsOfAccount(cluster *cluster.Cluster) Account { return Account{cluster} }

// Needs lists the rights that a deployment of a target with this set needs, sorted. It also names the objects whose kind
// the cluster does not serve and the other sets do not provide.
func (a Account) Needs(set manifest.Set, others ...manifest.Set) (needs []Need, unknown []manifest.ID, err error) {
	c := a.cluster
	definitions := definedBy(append(others, set)...)
	all := map[Need]bool{}
	namespaces := inventory.Namespaces(c.Namespace(), nil, set.IDs())
	for _, obj := range set {
		id := manifest.IDOf(obj)
		resource, global, err := resourceOf(c, id.GroupVersionKind(), definitions)
		if meta.IsNoMatchError(err) {
			unknown = append(unknown, id)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		at := Right{Group: resource.Group, Resource: resource.Resource, Global: global}
		if !global {
			at.Namespace = cmp.Or(id.Namespace, manifest.DefaultNamespace)
		}
		for _, verb := range deployVerbs {
			at.Verb = verb
			all[Need{Right: at}] = true
		}
		if c.Account() == "" && len(namespaces) > 1 {
			at.Verb, at.Namespace = "list", "" // see places
			all[Need{Right: at}] = true
		}
		if verb := grants[id.GroupKind()]; verb != "" {
			at.Verb, at.Namespace = verb, id.Namespace
			all[Need{at, "it lets a pipeline give more rights than syncer has"}] = true
		}
	}
	for _, need := range lookingNeeds(c, set) {
		if !all[Need{Right: need.Right}] {
			all[need] = true
		}
	}
	return slices.SortedFunc(maps.Keys(all), compareNeeds), unknown, nil
}

// grants are the verbs by which the API server lets an account give rights that it does not have.
var grants = map[schema.GroupKind]string{
	{Group: "rbac.authorization.k8s.io", Kind: "Role"}:               "escalate",
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}:        "escalate",
	{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"}:        "bind",
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"}: "bind",
}

// lookingNeeds are the rights to read the objects that a set names and does not contain.
func lookingNeeds(c *cluster.Cluster, set manifest.Set) []Need {
	var needs []Need
	look := func(verb, resource, namespace, why string) {
		needs = append(needs, Need{Right{Verb: verb, Resource: resource, Namespace: namespace}, why})
	}
	for id := range cluster.AccountsOf(set) {
		at := cmp.Or(id.Namespace, manifest.DefaultNamespace)
		look("list", "pods", at, "it tells why pods do not run, and what a run still uses")
		look("list", "events", at, "it tells why pods do not run, and that a Job that is gone has run")
		look("get", "serviceaccounts", at, "it leads to the credentials of private images")
	}
	for _, obj := range set {
		for _, id := range cluster.PullSecretsOf(obj) {
			look("get", "secrets", cmp.Or(id.Namespace, manifest.DefaultNamespace), "it gives the credentials of private images")
		}
	}
	return needs
}

// definition is a resource that a CRD of the repository defines.
type definition struct {
	plural string
	global bool
}

func definedBy(sets ...manifest.Set) map[schema.GroupKind]definition {
	out := map[schema.GroupKind]definition{}
	for _, set := range sets {
		for _, obj := range set {
			if manifest.IDOf(obj).GroupKind() != manifest.CRDKind {
				continue
			}
			group, _, _ := unstructured.NestedString(obj.Object, "spec", "group")
			kind, _, _ := unstructured.NestedString(obj.Object, "spec", "names", "kind")
			plural, _, _ := unstructured.NestedString(obj.Object, "spec", "names", "plural")
			scope, _, _ := unstructured.NestedString(obj.Object, "spec", "scope")
			out[schema.GroupKind{Group: group, Kind: kind}] = definition{plural, scope == "Cluster"}
		}
	}
	return out
}

func resourceOf(c *cluster.Cluster, gvk schema.GroupVersionKind, definitions map[schema.GroupKind]definition) (resource schema.GroupResource, global bool, err error) {
	if brought, ok := definitions[gvk.GroupKind()]; ok {
		return schema.GroupResource{Group: gvk.Group, Resource: brought.plural}, brought.global, nil
	}
	mapping, err := c.Mapping(gvk)
	if err != nil {
		return resource, false, err
	}
	return mapping.Resource.GroupResource(), mapping.Scope.Name() == meta.RESTScopeNameRoot, nil
}

// RightsOf lists the rights that the rules of a role give, in one namespace or in all of them.
func RightsOf(role *unstructured.Unstructured, namespace string) []Right {
	rules, _, _ := unstructured.NestedSlice(role.Object, "rules")
	var out []Right
	for _, rule := range rules {
		fields, ok := rule.(map[string]any)
		if !ok {
			continue
		}
		list := func(key string) []string {
			values, _, _ := unstructured.NestedStringSlice(fields, key)
			return values
		}
		names := list("resourceNames")
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range list("apiGroups") {
			for _, resource := range list("resources") {
				for _, verb := range list("verbs") {
					for _, name := range names {
						out = append(out, Right{Verb: verb, Group: group, Resource: resource, Namespace: namespace, Name: name, Global: global(group, resource)})
					}
				}
			}
		}
	}
	return out
}

// global reports whether a resource of the shipped roles has no namespace.
func global(group, resource string) bool {
	switch group {
	case "":
		return resource == "namespaces"
	case "apiextensions.k8s.io", "authentication.k8s.io", "authorization.k8s.io":
		return true
	}
	return false
}

// Impersonation is the right to act as a service account, NAMESPACE/NAME.
func Impersonation(account string) Right {
	namespace, name, _ := strings.Cut(account, "/")
	return Right{Verb: "impersonate", Resource: "serviceaccounts", Namespace: namespace, Name: name}
}

// Missing asks the API server which of these rights the account does not have. The result is sorted.
func (a Account) Missing(ctx context.Context, rights []Right) ([]Right, error) {
	// A right in the whole cluster holds in each namespace. This saves most of the questions.
	namespaces := map[Right]map[string]bool{}
	for _, right := range rights {
		everywhere := right
		everywhere.Namespace = ""
		if namespaces[everywhere] == nil {
			namespaces[everywhere] = map[string]bool{}
		}
		namespaces[everywhere][right.Namespace] = true
	}
	asked := slices.Collect(maps.Keys(namespaces))
	missing := make([][]Right, len(asked)) // each worker owns one slot
	g, gctx := panics.WithContext(ctx)
	g.SetLimit(cluster.FanOut)
	for i, right := range asked {
		g.Go(func() error {
			has, err := may(gctx, a.cluster, right)
			if has || err != nil {
				return err
			}
			for namespace := range namespaces[right] {
				in := right
				if in.Namespace = namespace; namespace != "" {
					if has, err = may(gctx, a.cluster, in); err != nil {
						return err
					}
				}
				if namespace == "" || !has {
					missing[i] = append(missing[i], in)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := slices.Concat(missing...)
	slices.SortFunc(out, compareRights)
	return out, nil
}

var accessReviews = schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}

func may(ctx context.Context, c *cluster.Cluster, right Right) (bool, error) {
	group, resource := right.Group, right.Resource
	resource, subresource, _ := strings.Cut(resource, "/")
	attributes := map[string]any{"verb": right.Verb, "group": group, "resource": resource}
	for key, value := range map[string]string{"subresource": subresource, "namespace": right.Namespace, "name": right.Name} {
		if value != "" {
			attributes[key] = value
		}
	}
	review := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": accessReviews.GroupVersion().String(), "kind": "SelfSubjectAccessReview",
		"spec": map[string]any{"resourceAttributes": attributes},
	}}
	answer, err := c.Ask(ctx, accessReviews, review)
	if err != nil {
		return false, fmt.Errorf("asking the API server for the rights of the account: %w", err)
	}
	allowed, _, err := unstructured.NestedBool(answer.Object, "status", "allowed")
	return allowed, err
}

// Where says what a right is about, such as `configmaps in namespace data-dev`.
func (r Right) Where() string {
	resource := r.Resource
	if resource == "*" {
		resource = "any resource"
	}
	if r.Group != "" {
		if resource == "any resource" {
			resource += " of " + r.Group
		} else {
			name, subresource, _ := strings.Cut(resource, "/")
			if resource = name + "." + r.Group; subresource != "" {
				resource += "/" + subresource
			}
		}
	}
	if r.Name != "" {
		resource += " " + r.Name
	}
	switch {
	case r.Namespace != "":
		return resource + " in namespace " + r.Namespace
	case r.Global:
		return resource
	}
	return resource + " in all namespaces"
}

// Rule is a line of a Role or ClusterRole that gives the right with these verbs.
func (r Right) Rule(verbs []string) string {
	group := r.Group
	if group == "" {
		group = `""`
	}
	resource := r.Resource
	if resource == "*" {
		resource = `"*"`
	}
	names := ""
	if r.Name != "" {
		names = fmt.Sprintf(", resourceNames: [%s]", r.Name)
	}
	return fmt.Sprintf("{apiGroups: [%s], resources: [%s]%s, verbs: [%s]}", group, resource, names, strings.Join(verbs, ", "))
}

func compareRights(a, b Right) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(verbOrder(a.Verb), verbOrder(b.Verb)), cmp.Compare(a.Verb, b.Verb))
}

func verbOrder(verb string) int {
	if i := slices.Index(deployVerbs, verb); i >= 0 {
		return i
	}
	return len(deployVerbs)
}

func compareNeeds(a, b Need) int {
	return cmp.Or(compareRights(a.Right, b.Right), cmp.Compare(a.Why, b.Why))
}
