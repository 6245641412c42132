# What can be done with wattle. Two commands matter to a newcomer:
#
#     make run     a simulated household with its dashboard
#     make test    all tests
#
# Everything that is made lies in bin/ and .bench/, which git ignores.

SHELL    := /bin/bash
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT   ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
LDFLAGS  := -X main.version=$(VERSION) -X main.commit=$(COMMIT)
BUILD    := go build -trimpath -buildvcs=false
WORK     := $(CURDIR)/.bench

# Tools at fixed versions, built by the Go command, apart from go.mod.
GOFUMPT     := $(WORK)/tools/gofumpt-v0.12.0/gofumpt
STATICCHECK := $(WORK)/tools/staticcheck-v0.8.2/staticcheck
# Package comments and the form of other comments are checked by
# cmd/wattle/lint_test.go; names of the outside world keep their own case.
CHECKS      := all,-ST1000,-ST1003,-ST1016,-ST1020,-ST1021,-ST1022

FUZZTIME ?= 5s
COUNT    ?= 10
SOAK     ?= 60
READINGS ?= 20000000
TIMEOUT  ?= 20m

.DEFAULT_GOAL := build
.PHONY: help build run deps go test race lint fmt fuzz bench eval cover cross foreign \
        check nightly soak clean

help:           ## say what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: go       ## the program, bin/wattle
	CGO_ENABLED=0 $(BUILD) -ldflags '$(LDFLAGS)' -o bin/wattle ./cmd/wattle

run: build      ## a simulated household and its dashboard, on this machine alone
	bin/wattle serve --demo

deps:           ## name the programs that tests need and are missing; install them if allowed
	@.ci/deps

go:
	@.ci/go

test: deps go   ## all tests, with the race detector, in random order
	@.ci/gotest -timeout $(TIMEOUT) ./...

race: deps go   ## the same, and no way around the race detector
	CGO_ENABLED=1 go test -race -shuffle=on -timeout $(TIMEOUT) ./...

lint: deps go $(GOFUMPT) $(STATICCHECK) ## form and suspicious code
	@.ci/lint $(GOFUMPT) $(STATICCHECK) '$(CHECKS)'

fmt: go $(GOFUMPT) ## put all Go code into gofumpt's form
	$(GOFUMPT) -w $(shell git ls-files '*.go')

fuzz: go        ## each fuzz target for FUZZTIME (5s)
	@.ci/fuzz $(FUZZTIME)

bench: deps go  ## all benchmarks into .bench/, and the table of a store of READINGS (20 million; ten years: 947000000)
	@mkdir -p $(WORK)
	go test -p 1 -run '^$$' -bench . -benchmem -timeout 60m ./... | tee $(WORK)/bench.txt
	go run ./cmd/wattle-bench -readings $(READINGS) $(if $(DATA),-data '$(DATA)') | tee $(WORK)/table.txt

eval: build     ## import DATA=… and compare the energy of each device with a second opinion
	@test -n '$(DATA)' || { echo 'make eval: name the folder with the data, DATA=…'; exit 2; }
	python3 .ci/eval.py --wattle bin/wattle --data '$(DATA)'

cover: deps go  ## which statements the tests reach
	@mkdir -p $(WORK)
	go test -timeout $(TIMEOUT) -coverpkg=./... -coverprofile=$(WORK)/cover.out ./...
	go tool cover -func=$(WORK)/cover.out | tail -n 1

cross: deps go  ## bin/wattle-linux-{amd64,arm64,armv7,armv6}, static and stripped
	@.ci/cross '$(LDFLAGS)'

foreign: deps cross ## start the arm64 and armv6 programs under QEMU
	@.ci/foreign arm64 armv6

check: lint test cross foreign fuzz ## all that must hold before a change lands

nightly: deps go soak ## what takes hours: long fuzzing, many repeats, 32 bits, a soak
	.ci/fuzz 10m
	CGO_ENABLED=1 go test -race -shuffle=on -count=$(COUNT) -timeout 5h ./...
	CGO_ENABLED=0 GOARCH=386 go test -shuffle=on -timeout 1h ./...

soak: build     ## run the demo for SOAK minutes (60) and watch its memory
	@.ci/soak bin/wattle $(SOAK)

clean:          ## remove all that was made
	rm -rf bin .bench

$(GOFUMPT):
	@mkdir -p $(@D)
	GOBIN=$(@D) GOFLAGS= CGO_ENABLED=0 go install mvdan.cc/gofumpt@v0.12.0

$(STATICCHECK):
	@mkdir -p $(@D)
	GOBIN=$(@D) GOFLAGS= CGO_ENABLED=0 go install honnef.co/go/tools/cmd/staticcheck@v0.8.2
