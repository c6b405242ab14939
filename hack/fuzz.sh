#!/usr/bin/env bash
# Runs each fuzz target of the project for a while. Usage: hack/fuzz.sh [TIME] [PATTERN]
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-10s}
pattern=${2:-^Fuzz}
failed=0
for folder in $(grep -rl --include='*_test.go' '^func Fuzz' pkg cmd internal | xargs -n1 dirname | sort -u); do
  for target in $(go test -list "$pattern" "./$folder" | grep '^Fuzz' || true); do
    echo "== $folder $target"
    if ! out=$(go test "./$folder" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 5s 2>&1); then
      # On a busy machine a worker of go test may not see the end in time; an input that fails is named.
      if grep -q 'Failing input\|panic:' <<<"$out" || ! grep -q 'context deadline exceeded' <<<"$out"; then
        echo "$out"
        failed=1
        continue
      fi
    fi
    grep 'execs:' <<<"$out" | tail -n 1 || true
  done
done
exit $failed
