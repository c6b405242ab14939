#!/usr/bin/env bash
# Writes every generated file: the CRD from the Go types, and the reference pages from the commands and the types.
set -euo pipefail
cd "$(dirname "$0")/.."

bin/tools/controller-gen crd paths=./pkg/api/... output:crd:dir=config/cluster/crd
go test ./cmd/syncer -run '^TestReference$' -count=1 -update
go test ./pkg/daemon -run "^TestMetricsReference$" -count=1 -update
