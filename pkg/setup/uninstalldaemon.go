package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/config"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// daemon deletes the daemon, and waits until its pods are gone. It keeps the daemon of another configuration.
func (u *uninstall) daemon(ctx context.Context) error {
	namespace := u.planner.Config.Namespace
	set, err := manifestsOf(config.Daemon, namespace)
	if err != nil {
		return err
	}
	set = append(set, configMap(namespace, nil))
	reason := ""
	if other, err := u.otherDaemon(ctx); err != nil {
		return err
	} else if other != "" {
		u.shared = other
		reason = fmt.Sprintf("it carries out the configuration %q", other)
	}
	for _, obj := range set {
		if obj.GetKind() == "Deployment" {
			if err := u.delete(ctx, manifest.IDOf(obj), reason, true); err != nil {
				return err
			}
		}
	}
	var errs []error
	for _, obj := range set {
		if obj.GetNamespace() != "" && obj.GetKind() != "Deployment" {
			errs = append(errs, u.delete(ctx, manifest.IDOf(obj), reason, false))
		}
	}
	return errors.Join(errs...)
}

// otherDaemon returns the name of the daemon's configuration where it is not this one. A daemon with a configuration that
// cannot be read runs nothing.
func (u *uninstall) otherDaemon(ctx context.Context) (string, error) {
	obj, err := cluster.Find(ctx, u.cluster, manifest.IDOf(configMap(u.planner.Config.Namespace, nil)))
	if err != nil || obj == nil {
		return "", err
	}
	text, _, err := unstructured.NestedString(obj.Object, "data", configMapKey)
	if err != nil {
		return "", err
	}
	decoded, err := v1alpha1.DecodeConfig(configMapKey, []byte(text))
	if err != nil || decoded.Name == u.planner.Config.Name {
		return "", nil
	}
	return decoded.Name, nil
}

// rights deletes the rights of the daemon, but for those that another daemon uses.
func (u *uninstall) rights(ctx context.Context) error {
	users, err := cluster.RoleUsers(ctx, u.cluster)
	if err != nil {
		return err
	}
	var all manifest.Set
	for _, folder := range []string{config.Daemon, config.Cluster} {
		set, err := manifestsOf(folder, u.planner.Config.Namespace)
		if err != nil {
			return err
		}
		all = append(all, set...)
	}
	own := map[manifest.Key]bool{}
	for _, obj := range all {
		own[manifest.IDOf(obj).Key()] = true
	}
	var errs []error
	for _, obj := range all {
		id := manifest.IDOf(obj)
		reason := ""
		switch id.Kind {
		case "ClusterRole":
			// A daemon with the right to deploy needs the other roles as well.
			reason = boundBy(slices.Concat(users[bindingRole(id.Name)], users["syncer-deploy"]), own, u.shared != "")
		case "ClusterRoleBinding", "RoleBinding", "Role", "ServiceAccount":
			reason = u.stays()
		default:
			continue
		}
		errs = append(errs, u.delete(ctx, id, reason, false))
	}
	return errors.Join(errs...)
}

// bindingRole returns the role that bindings name to give a role: only the aggregated role is bound, never its parts.
func bindingRole(name string) string {
	if strings.HasPrefix(name, "syncer-deploy-") {
		return "syncer-deploy"
	}
	return name
}

// boundBy names a binding that still uses a role; empty: there is none. The own bindings are deleted, unless they stay.
func boundBy(bindings []manifest.ID, own map[manifest.Key]bool, stay bool) string {
	for _, binding := range bindings {
		if stay || !own[binding.Key()] {
			return fmt.Sprintf("%s uses it", binding)
		}
	}
	return ""
}
