#!/usr/bin/env bash
# Leaves etcd, kube-apiserver, kube-controller-manager, kubectl and kwok in the folder that $1 names.
# The first time takes about 5 minutes on two cores.
set -euo pipefail

out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")"
source ../build-tools.sh

# Kubernetes takes its version from the linker; without it the API server calls itself v0.0.0 and clients complain.
ldflags() {
	local version minor
	version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
	minor=${version#v1.}
	echo "-s -w -X k8s.io/component-base/version.gitVersion=$version" \
		"-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
}

build_tools controlplane "$out" ldflags \
	etcd=go.etcd.io/etcd/server/v3 \
	kube-apiserver=k8s.io/kubernetes/cmd/kube-apiserver \
	kube-controller-manager=k8s.io/kubernetes/cmd/kube-controller-manager \
	kubectl=k8s.io/kubernetes/cmd/kubectl \
	kwok=sigs.k8s.io/kwok/cmd/kwok
