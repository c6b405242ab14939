package ignore

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/manifest"
)

const (
	webInGit = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: data}\nspec: {replicas: 2, paused: false, template: {metadata: {labels: {app: web}}}}\n"
	webLive  = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: data}\nspec: {replicas: 5, paused: false, template: {metadata: {labels: {app: web}}}}\n"
)

func TestRulesMatchObjectsByEachPart(t *testing.T) {
	id := manifest.IDOf(objectOf(t, webInGit))
	for name, c := range map[string]struct {
		rule Rule
		want bool
	}{
		"an empty rule":       {Rule{}, true},
		"all parts":           {Rule{Group: "apps", Kind: "Deployment", Namespace: "data", Name: "web"}, true},
		"another group":       {Rule{Group: "batch"}, false},
		"another kind":        {Rule{Kind: "StatefulSet"}, false},
		"another namespace":   {Rule{Namespace: "other"}, false},
		"another name":        {Rule{Name: "other"}, false},
		"all parts but a one": {Rule{Group: "apps", Kind: "Deployment", Namespace: "data", Name: "other"}, false},
	} {
		c.rule.Paths = paths("spec.replicas")
		if got := c.rule.Covers(id, paths("spec.replicas")[0]); got != c.want {
			t.Errorf("%s: covers %t", name, got)
		}
	}
	below := Rule{Paths: paths("spec.template")}
	for text, want := range map[string]bool{"spec.template": true, "spec.template.metadata.labels.app": true, "spec": false, "spec.replicas": false} {
		if got := below.Covers(id, paths(text)[0]); got != want {
			t.Errorf("a rule for spec.template covers %s: %t", text, got)
		}
	}
}

func TestFieldsOfOthersAreNotSent(t *testing.T) {
	const all = `{"f:spec":{"f:replicas":{},"f:paused":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}}}}}`
	byPath := Rule{Place: "ignore[0]", Paths: paths("spec.replicas")}
	byName := Rule{Place: "ignore[1]", Managers: []string{"scaler"}}
	for name, c := range map[string]struct {
		rules  Rules
		by     owners
		spared []manifest.Path
		want   any // the number of replicas that is sent; nil: none
		quiet  string
	}{
		"no rule":                               {nil, owners{"syncer": all}, nil, int64(2), ""},
		"by path, owned by another":             {Rules{byPath}, owners{"scaler Update": all}, nil, nil, "spec.replicas: ignore[0] (an ignore rule)"},
		"by path, owned by syncer":              {Rules{byPath}, owners{"syncer": all}, nil, int64(5), "spec.replicas: ignore[0] (an ignore rule)"},
		"by path, for another kind":             {Rules{{Kind: "Job", Paths: byPath.Paths}}, owners{"scaler Update": all}, nil, int64(2), ""},
		"by manager":                            {Rules{byName}, owners{"scaler Update": `{"f:spec":{"f:replicas":{}}}`}, nil, nil, "spec.replicas: ignore[1] (an ignore rule)"},
		"by manager, owned by another":          {Rules{byName}, owners{"kubectl-edit Update": `{"f:spec":{"f:replicas":{}}}`}, nil, int64(2), ""},
		"by manager, and syncer owns it too":    {Rules{byName}, owners{"scaler Update": all, "syncer": all}, nil, int64(2), ""},
		"spared drift of another":               {nil, owners{"kubectl-edit Update": all}, paths("spec.replicas"), nil, ""},
		"spared drift that syncer owns as well": {nil, owners{"syncer": all}, paths("spec.replicas"), int64(2), ""},
		"an autoscaler scaled it":               {nil, owners{"kube-controller-manager Update scale": `{"f:spec":{"f:replicas":{}}}`}, nil, nil, "spec.replicas: HorizontalPodAutoscaler (an autoscaler set the number of replicas)"},
		"KEDA scaled it":                        {nil, owners{"keda Update scale": `{"f:spec":{"f:replicas":{}}}`}, nil, nil, "spec.replicas: HorizontalPodAutoscaler (an autoscaler set the number of replicas)"},
		"a person scaled it":                    {nil, owners{"kubectl Update scale": `{"f:spec":{"f:replicas":{}}}`}, nil, int64(2), ""},
		"an autoscaler that does not scale":     {nil, owners{"kube-controller-manager Update": `{"f:spec":{"f:replicas":{}}}`}, nil, int64(2), ""},
		"an autoscaler, and syncer owns it too": {nil, owners{"kube-controller-manager Update scale": `{"f:spec":{"f:replicas":{}}}`, "syncer": all}, nil, int64(2), ""},
	} {
		t.Run(name, func(t *testing.T) {
			git, live := objectOf(t, webInGit), owned(t, objectOf(t, webLive), c.by)
			sent, quiet := c.rules.Yield(manifest.IDOf(git), git, live, c.spared)
			got, _, _ := unstructured.NestedFieldNoCopy(sent.Object, "spec", "replicas")
			if got != c.want || said(quiet) != c.quiet {
				t.Errorf("replicas %v, want %v; quiet %q, want %q", got, c.want, said(quiet), c.quiet)
			}
			if before, _, _ := unstructured.NestedInt64(git.Object, "spec", "replicas"); before != 2 {
				t.Errorf("the object of git has %d replicas now", before)
			}
			if len(quiet) == 0 && len(c.spared) == 0 && sent != git {
				t.Error("the object is copied although nothing is left out")
			}
		})
	}
}

func TestIgnoredFieldWithTheSameValueIsNoDifference(t *testing.T) {
	git := objectOf(t, webInGit)
	live := owned(t, objectOf(t, webInGit), owners{"scaler Update": `{"f:spec":{"f:replicas":{}}}`})
	sent, quiet := Rules{{Paths: paths("spec.replicas")}}.Yield(manifest.IDOf(git), git, live, nil)
	if _, is, _ := unstructured.NestedFieldNoCopy(sent.Object, "spec", "replicas"); is || len(quiet) > 0 {
		t.Errorf("sent: %t, quiet: %s", is, said(quiet))
	}
}

func TestInjectedCertificateIsNotReplacedByAPlaceholder(t *testing.T) {
	const webhook = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: w}\nwebhooks: [{name: a, clientConfig: {caBundle: VALUE}}]\n"
	for value, yields := range map[string]bool{`""`: true, "Cg==": true, "bWluZQ==": false} {
		git := objectOf(t, replaced(webhook, value))
		live := owned(t, objectOf(t, replaced(webhook, "aW5qZWN0ZWQ=")), owners{"cert-manager-cainjector Update": `{"f:webhooks":{"k:{\"name\":\"a\"}":{"f:clientConfig":{"f:caBundle":{}}}}}`})
		sent, quiet := Rules{}.Yield(manifest.IDOf(git), git, live, nil)
		if left := len(manifest.Find(sent.Object, paths("webhooks[*].clientConfig.caBundle")[0])) == 0; left != yields || (len(quiet) > 0) != yields {
			t.Errorf("%s: left out %t, quiet %q", value, left, said(quiet))
		}
		if got := (Rules{}).Disputed(git, live); got == yields {
			t.Errorf("%s: disputed %t", value, got)
		}
	}
}

func TestFieldsThatGotAnotherOwnerAreDisputed(t *testing.T) {
	const replicas = `{"f:spec":{"f:replicas":{}}}`
	const rest = `{"f:spec":{"f:paused":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}}}}}`
	byName := Rules{{Managers: []string{"scaler"}}}
	for name, c := range map[string]struct {
		rules Rules
		by    owners
		want  bool
	}{
		"the autoscaler owns it":                  {nil, owners{"keda Update scale": replicas}, false},
		"a person took it from the autoscaler":    {nil, owners{"kubectl Update scale": replicas}, true},
		"syncer owns it":                          {nil, owners{"syncer": replicas}, false},
		"the manager of a rule owns it":           {byName, owners{"syncer": replicas, "scaler Update": rest}, false},
		"another took a field beside":             {byName, owners{"syncer": replicas, "kubectl-edit Update": rest}, true},
		"a rule by path covers the field":         {append(Rules{{Paths: paths("spec.paused", "spec.template", "spec.replicas")}}, byName...), owners{"keda Update scale": replicas, "kubectl-edit Update": rest}, false},
		"a rule without managers decides nothing": {Rules{{Paths: paths("spec.paused")}}, owners{"syncer": replicas, "kubectl-edit Update": rest}, false},
		"a rule for another kind":                 {Rules{{Kind: "Job", Managers: []string{"scaler"}}}, owners{"syncer": replicas, "kubectl-edit Update": rest}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.rules.Disputed(objectOf(t, webInGit), owned(t, objectOf(t, webLive), c.by)); got != c.want {
				t.Errorf("disputed: %t", got)
			}
		})
	}
}
