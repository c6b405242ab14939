# `make help` lists the targets. Everything that a fresh machine with Go, git, make and a C compiler lacks is built or
# installed by them.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# What `syncer install --daemon` runs where nobody says otherwise.
IMAGE ?=
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.defaultImage=$(IMAGE)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: demo
demo: build parts ## play syncer on real parts; SCRIPT=1 plays a story by itself
	go run ./hack/demo $(if $(SCRIPT),-script)

.PHONY: soak
soak: build parts ## kill syncer KILLS times, then MINUTES of faults; SEED repeats one
	go run ./hack/soak -kills $(or $(KILLS),5) -minutes $(or $(MINUTES),1) $(if $(SEED),-seed $(SEED))

.PHONY: bench
bench: build parts ## measure syncer with PIPELINES pipelines, and write docs/benchmarks.md
	go run ./hack/bench -pipelines $(or $(PIPELINES),34) -requests -write docs/benchmarks.md $(BENCHFLAGS)

.PHONY: scale
scale: build parts ## measure syncer with 3 real clusters and SIMULATED ones, for docs/scale.md
	go run ./hack/bench -simulated $(or $(SIMULATED),300) -commits 10 -rest 30s -requests $(BENCHFLAGS)

.PHONY: bench-check
bench-check: build parts ## fail where syncer is much slower or asks more than it should
	go run ./hack/bench -only raw,rest,commit,every -rest 20s -check $(BENCHFLAGS)

.PHONY: profile
profile: build parts ## write profiles of syncer to FOLDER (.profiles), with PIPELINES pipelines
	go run ./hack/bench -only profile,restart -modes $(or $(MODES),settled) -pipelines $(or $(PIPELINES),34) -profile $(or $(FOLDER),.profiles)

.PHONY: bench-rooms
bench-rooms: ## run the Go benchmarks of the rooms that need no API server, briefly
	go test -run '^$$' -bench . -benchtime $(or $(BENCHTIME),0.2s) ./pkg/drift ./pkg/origin ./pkg/pin ./pkg/plan ./pkg/render ./pkg/renderers ./pkg/server ./pkg/target ./pkg/view ./pkg/watch

.PHONY: test
test: parts debian ## unit, API-server and end-to-end tests with the race detector
	GORACE=atexit_sleep_ms=0 SYNCER_BIN=$(CURDIR)/bin go test -race -timeout 45m ./...
	cd hack/alerts && go test -count=1 ./... # the test cache does not look at files of another module

.PHONY: fuzz
fuzz: ## give each fuzz target FUZZTIME (10s) of new inputs; FUZZ=NAME picks some
	hack/fuzz.sh $(or $(FUZZTIME),10s) $(FUZZ)

.PHONY: verify
verify: tools ## gofmt, vet, staticcheck, generated files, go mod tidy, known vulnerabilities
	hack/verify.sh

.PHONY: generate
generate: tools ## write the files that are generated from code
	hack/generate.sh

.PHONY: build
build: ## build bin/syncer
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/syncer ./cmd/syncer

.PHONY: parts
parts: controlplane registry ## build what tests and demo run against

.PHONY: controlplane
controlplane: ## build the Kubernetes control plane into bin/controlplane
	@hack/controlplane/build.sh bin/controlplane

.PHONY: registry
registry: ## build an image registry into bin/registry
	@hack/registry/build.sh bin/registry

.PHONY: tools
tools: ## build controller-gen, staticcheck and govulncheck into bin/tools
	@hack/tools/build.sh bin/tools

.PHONY: debian
debian: ## install the Debian packages that tests need
	@hack/debian.sh

.PHONY: clean
clean: ## delete what was built here; caches stay
	rm -rf bin .demo .soak .profiles
