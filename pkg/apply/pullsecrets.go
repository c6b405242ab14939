package apply

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// PullSecrets returns the docker configurations with which the kubelet pulls the images of a set: those of the
// imagePullSecrets of its objects and of the service accounts of its pods. Like the kubelet, it leaves out secrets that
// do not exist. The error names the secrets and accounts that may not be read. docs/decisions/0040-pull-secrets.md says
// why no library does this.
func (c *Cluster) PullSecrets(ctx context.Context, set manifest.Set) ([]string, error) {
	var errs []error
	read := func(id manifest.ID) *unstructured.Unstructured {
		obj, err := c.read(ctx, id)
		if err != nil {
			errs = append(errs, err)
		}
		return obj
	}
	wanted := map[manifest.ID]bool{}
	for _, obj := range set {
		if !manifest.IsSecret(obj) {
			addPullSecrets(wanted, obj)
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(accountsOf(set)), manifest.ID.Compare) {
		account := find(set, id)
		if account == nil {
			account = read(id)
		}
		addPullSecrets(wanted, account)
	}
	var configs []string
	for _, id := range slices.SortedFunc(maps.Keys(wanted), manifest.ID.Compare) {
		configs = append(configs, dockerConfig(read(id))...)
	}
	return configs, errors.Join(errs...)
}

func addPullSecrets(wanted map[manifest.ID]bool, obj *unstructured.Unstructured) {
	for _, id := range pullSecretsOf(obj) {
		wanted[id] = true
	}
}

func (c *Cluster) read(ctx context.Context, id manifest.ID) (*unstructured.Unstructured, error) {
	resource, id, err := c.resourceFor(id)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", id, err)
	}
	obj, err := get(ctx, resource, id)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", id, err)
	}
	return obj, nil
}

func find(set manifest.Set, id manifest.ID) *unstructured.Unstructured {
	for _, obj := range set {
		if found := manifest.IDOf(obj); found.Key() == id.Key() {
			return obj
		}
	}
	return nil
}

// pullSecretsOf lists the Secrets below any imagePullSecrets of an object: by name in a pod spec or a service account,
// as plain text in a SparkApplication.
func pullSecretsOf(obj *unstructured.Unstructured) []manifest.ID {
	if obj == nil {
		return nil
	}
	var ids []manifest.ID
	walk(obj.Object, func(key string, value any) {
		list, ok := value.([]any)
		if key != "imagePullSecrets" || !ok {
			return
		}
		for _, item := range list {
			name, _ := item.(string)
			if fields, ok := item.(map[string]any); ok {
				name, _ = fields["name"].(string)
			}
			if name != "" {
				ids = append(ids, manifest.ID{APIVersion: "v1", Kind: "Secret", Namespace: obj.GetNamespace(), Name: name})
			}
		}
	})
	return ids
}

// accountsOf lists the service accounts of the pods of a set: each account that an object names, and the default account
// of a namespace with a pod that names none.
func accountsOf(set manifest.Set) map[manifest.ID]bool {
	accounts := map[manifest.ID]bool{}
	for _, obj := range set {
		named, pods := false, false
		account := func(name string) {
			accounts[manifest.ID{APIVersion: "v1", Kind: "ServiceAccount", Namespace: obj.GetNamespace(), Name: name}] = true
		}
		walk(obj.Object, func(key string, value any) {
			name, isText := value.(string)
			switch {
			case key == "containers":
				pods = true
			case (key == "serviceAccountName" || key == "serviceAccount") && isText && name != "":
				named = true
				account(name)
			}
		})
		if pods && !named {
			account("default")
		}
	}
	return accounts
}

// walk visits every key of an object.
func walk(value any, visit func(key string, value any)) {
	switch node := value.(type) {
	case map[string]any:
		for key, below := range node {
			visit(key, below)
			walk(below, visit)
		}
	case []any:
		for _, item := range node {
			walk(item, visit)
		}
	}
}

// dockerConfig reads both forms of a pull secret (k8s.io/api/core/v1: SecretTypeDockerConfigJson, SecretTypeDockercfg).
func dockerConfig(secret *unstructured.Unstructured) []string {
	if secret == nil {
		return nil
	}
	data, _, _ := unstructured.NestedStringMap(secret.Object, "data")
	var configs []string
	if doc, err := base64.StdEncoding.DecodeString(data[".dockerconfigjson"]); err == nil && len(doc) > 0 {
		configs = append(configs, string(doc))
	}
	if auths, err := base64.StdEncoding.DecodeString(data[".dockercfg"]); err == nil && len(auths) > 0 {
		configs = append(configs, `{"auths":`+string(auths)+`}`)
	}
	return configs
}
