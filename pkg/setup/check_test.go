package setup

import (
	"strings"
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/access"
	"github.com/syncerdev/syncer/pkg/cluster"
)

func TestCheckKnowsTheVersionsThatAreSupported(t *testing.T) {
	for version, want := range map[string]CheckStatus{
		"v1.36.3": CheckOK, "v1.29.0-eks-5e0fdde": CheckOK, "v1.28.15": CheckFail, "v1.9.0": CheckFail, "v0.0.0": CheckWarn, "1.30": CheckWarn,
	} {
		got := versionCheck(cluster.Answer{Version: version})
		if got.Status != want || want == CheckFail && !strings.Contains(got.Fix, "1.29") {
			t.Errorf("%s: %+v, want %s", version, got, want)
		}
	}
}

func TestCheckWarnsOfClocksThatAreApart(t *testing.T) {
	for name, c := range map[string]struct {
		answer cluster.Answer
		want   CheckStatus
	}{
		"together":                      {cluster.Answer{Ahead: 300 * time.Millisecond, Within: time.Second}, CheckOK},
		"behind, as far as it is known": {cluster.Answer{Ahead: -12 * time.Second, Within: 10 * time.Second}, CheckOK},
		"ahead":                         {cluster.Answer{Ahead: time.Minute, Within: time.Second}, CheckWarn},
		"behind":                        {cluster.Answer{Ahead: -time.Minute, Within: time.Second}, CheckWarn},
		"no time":                       {cluster.Answer{}, CheckWarn},
	} {
		if got := clockCheck(c.answer); got.Status != c.want {
			t.Errorf("%s: %+v, want %s", name, got, c.want)
		}
	}
}

func TestMissingRightsOfOneResourceAreOneLine(t *testing.T) {
	right := func(verb, resource, namespace string) access.Right {
		return access.Right{Verb: verb, Resource: resource, Namespace: namespace}
	}
	var got []string
	for _, line := range byResource([]access.Right{
		right("patch", "configmaps", "a"), right("get", "configmaps", "b"), right("list", "configmaps", "b"), right("watch", "configmaps", "b"),
		right("get", "secrets", ""),
		{Verb: "get", Resource: "secrets", Namespace: "a", Name: "key"},
		{Verb: "list", Resource: "namespaces", Global: true},
		{Verb: "create", Group: "ray.io", Resource: "*"},
		{Verb: "patch", Group: "syncer.dev", Resource: "pipelinesyncs/status", Namespace: "a"},
	}) {
		got = append(got, line.String()+" "+line.first.Rule(line.verbs))
	}
	want := []string{
		`may not patch configmaps in namespace a {apiGroups: [""], resources: [configmaps], verbs: [patch]}`,
		`may not get, list and watch configmaps in namespace b {apiGroups: [""], resources: [configmaps], verbs: [get, list, watch]}`,
		`may not get secrets in all namespaces {apiGroups: [""], resources: [secrets], verbs: [get]}`,
		`may not get secrets key in namespace a {apiGroups: [""], resources: [secrets], resourceNames: [key], verbs: [get]}`,
		`may not list namespaces {apiGroups: [""], resources: [namespaces], verbs: [list]}`,
		`may not create any resource of ray.io in all namespaces {apiGroups: [ray.io], resources: ["*"], verbs: [create]}`,
		`may not patch pipelinesyncs.syncer.dev/status in namespace a {apiGroups: [syncer.dev], resources: [pipelinesyncs/status], verbs: [patch]}`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
