# Every target works from a clean clone with Go alone; `test` also runs the Docker tests where an engine answers,
# and fails without one when CI=true.
GO         ?= go
LINT        = $(GO) tool -modfile=ci/tools/go.mod golangci-lint
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME   ?= 20000x
BENCHTIME  ?= 1s

.PHONY: all build test lint bench fuzz clean

all: build test lint

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X github.com/assay-project/assay/cli.version=$(VERSION)" -o bin/assay ./cmd/assay

# Go hides why a test was skipped; untested.sh says it last, so that nobody overlooks it.
test: build
	$(GO) vet ./...
	$(GO) test -race -timeout 20m ./...
	cd ci/outside && $(GO) vet ./... && $(GO) test -race -timeout 20m ./...
	@ci/untested.sh

# The bubble packages must also build for wasip1: nothing in them may reach around what they are handed.
lint:
	GOOS=wasip1 GOARCH=wasm $(GO) build ./broker/... ./histories/... ./checker/... ./workloads/... ./nemesis/... ./harness ./harness/cluster/sim
	$(LINT) run ./...
	cd ci/outside && $(GO) tool -modfile=../tools/go.mod golangci-lint run ./...

bench:
	$(GO) test -run '^$$' -bench . -benchtime $(BENCHTIME) -benchmem ./...

# One short run of every fuzz target; ci/fuzz.sh finds them.
fuzz:
	ci/fuzz.sh $(FUZZTIME)

clean:
	rm -rf bin
