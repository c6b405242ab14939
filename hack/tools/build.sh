#!/usr/bin/env bash
# Leaves the tools that check and generate (controller-gen, staticcheck, govulncheck) in the folder that $1 names.
# The first time takes about two minutes on two cores.
set -euo pipefail

out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")"
source ../build-tools.sh

ldflags() { echo "-s -w"; }

build_tools tools "$out" ldflags \
	controller-gen=sigs.k8s.io/controller-tools/cmd/controller-gen \
	staticcheck=honnef.co/go/tools/cmd/staticcheck \
	govulncheck=golang.org/x/vuln/cmd/govulncheck
