// Package config holds the manifests that syncer needs in a cluster, as a kustomization that `kubectl apply -k` and
// `syncer install` share.
package config

import "embed"

// Files is this folder, less what only operators apply. Cluster and Daemon name its kustomizations.
//
//go:embed kustomization.yaml cluster daemon
var Files embed.FS

const (
	// Cluster is what the cluster of each environment needs: namespace, CRD, and the rights of the service account.
	Cluster = "cluster"
	// Daemon is what the cluster needs besides that the daemon runs in.
	Daemon = "daemon"
)
