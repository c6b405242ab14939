package commands

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
)

const web = `apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 1
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: main, image: "$REGISTRY/ingest:v1"}]}
`

func deployment(name string) string { return strings.ReplaceAll(web, "NAME", name) }

// reports returns a report by hashes and one by dry runs of all objects, and the dry runs that each cost.
func (p *project) reports() (byHashes, full drift.Report, dryRuns [2]int) {
	p.T.Helper()
	dev := v1alpha1.Selection{Environments: []string{"dev"}}
	for i, of := range []*drift.Report{&byHashes, &full} {
		asked := p.Requests(func() {
			report, err := p.session.Drift(p.Ctx, DriftOptions{Selection: dev, Full: i == 1})
			if err != nil && !strings.Contains(err.Error(), "could not be compared") {
				p.T.Fatal(err)
			}
			*of = report
		})
		dryRuns[i] = len(slices.DeleteFunc(asked, func(e lab.AuditEvent) bool { return !bench.IsDryRun(e) }))
	}
	return byHashes, full, dryRuns
}

// kinds lists the findings as "OBJECT KIND PATH".
func kinds(report drift.Report) string {
	var out []string
	for _, f := range report.Findings {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", f.Object.Name, f.Kind, f.Path)))
	}
	return strings.Join(out, "\n")
}

// in returns a bench in the namespace of an environment.
func (p *project) in(environment string) *bench.Bench {
	in := *p.Bench
	in.Namespace += "-" + environment
	return &in
}

// scale sets the replicas of a Deployment in dev as a controller or a person does.
func (p *project) scale(name, manager, replicas string) {
	p.T.Helper()
	patch := []byte(`{"spec": {"replicas": ` + replicas + `}}`)
	_, err := p.Admin.Resource(bench.Deployments).Namespace(p.Namespace+"-dev").Patch(p.Ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager}, "scale")
	if err != nil {
		p.T.Fatal(err)
	}
}

// Whatever was done to objects: the hashes lead to the same report as dry runs of all objects, and an object that nobody
// changed costs no dry run.
func TestHashesFindWhatDryRunsFind(t *testing.T) {
	p := newProject(t, "")
	p.push("ingest:v1")
	const secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {key: \"1\"}\n"
	all := []string{secret, nightly, deployment("scaled"), plain("ruled", "1")}
	for _, name := range []string{"same", "edited", "added", "removed", "deleted", "disowned", "recreated", "unlabelled", "alone"} {
		all = append(all, plain(name, "1"))
	}
	f := pipeline("a", all...)
	const settings = "pipelines/a/pipeline.yaml"
	f[settings] = "apiVersion: syncer.dev/v1alpha1\nkind: Pipeline\nignore: [{kind: ConfigMap, name: ruled, paths: [data.key]}]\n"
	p.commit(f, "First")
	p.sync("dev")
	p.scale("scaled", "kube-controller-manager", "4")
	p.edit("dev", "ruled", `{"data":{"key":"theirs"}}`)
	const objects = "pipelines/a/base/all.yaml"
	f[objects] = strings.ReplaceAll(f[objects], "name: main,", "name: main, workingDir: /app,")
	f[objects] = strings.ReplaceAll(f[objects], "{name: ruled}", "{name: ruled, annotations: {new: x}}")
	p.commit(f, "Second")
	p.sync("dev") // from now on, syncer owns neither the replicas nor the value
	if report, full, dryRuns := p.reports(); len(report.Findings)+len(full.Findings) > 0 || dryRuns != [2]int{0, len(all)} {
		t.Fatalf("nothing changed, and %d dry runs; %s\n%s", dryRuns, kinds(report), kinds(full))
	} else if rules := fmt.Sprint(report.Quiet); !strings.Contains(rules, "HorizontalPodAutoscaler") || !strings.Contains(rules, "ignore[0]") {
		t.Errorf("quiet: %s", rules)
	}

	dev := p.in("dev")
	p.edit("dev", "edited", `{"data":{"key":"by hand"}}`)
	p.edit("dev", "added", `{"data":{"more":"by hand"}}`)
	p.edit("dev", "removed", `{"data":{"key":null}}`)
	p.edit("dev", "unlabelled", `{"metadata":{"labels":null}}`)
	p.edit("dev", "alone", `{"metadata":{"annotations":{"syncer.dev/reconcile":"disabled"}},"data":{"key":"by hand"}}`)
	dev.Edit(bench.Secrets, "token", `{"data":{"key":"Mg=="}}`)
	dev.Delete(bench.ConfigMaps, dev.Namespace, "deleted")
	dev.Edit(bench.ConfigMaps, "disowned", `{"metadata":{"managedFields":[{}]}}`)
	labels := dev.Get(bench.ConfigMaps, dev.Namespace, "recreated").GetLabels()
	dev.Delete(bench.ConfigMaps, dev.Namespace, "recreated")
	dev.Create(bench.ConfigMaps, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: recreated, namespace: $NS, labels: {%q: %q}}\ndata: {key: other}\n", v1alpha1.LabelMember, labels[v1alpha1.LabelMember]))
	dev.Create(bench.ConfigMaps, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stray, namespace: $NS, labels: {%q: %q}}\n", v1alpha1.LabelMember, labels[v1alpha1.LabelMember]))
	p.push("ingest:v1") // the tag moves
	p.wantSame("after changes by hand", 7, `recreated Modified`, `disowned Modified`, `deleted Missing`, `edited Modified data.key`,
		`added Added data.more`, `removed Modified data.key`, `stray Orphaned`, `token Modified`, `nightly TagMoved`)

	// The rule goes. Syncer does not own the field, so the hashes say nothing of it.
	delete(f, settings)
	p.commit(f, "No rule")
	p.wantSame("without the rule", 8, `ruled Modified data.key`)
}

// wantSame checks that both reports are the same, that they have some findings, and how many dry runs the hashes left.
func (p *project) wantSame(what string, most int, want ...string) {
	p.T.Helper()
	byHashes, full, dryRuns := p.reports()
	if diff := cmp.Diff(full, byHashes, cmpopts.IgnoreFields(drift.Report{}, "GeneratedAt"), cmpopts.IgnoreFields(drift.Finding{}, "AgeSeconds")); diff != "" {
		p.T.Errorf("%s, the hashes lead to another report:\n%s", what, diff)
	}
	found := kinds(byHashes)
	for _, each := range want {
		if !strings.Contains(found, each) {
			p.T.Errorf("%s, there is no %q in:\n%s", what, each, found)
		}
	}
	if dryRuns[0] > most || dryRuns[1] <= dryRuns[0] {
		p.T.Errorf("%s, %d dry runs", what, dryRuns)
	}
}

// The hashes do not show what the API server would say to the same object today. Only a full comparison does.
func TestOnlyDryRunsShowWhatTheAPIServerRefusesNow(t *testing.T) {
	p := newProject(t, "")
	p.commit(pipeline("a", plain("a", "1")), "First")
	p.sync("dev")
	dev, group := p.in("dev"), schema.GroupVersion{Group: "admissionregistration.k8s.io", Version: "v1"}
	dev.Create(group.WithResource("validatingadmissionpolicies"), `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: $NS}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]}
  validations: [{expression: "false", message: the policy of $NS}]
`)
	dev.Create(group.WithResource("validatingadmissionpolicybindings"), `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: $NS}
spec: {policyName: $NS, validationActions: [Deny], matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: $NS}}}}
`)
	var byHashes, full drift.Report
	p.Eventually("the policy is in force", func() bool {
		byHashes, full, _ = p.reports()
		return len(full.Findings) > 0
	})
	if kinds(byHashes) != "" || kinds(full) != "a NotCompared" {
		t.Errorf("by hashes: %s; full: %s", kinds(byHashes), kinds(full))
	}
}
