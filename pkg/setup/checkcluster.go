package setup

import (
	"context"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/config"
	"github.com/syncerdev/syncer/pkg/access"
	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// group is the environments of one cluster.
type group struct {
	config       *v1alpha1.Config
	environments []string
	targets      []*target.Desired // of these environments; all of them render
	cluster      *cluster.Cluster
	as           string
	now          func() time.Time
}

// check checks one cluster.
func (g *group) check(ctx context.Context, note func(...Check)) {
	answer, err := cluster.Probe(ctx, g.cluster, g.now)
	if err != nil {
		note(in(g.environments, unreachable(g.as, err))...)
		return
	}
	note(in(g.environments, versionCheck(answer), clockCheck(answer))...)
	if check := g.accepted(ctx); check.Status == CheckFail {
		note(in(g.environments, check)...)
		return
	}
	for _, step := range []func(context.Context) []Check{g.definitions, g.namespace, g.key, g.records, g.deploying} {
		note(in(g.environments, step(ctx)...)...)
	}
	note(g.serving(ctx)...)
}

func unreachable(as string, err error) Check {
	fix := "check address, network and credentials of the kubeconfig"
	if as != "" {
		fix += ", which need the right to impersonate " + as
	}
	return failed(checkCluster, fix, "%v", err)
}

// oldestMinor is the minor version of the oldest supported Kubernetes 1. Validation rules of CRDs are stable from there
// on, and syncer reads in the messages of such rules that a field cannot be changed.
const oldestMinor = 29

func versionCheck(answer cluster.Answer) Check {
	const why = "Kubernetes 1.29 or newer is supported: validation rules of CRDs are stable from there on, and syncer tells by them which fields cannot be changed"
	minor, ok := strings.CutPrefix(answer.Version, "v1.")
	minor, _, _ = strings.Cut(minor, ".")
	number, err := strconv.Atoi(minor)
	if !ok || err != nil {
		return warned(checkCluster, why, "the version %q of the API server at %s is not known", answer.Version, answer.Host)
	}
	if number < oldestMinor {
		return failed(checkCluster, why, "the API server at %s is Kubernetes %s", answer.Host, answer.Version)
	}
	return passed(checkCluster, "Kubernetes %s at %s", answer.Version, answer.Host)
}

// mostSkew is the allowed difference of two clocks. Findings and history compare times of syncer with times of the API
// server, and leader election depends on both.
const mostSkew = 5 * time.Second

func clockCheck(answer cluster.Answer) Check {
	apart := answer.Ahead.Abs()
	switch {
	case answer.Within == 0:
		return warned(checkClock, "", "the API server does not tell the time")
	case apart > mostSkew+answer.Within:
		return warned(checkClock, "set both clocks by the same time servers; ages, `images.after` and the lease of the leader are wrong by that much", "the clocks of this machine and of the API server are %s apart", apart.Round(100*time.Millisecond))
	}
	return passed(checkClock, "not more than %s apart", (apart + answer.Within).Round(100*time.Millisecond))
}

// accepted checks that the API server accepts the credentials.
func (g *group) accepted(ctx context.Context) Check {
	_, err := access.RightsOfAccount(g.cluster).Missing(ctx, []access.Right{{Verb: "get", Resource: "namespaces", Global: true}})
	if err != nil {
		return failed(checkRights, "use credentials that the API server knows", "%v", err)
	}
	return Check{}
}

// definitions checks that the CRDs are those of this build.
func (g *group) definitions(ctx context.Context) (checks []Check) {
	set, err := manifestsOf(config.Cluster, g.config.Namespace)
	if err != nil {
		return []Check{failed(checkCRD, "", "%v", err)}
	}
	for _, obj := range set {
		if obj.GetKind() == "CustomResourceDefinition" {
			state, err := cluster.Definition(ctx, g.cluster, obj)
			checks = append(checks, definitionCheck(obj.GetName(), state, err))
		}
	}
	return checks
}

func definitionCheck(name string, state cluster.DefinitionState, err error) Check {
	const fix = "run `syncer install`, or kubectl apply -k config/cluster"
	switch {
	case err != nil:
		return failed(checkCRD, fix, "%v", err)
	case state == cluster.DefinitionMissing:
		return failed(checkCRD, fix, "the cluster has no CRD %s", name)
	case state == cluster.DefinitionOlder:
		return failed(checkCRD, fix, "the CRD %s is not that of this build, so that the API server drops fields of the records", name)
	case state == cluster.DefinitionHidden:
		return warned(checkCRD, "give the account the right to get customresourcedefinitions, or run check as another one", "whether the CRD %s is that of this build cannot be seen", name)
	}
	return passed(checkCRD, "%s is that of this build", name)
}

func (g *group) namespace(ctx context.Context) []Check {
	name := g.config.Namespace
	obj, err := cluster.Find(ctx, g.cluster, manifest.ID{APIVersion: "v1", Kind: "Namespace", Name: name})
	return []Check{namespaceCheck(name, obj, err)}
}

// namespaceCheck checks the namespace of the records; nil: there is none.
func namespaceCheck(name string, obj *unstructured.Unstructured, err error) Check {
	switch {
	case answer.IsForbidden(err):
		return warned(checkNamespace, "give the account the right to get namespaces, or run check as another one", "whether namespace %s is there cannot be seen", name)
	case err != nil:
		return failed(checkNamespace, "", "%v", err)
	case obj == nil:
		return failed(checkNamespace, "run `syncer install`, or kubectl apply -k config/cluster", "namespace %s of the records is not there", name)
	case obj.GetDeletionTimestamp() != nil:
		return failed(checkNamespace, "wait until it is gone, and run `syncer install`", "namespace %s of the records is being deleted", name)
	}
	return passed(checkNamespace, "%s", name)
}

func (g *group) key(ctx context.Context) []Check {
	exists, err := cluster.CheckKey(ctx, g.cluster)
	return keyCheck(exists, err)
}

func keyCheck(exists bool, err error) []Check {
	switch {
	case answer.IsForbidden(err):
		return nil // the check of the rights names the missing right
	case err != nil:
		return []Check{failed(checkKey, "", "%v", err)}
	case exists:
		return []Check{passed(checkKey, "the key of the hashes of Secrets can be read")}
	}
	return []Check{passed(checkKey, "there is no key of the hashes of Secrets yet; the first sync makes one")}
}
