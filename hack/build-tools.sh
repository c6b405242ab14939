# Read by the build.sh of each tool module, with the module as working folder. Leaves every tool as a binary in a folder.
#
#   build_tools WHAT OUT LDFLAGS NAME=PACKAGE...
#
# WHAT names the group in the cache and in messages; LDFLAGS is a function that prints linker flags, run only
# when something is compiled. The binaries are kept in a cache that outlives the clone, under a key made of what they are
# built from, so that a second clone or a CI run on the same machine copies instead of compiling for minutes.
build_tools() {
	local what=$1 out=$2 ldflags=$3
	shift 3

	local key
	key=$({ cat go.mod go.sum; declare -f "$ldflags"; printf '%s\n' "$@"; go env GOVERSION GOOS GOARCH; } | sha256sum | cut -c1-16)
	mkdir -p "$out"
	if [[ "$(cat "$out/.key" 2>/dev/null)" == "$key" ]]; then
		return
	fi

	local cache=${XDG_CACHE_HOME:-$HOME/.cache}/syncer/$what/$key tool
	if [[ ! -d "$cache" ]]; then
		compile "$cache" "$($ldflags)" "$@"
	fi
	for tool in "$@"; do
		ln -f "$cache/${tool%%=*}" "$out/" 2>/dev/null || cp -f "$cache/${tool%%=*}" "$out/"
	done
	echo "$key" >"$out/.key"
}

# compile builds into a folder of its own and renames it when everything is there, so that an interrupted build leaves
# no half of a cache and two builds at once do not meet.
compile() {
	local cache=$1 flags=$2 tool
	shift 2
	mkdir -p "$(dirname "$cache")"
	partial=$(mktemp -d "$cache.XXXXXX")
	trap 'rm -rf "$partial"' EXIT
	chmod 755 "$partial"
	echo "building in $cache, once:" >&2
	for tool in "$@"; do
		echo "  ${tool%%=*}" >&2
		CGO_ENABLED=0 go build -trimpath -ldflags "$flags" -o "$partial/${tool%%=*}" "${tool#*=}"
	done
	if ! mv -T "$partial" "$cache" 2>/dev/null && [[ ! -d "$cache" ]]; then
		echo "moving $partial to $cache: no cache folder" >&2
		return 1
	fi
}
