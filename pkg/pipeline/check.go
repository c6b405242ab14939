package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/config"
	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// CheckStatus is how a check ended.
type CheckStatus string

const (
	CheckOK   CheckStatus = "OK"
	CheckWarn CheckStatus = "WARN" // syncer works, less well than it could
	CheckFail CheckStatus = "FAIL" // something that the repository needs is missing
)

// Check is one thing that was looked at.
type Check struct {
	Check        string      `json:"check"`
	Environments []string    `json:"environments"` // those that it is about; empty: all
	Status       CheckStatus `json:"status"`
	Message      string      `json:"message"`
	Mend         string      `json:"mend"` // what to do; empty where nothing is to be done
}

// Checks is what `syncer check` found.
type Checks struct {
	Checks []Check `json:"checks"`
}

// Failed reports whether one of the checks failed.
func (c Checks) Failed() bool {
	return slices.ContainsFunc(c.Checks, func(check Check) bool { return check.Status == CheckFail })
}

// Names of the checks.
const (
	CheckConfiguration = "configuration"
	checkGit           = "git"
	checkPipelines     = "pipelines"
	checkCluster       = "cluster"
	checkClock         = "clock"
	checkCRD           = "crd"
	checkNamespace     = "namespace"
	checkKey           = "inventory-key"
	checkRecords       = "records"
	checkRights        = "rights"
	checkServer        = "server"
	checkRegistry      = "registry"
)

// checking is one run of the checks.
type checking struct {
	*Runner
	tell  func(Check)
	works []*target.Desired // that render
}

// Check looks at everything that syncer needs to carry the newest commit into the selected environments, and changes
// nothing. It goes on where something is missing. The error is that of a wrong selection; tell is told of each check as
// it ends.
func (r *Runner) Check(ctx context.Context, environments []string, tell func(Check)) (Checks, error) {
	selected, err := r.Config.Select(environments)
	if err != nil {
		return Checks{}, err
	}
	all := Checks{Checks: []Check{}}
	k := &checking{Runner: r, tell: func(check Check) {
		if check.Environments == nil {
			check.Environments = []string{}
		}
		all.Checks = append(all.Checks, check)
		tell(check)
	}}
	k.ok(CheckConfiguration, nil, "%s for %s, owner %s", manifest.Plural(len(r.Config.Environments), "environment"), r.Config.Source.PublicURL(), r.Config.Name)
	if snap, ok := k.git(ctx); ok {
		k.pipelines(snap, selected)
	}
	for _, group := range k.groups(selected) {
		k.cluster(ctx, group)
	}
	k.registries(ctx)
	return all, nil
}

func (k *checking) ok(check string, environments []string, format string, args ...any) {
	k.tell(Check{Check: check, Environments: environments, Status: CheckOK, Message: fmt.Sprintf(format, args...)})
}

func (k *checking) warn(check string, environments []string, mend, format string, args ...any) {
	k.tell(Check{Check: check, Environments: environments, Status: CheckWarn, Message: fmt.Sprintf(format, args...), Mend: mend})
}

func (k *checking) fail(check string, environments []string, mend, format string, args ...any) {
	k.tell(Check{Check: check, Environments: environments, Status: CheckFail, Message: fmt.Sprintf(format, args...), Mend: mend})
}

func (k *checking) git(ctx context.Context) (source.Snapshot, bool) {
	began := k.now()
	snap, err := k.source.Fetch(ctx)
	if err != nil {
		k.fail(checkGit, nil, "mend what the error names; see docs/reference/errors.md", "%v", err)
		return snap, false
	}
	k.ok(checkGit, nil, "commit %.8s, fetched in %s", snap.Commit, k.now().Sub(began).Round(time.Millisecond))
	return snap, true
}

// pipelines renders what is to be deployed.
func (k *checking) pipelines(snap source.Snapshot, selected []*v1alpha1.Environment) {
	pipelines, err := k.planner.Discover(snap)
	if err != nil {
		k.fail(checkPipelines, nil, "mend source.layout or the repository", "%v", err)
		return
	}
	var works []*target.Desired
	for _, environment := range selected {
		for _, p := range pipelines {
			if p.Overlays[environment.Name] != "" {
				works = append(works, k.planner.Desired(p, environment, snap))
			}
		}
	}
	k.planner.Renderings.Render(works, snap.Files)
	for _, w := range works {
		if w.Err != nil {
			k.fail(checkPipelines, []string{w.Target.Environment}, "mend the repository; the other pipelines are deployed", "%s does not render: %v", w.Target.Pipeline, w.Err)
			continue
		}
		k.works = append(k.works, w)
	}
	if len(k.works) > 0 {
		k.ok(checkPipelines, nil, "%s render", manifest.Plural(len(k.works), "target"))
	}
}

// group is the environments of one cluster.
type group struct {
	environments []string
	cluster      *apply.Cluster
}

func (k *checking) groups(selected []*v1alpha1.Environment) []*group {
	var groups []*group
	for _, environment := range selected {
		cluster, err := k.clusters.Of(environment)
		if err != nil {
			k.fail(checkCluster, []string{environment.Name}, "mend `cluster` of the environment, or the kubeconfig", "%v", err)
			continue
		}
		i := slices.IndexFunc(groups, func(g *group) bool { return g.cluster == cluster })
		if i < 0 {
			groups = append(groups, &group{cluster: cluster})
			i = len(groups) - 1
		}
		groups[i].environments = append(groups[i].environments, environment.Name)
	}
	return groups
}

func (k *checking) cluster(ctx context.Context, g *group) {
	answer, err := g.cluster.Probe(ctx, k.now)
	if err != nil {
		mend := "check address, network and credentials of the kubeconfig"
		if k.as != "" {
			mend += ", which need the right to impersonate " + k.as
		}
		k.fail(checkCluster, g.environments, mend, "%v", err)
		return
	}
	k.version(g, answer)
	k.clock(g, answer)
	if !k.canAsk(ctx, g) {
		return
	}
	k.definition(ctx, g)
	k.namespace(ctx, g)
	k.key(ctx, g)
	k.bookkeeping(ctx, g)
	k.deploying(ctx, g)
	k.serving(ctx, g)
}

// oldestMinor is the first Kubernetes 1 in which CRDs may have validation rules for good: syncer knows by the messages of
// such rules that a field cannot be changed.
const oldestMinor = 29

func (k *checking) version(g *group, answer apply.Answer) {
	const why = "Kubernetes 1.29 or newer is supported: validation rules of CRDs are stable from there on, and syncer tells by them which fields cannot be changed"
	minor, ok := strings.CutPrefix(answer.Version, "v1.")
	minor, _, _ = strings.Cut(minor, ".")
	number, err := strconv.Atoi(minor)
	if !ok || err != nil {
		k.warn(checkCluster, g.environments, why, "the version %q of the API server at %s is not known", answer.Version, answer.Host)
		return
	}
	if number < oldestMinor {
		k.fail(checkCluster, g.environments, why, "the API server at %s is Kubernetes %s", answer.Host, answer.Version)
		return
	}
	k.ok(checkCluster, g.environments, "Kubernetes %s at %s", answer.Version, answer.Host)
}

// mostSkew is how far two clocks may be apart. syncer's own times stand beside those of the API server in findings and
// history, and who leads is told by them.
const mostSkew = 5 * time.Second

func (k *checking) clock(g *group, answer apply.Answer) {
	apart := answer.Ahead.Abs()
	switch {
	case answer.Within == 0:
		k.warn(checkClock, g.environments, "", "the API server does not tell the time")
	case apart > mostSkew+answer.Within:
		k.warn(checkClock, g.environments, "set both clocks by the same time servers; ages, `images.after` and the lease of the leader are wrong by that much", "the clocks of this machine and of the API server are %s apart", apart.Round(100*time.Millisecond))
	default:
		k.ok(checkClock, g.environments, "not more than %s apart", (apart + answer.Within).Round(100*time.Millisecond))
	}
}

// canAsk makes sure that the account is let in at all.
func (k *checking) canAsk(ctx context.Context, g *group) bool {
	_, err := g.cluster.Missing(ctx, []apply.Right{{Verb: "get", Resource: "namespaces", Global: true}})
	if err == nil {
		return true
	}
	k.fail(checkRights, g.environments, "use credentials that the API server knows", "%v", err)
	return false
}

func (k *checking) definition(ctx context.Context, g *group) {
	const mend = "run `syncer install`, or kubectl apply -k config/cluster"
	set, err := manifestsOf(config.Cluster, k.Config.Namespace)
	if err != nil {
		k.fail(checkCRD, g.environments, "", "%v", err)
		return
	}
	for _, obj := range set {
		if obj.GetKind() != "CustomResourceDefinition" {
			continue
		}
		state, err := g.cluster.Definition(ctx, obj)
		switch {
		case err != nil:
			k.fail(checkCRD, g.environments, mend, "%v", err)
		case state == apply.DefinitionMissing:
			k.fail(checkCRD, g.environments, mend, "the cluster has no CRD %s", obj.GetName())
		case state == apply.DefinitionOlder:
			k.fail(checkCRD, g.environments, mend, "the CRD %s is not that of this build, so that the API server drops fields of the records", obj.GetName())
		case state == apply.DefinitionHidden:
			k.warn(checkCRD, g.environments, "give the account the right to get customresourcedefinitions, or run check as another one", "whether the CRD %s is that of this build cannot be seen", obj.GetName())
		default:
			k.ok(checkCRD, g.environments, "%s is that of this build", obj.GetName())
		}
	}
}

func (k *checking) namespace(ctx context.Context, g *group) {
	obj, err := g.cluster.Find(ctx, manifest.ID{APIVersion: "v1", Kind: "Namespace", Name: k.Config.Namespace})
	switch {
	case answer.IsForbidden(err):
		k.warn(checkNamespace, g.environments, "give the account the right to get namespaces, or run check as another one", "whether namespace %s is there cannot be seen", k.Config.Namespace)
	case err != nil:
		k.fail(checkNamespace, g.environments, "", "%v", err)
	case obj == nil:
		k.fail(checkNamespace, g.environments, "run `syncer install`, or kubectl apply -k config/cluster", "namespace %s of the records is not there", k.Config.Namespace)
	case obj.GetDeletionTimestamp() != nil:
		k.fail(checkNamespace, g.environments, "wait until it is gone, and run `syncer install`", "namespace %s of the records is being deleted", k.Config.Namespace)
	default:
		k.ok(checkNamespace, g.environments, "%s", k.Config.Namespace)
	}
}

func (k *checking) key(ctx context.Context, g *group) {
	there, err := g.cluster.CheckKey(ctx)
	switch {
	case answer.IsForbidden(err):
		// The missing right is named with the others.
	case err != nil:
		k.fail(checkKey, g.environments, "", "%v", err)
	case there:
		k.ok(checkKey, g.environments, "the key of the hashes of Secrets can be read")
	default:
		k.ok(checkKey, g.environments, "there is no key of the hashes of Secrets yet; the first sync makes one")
	}
}

// registries pings each registry host with the credentials that the first target has for it, and once more with each
// other pull secrets.
func (k *checking) registries(ctx context.Context) {
	type login struct{ host, credentials string }
	type asked struct {
		login
		repository   string
		registry     *image.Registry
		environments []string
	}
	var all []*asked
	byLogin := map[login]*asked{}
	for _, w := range k.works {
		repositories := map[string]string{} // by host
		for _, ref := range w.Rendered.Refs {
			if ref.Form == image.Template {
				continue
			}
			repository := image.Repository(ref.Value)
			host, _, _ := strings.Cut(repository, "/")
			repositories[host] = repository
		}
		if len(repositories) == 0 {
			continue
		}
		credentials := k.credentials(ctx, w)
		for host, repository := range repositories {
			at := login{host, credentials.ID()}
			if byLogin[at] == nil {
				byLogin[at] = &asked{login: at, repository: repository, registry: k.registry.With(credentials)}
				all = append(all, byLogin[at])
			}
			if a := byLogin[at]; !slices.Contains(a.environments, w.Target.Environment) {
				a.environments = append(a.environments, w.Target.Environment)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *asked) int { return strings.Compare(a.host, b.host) })
	for _, a := range all {
		began := k.now()
		if err := a.registry.Ping(ctx, a.repository); err != nil {
			mend := "check the address, the network, and `registries` of the configuration"
			if errors.Is(err, image.ErrDenied) {
				mend = "set `credentialsFile` under `registries`, or give the pods an imagePullSecret"
			}
			k.fail(checkRegistry, a.environments, mend, "%v", err)
			continue
		}
		k.ok(checkRegistry, a.environments, "%s lets the credentials in, in %s", a.host, k.now().Sub(began).Round(time.Millisecond))
	}
}

// credentials are those of a target's pull secrets, as far as they can be read: a missing right is named by itself.
func (k *checking) credentials(ctx context.Context, w *target.Desired) image.Credentials {
	if err := k.readCluster(w); err != nil {
		return image.Credentials{}
	}
	configs, _ := w.Cluster.PullSecrets(ctx, w.Rendered.Set) // gives what it could read
	return image.Credentials{Configs: configs}
}

// readCluster fills in the connection that acts for a target.
func (k *checking) readCluster(w *target.Desired) (err error) {
	if w.Cluster != nil {
		return nil
	}
	server, err := k.clusters.Of(w.Environment)
	if err != nil {
		return err
	}
	w.Cluster, err = server.As(w.Settings.ServiceAccount)
	return err
}

// shippedRoles are the roles of config/cluster: the one for the bookkeeping, and those for what is deployed.
func shippedRoles(namespace string) (records []*unstructured.Unstructured, deploy []*unstructured.Unstructured, err error) {
	set, err := manifestsOf(config.Cluster, namespace)
	if err != nil {
		return nil, nil, err
	}
	for _, obj := range set {
		switch obj.GetKind() {
		case "Role":
			records = append(records, obj)
		case "ClusterRole":
			deploy = append(deploy, obj)
		}
	}
	return records, deploy, nil
}
