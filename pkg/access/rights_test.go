package access_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/access"
)

func TestRightSaysWhereItIsMissing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		right access.Right
		want  string
	}{
		{"core group", access.Right{Resource: "configmaps", Namespace: "data-dev"}, "configmaps in namespace data-dev"},
		{"group", access.Right{Group: "batch", Resource: "cronjobs", Namespace: "data-dev"}, "cronjobs.batch in namespace data-dev"},
		{"all namespaces", access.Right{Group: "batch", Resource: "jobs"}, "jobs.batch in all namespaces"},
		{"no namespace", access.Right{Resource: "namespaces", Global: true}, "namespaces"},
		{"one object", access.Right{Resource: "secrets", Name: "pull", Namespace: "data-dev"}, "secrets pull in namespace data-dev"},
		{"subresource", access.Right{Group: "syncer.dev", Resource: "pipelinesyncs/status"}, "pipelinesyncs.syncer.dev/status in all namespaces"},
		{"any resource", access.Right{Resource: "*"}, "any resource in all namespaces"},
		{"any resource of a group", access.Right{Group: "batch", Resource: "*", Namespace: "a"}, "any resource of batch in namespace a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.right.Where(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRightGivesTheRuleToAdd(t *testing.T) {
	for _, tt := range []struct {
		name  string
		right access.Right
		want  string
	}{
		{"core group", access.Right{Resource: "secrets"}, `{apiGroups: [""], resources: [secrets], verbs: [get, list]}`},
		{"group", access.Right{Group: "batch", Resource: "jobs"}, `{apiGroups: [batch], resources: [jobs], verbs: [get, list]}`},
		{"one object", access.Right{Resource: "secrets", Name: "pull"}, `{apiGroups: [""], resources: [secrets], resourceNames: [pull], verbs: [get, list]}`},
		{"any resource", access.Right{Resource: "*"}, `{apiGroups: [""], resources: ["*"], verbs: [get, list]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.right.Rule([]string{"get", "list"}); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestImpersonationNamesTheServiceAccount(t *testing.T) {
	want := access.Right{Verb: "impersonate", Resource: "serviceaccounts", Namespace: "data-dev", Name: "deployer"}
	if diff := cmp.Diff(want, access.Impersonation("data-dev/deployer")); diff != "" {
		t.Error(diff)
	}
}

// TestRightsOfARole checks that every combination of a rule's lists is a right, and that other entries are skipped.
func TestRightsOfARole(t *testing.T) {
	role := &unstructured.Unstructured{Object: map[string]any{"rules": []any{
		map[string]any{
			"apiGroups": []any{"", "batch"},
			"resources": []any{"namespaces"},
			"verbs":     []any{"get", "list"},
		},
		map[string]any{
			"apiGroups":     []any{"authorization.k8s.io"},
			"resources":     []any{"selfsubjectaccessreviews"},
			"resourceNames": []any{"a", "b"},
			"verbs":         []any{"create"},
		},
		"no rule",
		map[string]any{"nonResourceURLs": []any{"/version"}, "verbs": []any{"get"}},
	}}}
	want := []access.Right{
		{Verb: "get", Resource: "namespaces", Namespace: "data-dev", Global: true},
		{Verb: "list", Resource: "namespaces", Namespace: "data-dev", Global: true},
		{Verb: "get", Group: "batch", Resource: "namespaces", Namespace: "data-dev"},
		{Verb: "list", Group: "batch", Resource: "namespaces", Namespace: "data-dev"},
		{Verb: "create", Group: "authorization.k8s.io", Resource: "selfsubjectaccessreviews", Namespace: "data-dev", Name: "a", Global: true},
		{Verb: "create", Group: "authorization.k8s.io", Resource: "selfsubjectaccessreviews", Namespace: "data-dev", Name: "b", Global: true},
	}
	if diff := cmp.Diff(want, access.RightsOf(role, "data-dev")); diff != "" {
		t.Error(diff)
	}
}
