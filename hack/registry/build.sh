#!/usr/bin/env bash
# Leaves the image registry of the distribution project, as `registry`, in the folder that $1 names.
# The first time takes about a minute and a half on two cores.
set -euo pipefail

out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")"
source ../build-tools.sh

ldflags() {
	local version
	version=$(go list -m -f '{{.Version}}' github.com/distribution/distribution/v3)
	echo "-s -w -X github.com/distribution/distribution/v3/version.version=$version"
}

build_tools registry "$out" ldflags registry=github.com/distribution/distribution/v3/cmd/registry
