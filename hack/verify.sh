#!/usr/bin/env bash
# Checks what tests do not: form, vet, static analysis, generated files, modules, known vulnerabilities. It changes no
# file in the work tree.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
check() {
	local what=$1
	shift
	echo "verify: $what"
	"$@" || { echo "verify: $what: FAILED" >&2; failed=1; }
}

formatted() {
	local files
	files=$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 gofmt -l)
	[[ -z "$files" ]] || { printf 'run gofmt -w on:\n%s\n' "$files" >&2; return 1; }
}

# Generates into a copy of the work tree, so that a stale file is reported and not silently replaced. (In a subshell,
# whose end removes the copy.)
generated() (
	copy=$(mktemp -d)
	trap 'rm -rf "$copy"' EXIT
	git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"
	mkdir -p "$copy/bin" && ln -s "$PWD/bin/tools" "$copy/bin/tools"
	(cd "$copy" && hack/generate.sh)
	for path in config/cluster/crd docs/reference; do
		diff -r "$path" "$copy/$path" || { echo "run make generate and commit $path" >&2; exit 1; }
	done
)

tidy() {
	local module
	for module in . hack/alerts hack/controlplane hack/registry hack/tools; do
		(cd "$module" && go mod tidy -diff) || return 1
	done
}

# The vulnerability database is on a server of its own. Without the server there is no comparison.
vulnerabilities() {
	local out status=0
	out=$(bin/tools/govulncheck ./... 2>&1) || status=$?
	if [[ $status -ne 0 ]] && grep -qiE 'fetching vulnerabilities|dial tcp|no such host|connection refused|Forbidden|403|timeout' <<<"$out" && ! grep -q '^Vulnerability #' <<<"$out"; then
		echo "verify: the vulnerability database cannot be reached from here; skipped"
		return 0
	fi
	[[ $status -eq 0 ]] || printf '%s\n' "$out"
	return "$status"
}

check "gofmt" formatted
check "go vet" go vet ./...
check "staticcheck" bin/tools/staticcheck ./...
check "generated files" generated
check "go mod tidy" tidy
check "govulncheck" vulnerabilities
exit "$failed"
