package cluster

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// PullSecrets returns the docker configurations with which the kubelet pulls the images of a set: those of the
// imagePullSecrets of its objects and of the service accounts of its pods. Like the kubelet, it leaves out secrets that
// do not exist. The error names the secrets and accounts that syncer may not read. docs/decisions/0037-pull-secrets.md
// says why no library does this.
func PullSecrets(ctx context.Context, c *Cluster, set manifest.Set) ([]string, error) {
	var errs []error
	read := func(id manifest.ID) *unstructured.Unstructured {
		obj, err := Read(ctx, c, id)
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
	for _, id := range slices.SortedFunc(maps.Keys(AccountsOf(set)), manifest.ID.Compare) {
		account := set.Find(id)
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
	for _, id := range PullSecretsOf(obj) {
		wanted[id] = true
	}
}

// PullSecretsOf lists the Secrets below any imagePullSecrets of an object: by name in a pod spec or a service account,
// as plain text in a SparkApplication.
func PullSecretsOf(obj *unstructured.Unstructured) []manifest.ID {
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

// AccountsOf lists the service accounts of the pods of a set: each account that an object names, and the default account
// of a namespace with a pod that names none.
func AccountsOf(set manifest.Set) map[manifest.ID]bool {
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
