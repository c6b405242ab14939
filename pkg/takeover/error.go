package takeover

import (
	"fmt"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Error says that a tool manages an object of git's set, and that git does not allow the adoption.
type Error struct {
	ID     manifest.ID
	Target v1alpha1.Target
	Tool   string
	Owner  string // the tool's release, Kustomization or Application; empty: the tool has none
}

func (e *Error) Error() string {
	by := e.Tool
	if e.Owner != "" {
		by += " (" + e.Owner + ")"
	}
	return fmt.Sprintf("%s: it is managed by %s, so %s does not take it; %s, then annotate it in git with `%s: %s`",
		e.ID, by, e.Target, e.release(), v1alpha1.AnnotationAdopt, v1alpha1.Enabled)
}

// release returns the way in which the tool releases its objects without deleting them.
func (e *Error) release() string {
	kind, name, _ := strings.Cut(e.Owner, " ")
	namespace, base, _ := strings.Cut(name, "/")
	switch {
	case e.Tool == toolHelm:
		return fmt.Sprintf("delete the records of the release, not the release (`kubectl -n %s delete secret -l owner=helm,name=%s`)", namespace, base)
	case kind == "HelmRelease":
		return fmt.Sprintf("suspend the HelmRelease before it is deleted (`flux -n %s suspend helmrelease %s`), so that its objects stay", namespace, base)
	case e.Tool == toolFlux:
		return "set `prune: false` in the Kustomization before it or the object is removed from Flux, so that the object stays"
	case e.Tool == toolArgo:
		return fmt.Sprintf("take it out of the Application without deleting it (`argocd app delete %s --cascade=false`, or the sync option `Prune=false`)", name)
	}
	return "stop applying it with kubectl"
}
