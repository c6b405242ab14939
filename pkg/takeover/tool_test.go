package takeover

import (
	"reflect"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

func web(labels, annotations string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: data, labels: {" + labels + "}, annotations: {" + annotations + "}}\nspec: {replicas: 2}\n"
}

const (
	replicas    = `{"f:spec":{"f:replicas":{}}}`
	helmLabels  = "app.kubernetes.io/managed-by: Helm"
	helmNotes   = "meta.helm.sh/release-name: shop, meta.helm.sh/release-namespace: apps"
	fluxLabels  = "kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system"
	releases    = "helm.toolkit.fluxcd.io/name: shop, helm.toolkit.fluxcd.io/namespace: flux-system"
	argoNotes   = `argocd.argoproj.io/tracking-id: "shop:apps/Deployment:data/web"`
	kubectlNote = `kubectl.kubernetes.io/last-applied-configuration: "{}"`
)

func TestToolIsFoundByItsTraces(t *testing.T) {
	for name, c := range map[string]struct {
		labels, annotations string
		by                  []entry
		want                *Former
	}{
		"no tool":                           {by: []entry{{"somebody Update", replicas}}},
		"kubectl apply":                     {annotations: kubectlNote, by: []entry{{clientSideApply + " Update", replicas}}, want: &Former{Tool: toolKubectl, Managers: []string{clientSideApply}}},
		"kubectl apply, by its manager":     {by: []entry{{clientSideApply + " Update", replicas}}, want: &Former{Tool: toolKubectl, Managers: []string{clientSideApply}}},
		"kubectl apply after create":        {annotations: kubectlNote, by: []entry{{"kubectl-create Update", replicas}}, want: &Former{Tool: toolKubectl, Managers: []string{"kubectl-create"}}},
		"kubectl create":                    {by: []entry{{"kubectl-create Update", replicas}}},
		"kubectl scale":                     {by: []entry{{clientSideApply + " Update scale", replicas}}},
		"Helm":                              {labels: helmLabels, annotations: helmNotes, by: []entry{{"helm Update", replicas}}, want: &Former{Tool: toolHelm, Owner: "release apps/shop", Managers: []string{"helm"}}},
		"Helm's label alone":                {labels: helmLabels, by: []entry{{"helm Update", replicas}}},
		"Helm by Terraform":                 {labels: helmLabels, annotations: helmNotes, by: []entry{{"terraform-provider-helm_v2 Update", replicas}}, want: &Former{Tool: toolHelm, Owner: "release apps/shop", Managers: []string{"terraform-provider-helm_v2"}}},
		"a Kustomization of Flux":           {labels: fluxLabels, by: []entry{{"kustomize-controller Apply", replicas}}, want: &Former{Tool: toolFlux, Owner: "Kustomization flux-system/apps", Managers: []string{"kustomize-controller"}}},
		"a HelmRelease of Flux":             {labels: releases + ", " + helmLabels, annotations: helmNotes, by: []entry{{"helm-controller Update", replicas}}, want: &Former{Tool: toolFlux, Owner: "HelmRelease flux-system/shop", Managers: []string{"helm-controller"}}},
		"Argo CD, by its annotation":        {annotations: argoNotes + ", " + kubectlNote, by: []entry{{"argocd-controller Update", replicas}}, want: &Former{Tool: toolArgo, Owner: "Application shop", Managers: []string{"argocd-controller"}}},
		"Argo CD, by its label":             {labels: "argocd.argoproj.io/instance: shop", by: []entry{{"argocd-controller Apply", replicas}}, want: &Former{Tool: toolArgo, Owner: "Application shop", Managers: []string{"argocd-controller"}}},
		"Argo CD, by the common label":      {labels: "app.kubernetes.io/instance: shop", by: []entry{{"argocd-application-controller Apply", replicas}}, want: &Former{Tool: toolArgo, Owner: "Application shop", Managers: []string{"argocd-application-controller"}}},
		"the common label of another":       {labels: "app.kubernetes.io/instance: shop", by: []entry{{"somebody Apply", replicas}}},
		"traces without managed fields":     {annotations: kubectlNote, want: &Former{Tool: toolKubectl}},
		"managers are named once, sorted":   {annotations: kubectlNote, by: []entry{{"kubectl-last-applied Update", replicas}, {clientSideApply + " Update", replicas}, {clientSideApply + " Update - apps/v1beta1", replicas}}, want: &Former{Tool: toolKubectl, Managers: []string{clientSideApply, "kubectl-last-applied"}}},
		"syncer applied it since":           {annotations: kubectlNote, by: []entry{{"syncer Apply", replicas}}},
		"a tool wrote after syncer applied": {annotations: kubectlNote, by: []entry{{"syncer Apply", replicas}, {clientSideApply + " Update", replicas}}, want: &Former{Tool: toolKubectl, Managers: []string{clientSideApply}}},
		"only syncer's Update is known":     {annotations: kubectlNote, by: []entry{{"syncer Update", replicas}}, want: &Former{Tool: toolKubectl}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ManagedBy(objectOf(t, web(c.labels, c.annotations), c.by...)); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestRefusalSaysHowTheToolReleasesTheObject(t *testing.T) {
	const then = ", then annotate it in git with `syncer.dev/adopt: enabled`"
	for name, c := range map[string]struct {
		tool, owner, want string
	}{
		"kubectl":       {toolKubectl, "", "it is managed by kubectl apply, so orders@prod does not take it; stop applying it with kubectl"},
		"Helm":          {toolHelm, "release apps/shop", "it is managed by Helm (release apps/shop), so orders@prod does not take it; delete the records of the release, not the release (`kubectl -n apps delete secret -l owner=helm,name=shop`)"},
		"Kustomization": {toolFlux, "Kustomization flux-system/apps", "it is managed by Flux (Kustomization flux-system/apps), so orders@prod does not take it; set `prune: false` in the Kustomization before it or the object is removed from Flux, so that the object stays"},
		"HelmRelease":   {toolFlux, "HelmRelease flux-system/shop", "it is managed by Flux (HelmRelease flux-system/shop), so orders@prod does not take it; suspend the HelmRelease before it is deleted (`flux -n flux-system suspend helmrelease shop`), so that its objects stay"},
		"Argo CD":       {toolArgo, "Application shop", "it is managed by Argo CD (Application shop), so orders@prod does not take it; take it out of the Application without deleting it (`argocd app delete shop --cascade=false`, or the sync option `Prune=false`)"},
	} {
		id := manifest.ID{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "data", Name: "web"}
		err := &Error{ID: id, Target: v1alpha1.Target{Pipeline: "orders", Environment: "prod"}, Tool: c.tool, Owner: c.owner}
		if got, want := err.Error(), "Deployment/data/web: "+c.want+then; got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}
