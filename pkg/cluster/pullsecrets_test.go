package cluster

import (
	"encoding/base64"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/syncerdev/syncer/pkg/manifest"
)

func parsed(t *testing.T, texts ...string) manifest.Set {
	t.Helper()
	var set manifest.Set
	for _, text := range texts {
		obj := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
			t.Fatal(err)
		}
		set = append(set, obj)
	}
	return set
}

func namesOf(ids []manifest.ID) (names []string) {
	for _, id := range slices.SortedFunc(slices.Values(ids), manifest.ID.Compare) {
		names = append(names, id.Kind+" "+id.Namespace+"/"+id.Name)
	}
	return names
}

func TestPullSecretsOfASet(t *testing.T) {
	set := parsed(t,
		`{kind: Deployment, metadata: {namespace: a}, spec: {template: {spec: {imagePullSecrets: [{name: one}, {name: ""}], containers: [{name: x}]}}}}`,
		`{kind: SparkApplication, metadata: {namespace: b}, spec: {imagePullSecrets: [two], driver: {serviceAccount: runner}}}`,
		`{kind: CronJob, metadata: {namespace: a}, spec: {jobTemplate: {spec: {template: {spec: {serviceAccountName: nightly, containers: []}}}}}}`,
		`{kind: ConfigMap, metadata: {namespace: c}, data: {imagePullSecrets: text}}`,
	)
	var secrets []manifest.ID
	for _, obj := range set {
		secrets = append(secrets, PullSecretsOf(obj)...)
	}
	if diff := cmp.Diff([]string{"Secret a/one", "Secret b/two"}, namesOf(secrets)); diff != "" {
		t.Errorf("secrets (-want +got)\n%s", diff)
	}
	want := []string{"ServiceAccount a/default", "ServiceAccount a/nightly", "ServiceAccount b/runner"}
	if diff := cmp.Diff(want, namesOf(slices.Collect(maps.Keys(AccountsOf(set))))); diff != "" {
		t.Errorf("accounts (-want +got)\n%s", diff)
	}
}

func TestDockerConfig(t *testing.T) {
	coded := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, c := range []struct {
		name string
		data map[string]any
		want []string
	}{
		{"the form of today", map[string]any{".dockerconfigjson": coded(`{"auths":{}}`)}, []string{`{"auths":{}}`}},
		{"the old form", map[string]any{".dockercfg": coded(`{"h":{}}`)}, []string{`{"auths":{"h":{}}}`}},
		{"no base64", map[string]any{".dockerconfigjson": "%"}, nil},
		{"another secret", map[string]any{"password": coded("x")}, nil},
	} {
		secret := &unstructured.Unstructured{Object: map[string]any{"data": c.data}}
		if diff := cmp.Diff(c.want, dockerConfig(secret)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.name, diff)
		}
	}
}
