// Package config holds the manifests that syncer needs in a cluster, as a kustomization that `kubectl apply -k` and
// `syncer install` share.
package config

import "embed"

// Files is this folder.
//
//go:embed kustomization.yaml namespace.yaml crd rbac
var Files embed.FS
