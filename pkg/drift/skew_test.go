package drift

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/syncerdev/syncer/pkg/manifest"
)

func rendered(text string) manifest.Set {
	var set manifest.Set
	for doc := range strings.SplitSeq(text, "---\n") {
		set = append(set, object(doc))
	}
	return set
}

// told lists differences as KIND object path: a | b.
func told(skew []Skew) []string {
	var out []string
	for _, s := range skew {
		kind := "unexplained"
		if s.Declared {
			kind = "declared"
		}
		if s.Expected {
			kind = "expected"
		}
		out = append(out, fmt.Sprintf("%s %s %s: %v | %v", kind, s.Object, s.Path, s.Values["staging"], s.Values["prod"]))
	}
	return out
}

func TestCompareEnvironments(t *testing.T) {
	const job = `
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: %[1]s, labels: {env: %[2]s}}
spec:
  schedule: "%[3]s"
  jobTemplate: {spec: {template: {spec: {containers: [{name: job, image: "%[4]s", envFrom: [{configMapRef: {name: settings-%[5]s}}], resources: {limits: {cpu: "%[6]s"}}, env: [{name: URL, value: "http://db.%[1]s.svc"}]}]}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings-%[5]s, namespace: %[1]s}
data: {mode: "%[7]s"}
`
	staging := fmt.Sprintf(job, "data-staging", "staging", "0 3 * * *", "r/job:v1@sha256:aaa", "7g5hk9t2m8", "1", "slow")
	prod := fmt.Sprintf(job, "data-prod", "prod", "0 5 * * *", "r/job:v1@sha256:bbb", "mm88tt22gg", "4", "fast")
	got := told(CompareEnvironments("nightly", Side{Environment: "staging", Rendered: rendered(staging)}, Side{Environment: "prod", Rendered: rendered(prod)}, nil))
	want := []string{
		"declared ConfigMap/data-staging/settings-7g5hk9t2m8 data.mode: slow | fast",
		"expected CronJob/data-staging/nightly metadata.labels.env: staging | prod",
		"unexplained CronJob/data-staging/nightly spec.jobTemplate.spec.template.spec.containers[name=job].image: r/job:v1@sha256:aaa | r/job:v1@sha256:bbb",
		"expected CronJob/data-staging/nightly spec.jobTemplate.spec.template.spec.containers[name=job].resources.limits.cpu: 1 | 4",
		"declared CronJob/data-staging/nightly spec.schedule: 0 3 * * * | 0 5 * * *",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if same := CompareEnvironments("nightly", Side{Environment: "staging", Rendered: rendered(staging)}, Side{Environment: "prod", Rendered: rendered(staging)}, nil); len(same) > 0 {
		t.Errorf("an environment differs from itself: %v", told(same))
	}
}

func TestNamesDoNotBreakTheMatching(t *testing.T) {
	doc := func(kind, name string) string {
		return "apiVersion: v1\nkind: " + kind + "\nmetadata: {name: " + name + ", namespace: team}\nspec: {a: b}\n"
	}
	for name, c := range map[string]struct {
		staging, prod []string
		want          []string
	}{
		"a prefix":             {[]string{doc("K", "staging-web")}, []string{doc("K", "prod-web")}, nil},
		"a suffix":             {[]string{doc("K", "web-staging")}, []string{doc("K", "web-prod")}, nil},
		"an infix":             {[]string{doc("K", "a-staging-web")}, []string{doc("K", "a-prod-web")}, nil},
		"only one has it":      {[]string{doc("K", "staging-web")}, []string{doc("K", "web")}, nil},
		"a hash":               {[]string{doc("ConfigMap", "a-7g5hk9t2m8")}, []string{doc("ConfigMap", "a-mm88tt22gg")}, nil},
		"no hash elsewhere":    {[]string{doc("K", "a-7g5hk9t2m8")}, []string{doc("K", "a-mm88tt22gg")}, []string{"declared K/team/a-7g5hk9t2m8 : a-7g5hk9t2m8 | <nil>", "declared K/team/a-mm88tt22gg : <nil> | a-mm88tt22gg"}},
		"other shared ends":    {[]string{doc("K", "s1-web"), doc("L", "s1-db")}, []string{doc("K", "p7-web"), doc("L", "p7-db")}, nil},
		"two of one stem":      {[]string{doc("K", "web"), doc("K", "staging-web")}, []string{doc("K", "web"), doc("K", "prod-web")}, nil},
		"ambiguous":            {[]string{doc("K", "staging-web"), doc("K", "web-staging")}, []string{doc("K", "prod-web")}, []string{"declared K/team/prod-web : <nil> | prod-web", "declared K/team/staging-web : staging-web | <nil>", "declared K/team/web-staging : web-staging | <nil>"}},
		"another kind":         {[]string{doc("K", "web")}, []string{doc("L", "web")}, []string{"declared K/team/web : web | <nil>", "declared L/team/web : <nil> | web"}},
		"an object of its own": {[]string{doc("K", "web")}, []string{doc("K", "web"), doc("K", "more")}, []string{"declared K/team/more : <nil> | more"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := told(CompareEnvironments("p",
				Side{Environment: "staging", Rendered: rendered(strings.Join(c.staging, "---\n"))},
				Side{Environment: "prod", Rendered: rendered(strings.Join(c.prod, "---\n"))}, nil))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatOnlyAClusterHasIsUnexplained(t *testing.T) {
	text := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: %s}\nspec: {replicas: 2, paused: false}\n"
	staging, prod := fmt.Sprintf(text, "data-staging"), fmt.Sprintf(text, "data-prod")
	at := func(environment, path string, kind Kind, desired, live any) Finding {
		return Finding{
			Pipeline: "p", Environment: environment, Kind: kind, Path: path, Desired: desired, Live: live,
			Object: manifest.ID{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "data-" + environment, Name: "web"},
		}
	}
	a := Side{Environment: "staging", Rendered: rendered(staging), Findings: []Finding{
		at("staging", "spec.paused", Modified, false, true), at("staging", "spec.both", Added, nil, "x"),
	}}
	b := Side{Environment: "prod", Rendered: rendered(prod), Findings: []Finding{
		at("prod", "spec.replicas", Modified, int64(2), int64(9)), at("prod", "spec.both", Added, nil, "x"), at("prod", "spec.extra", Added, nil, "y"),
		at("prod", "", Held, nil, nil),
	}}
	want := []string{
		"unexplained Deployment/data-staging/web spec.extra: <nil> | y",
		"unexplained Deployment/data-staging/web spec.paused: true | false",
		"unexplained Deployment/data-staging/web spec.replicas: 2 | 9",
	}
	if diff := cmp.Diff(want, told(CompareEnvironments("p", a, b, nil))); diff != "" {
		t.Error(diff)
	}
	path, err := manifest.ParsePath("spec.replicas")
	if err != nil {
		t.Fatal(err)
	}
	if got := told(CompareEnvironments("p", a, b, []ExpectedRule{{Kind: "Deployment", Paths: []manifest.Path{path}}})); !strings.HasPrefix(got[2], "expected") {
		t.Errorf("a rule of the user's does not hold: %v", got)
	}
}

func TestSkewIsMasked(t *testing.T) {
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\ndata: {password: canary-%s}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {API_TOKEN: canary-%s}\n"
	got := fmt.Sprint(told(CompareEnvironments("p",
		Side{Environment: "staging", Rendered: rendered(fmt.Sprintf(secret, "a", "a"))},
		Side{Environment: "prod", Rendered: rendered(fmt.Sprintf(secret, "b", "b"))}, nil)))
	if strings.Contains(got, "canary") || strings.Count(got, "masked") != 4 {
		t.Errorf("got %s", got)
	}
}

func TestDifferencesAreNotHidden(t *testing.T) {
	one := func(kind, namespace, fields string) string {
		return "apiVersion: v1\nkind: " + kind + "\nmetadata: {name: x, namespace: " + namespace + "}\n" + fields + "\n"
	}
	for name, c := range map[string]struct {
		staging, prod string
		want          []string
	}{
		"a namespace within a word":    {one("K", "etl", "spec: {a: etl2}"), one("K", "spark", "spec: {a: spark2}"), []string{"declared K/etl/x spec.a: etl2 | spark2"}},
		"a namespace in another value": {one("K", "data", "spec: {a: 's3://lake/metadata/x'}"), one("K", "other", "spec: {a: 's3://lake/metadata/x'}"), nil},
		"rights are no size":           {one("Role", "n1", "rules: [{resources: [pods]}]"), one("Role", "n1", "rules: [{resources: [secrets]}]"), []string{"declared Role/n1/x rules[0].resources[0]: pods | secrets"}},
		"a setting named memory":       {one("ConfigMap", "n1", "data: {memory: low}"), one("ConfigMap", "n1", "data: {memory: high}"), []string{"declared ConfigMap/n1/x data.memory: low | high"}},
		"one name in two namespaces": {
			one("K", "data-staging", "spec: {a: 1}") + "---\n" + one("K", "air-staging", "spec: {a: 1}"),
			one("K", "data-prod", "spec: {a: 1}") + "---\n" + one("K", "air-prod", "spec: {a: 2}"),
			[]string{"declared K/air-staging/x spec.a: 1 | 2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := told(CompareEnvironments("p", Side{Environment: "staging", Rendered: rendered(c.staging)}, Side{Environment: "prod", Rendered: rendered(c.prod)}, nil))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOneTagOfDifferentBytes(t *testing.T) {
	text := "apiVersion: v1\nkind: K\nmetadata: {name: x, namespace: team}\nspec: {image: '%s'}\n"
	all, err := manifest.ParsePath("spec")
	if err != nil {
		t.Fatal(err)
	}
	a := Side{Environment: "staging", Rendered: rendered(fmt.Sprintf(text, "r:v1@sha256:a"))}
	b := Side{Environment: "prod", Rendered: rendered(fmt.Sprintf(text, "r:v1@sha256:b"))}
	got := CompareEnvironments("p", a, b, []ExpectedRule{{Paths: []manifest.Path{all}}})
	if len(got) != 1 || got[0].Declared || got[0].Expected || !strings.Contains(got[0].Message, "other bytes in staging than in prod under one tag") {
		t.Errorf("got %+v", got)
	}
	a.Written, b.Written = a.Rendered, b.Rendered // git itself names the bytes
	if got := CompareEnvironments("p", a, b, nil); len(got) != 1 || !got[0].Declared {
		t.Errorf("got %+v", got)
	}
}

func TestADriftedSecretIsSkewBehindItsMask(t *testing.T) {
	secret := rendered("apiVersion: v1\nkind: Secret\nmetadata: {name: x, namespace: team}\ndata: {p: YQ==}\n")
	drifted := Finding{Kind: Modified, Path: "data.p", Desired: "(masked)", Live: "(masked)", Object: manifest.IDOf(secret[0])}
	got := CompareEnvironments("p", Side{Environment: "staging", Rendered: secret}, Side{Environment: "prod", Rendered: secret, Findings: []Finding{drifted}}, nil)
	if len(got) != 1 || got[0].Declared {
		t.Errorf("got %+v", got)
	}
}

func FuzzEnvironmentsAreLikeThemselves(f *testing.F) {
	f.Add("kind: ConfigMap\nmetadata: {name: staging-a-7g5hk9t2m8, namespace: staging}\ndata: {a: staging}", "kind: K\nmetadata: {name: x}\nspec: [1, {name: x}]")
	f.Fuzz(func(t *testing.T, one, two string) {
		var set manifest.Set
		for _, text := range []string{one, two} {
			obj := &unstructured.Unstructured{}
			if k8syaml.Unmarshal([]byte(text), &obj.Object) != nil || obj.Object == nil || obj.GetKind() == "" || obj.GetName() == "" {
				return
			}
			set = append(set, obj)
		}
		if _, twice := set.Duplicate(); twice {
			return
		}
		if got := CompareEnvironments("p", Side{Environment: "staging", Rendered: set}, Side{Environment: "staging", Rendered: set.Copy()}, nil); len(got) > 0 {
			t.Errorf("%v", told(got))
		}
		forth := CompareEnvironments("p", Side{Environment: "staging", Rendered: set[:1]}, Side{Environment: "prod", Rendered: set[1:]}, nil)
		back := CompareEnvironments("p", Side{Environment: "prod", Rendered: set[1:]}, Side{Environment: "staging", Rendered: set[:1]}, nil)
		if len(forth) != len(back) {
			t.Errorf("%d differences one way and %d the other", len(forth), len(back))
		}
	})
}
