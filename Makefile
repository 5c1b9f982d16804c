# Everything a person does with this checkout. `make help` tells.
SHELL := /bin/bash
.DEFAULT_GOAL := help
CACHE := $(or $(MOORAGE_CACHE),$(HOME)/.cache/moorage)
export PATH := $(CURDIR)/.venv/bin:$(PATH):$(CACHE)/tools/bin
PYTEST := .venv/bin/python -m pytest
# The times of all tests are kept in the cache.
pytest = $(PYTEST) --durations=20 --durations-min=5 --junitxml=$(CACHE)/tests/$(1).xml

.PHONY: help
help: ## Show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: setup
setup: ## Install packages, tools and the Python environment (every target does it first)
	@./setup.sh

.PHONY: up
up: setup ## A real OpenStack, a Kubernetes cluster on it, an application and a database on that
	@moorage demo up

.PHONY: down
down: setup ## Stop everything; `make up` brings it back with its data
	@moorage demo down

.PHONY: reset
reset: setup ## Stop everything and leave nothing behind but the cache
	@moorage demo reset --yes

.PHONY: build
build: setup ## The Kubernetes programs, the node image, the examples' images (cached)
	@moorage release build
	@moorage image build
	@moorage demo build

# Words that may not come back: a reader from Kubernetes or OpenStack does not know them.
WORDS := (^|[^a-zA-Z])(anew|in vain|let (go|lie)|of no matter)([^a-zA-Z]|$$)

.PHONY: lint
lint: setup ## Style, types, the import rule, and words that may not come back
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	@! git grep -nIE '$(WORDS)' -- . ':!Makefile' || { echo "lint: say this in the field's words (docs/glossary.md)"; exit 1; }

.PHONY: test-unit
test-unit: setup ## The tests that need nothing: no root, no network, seconds
	$(call pytest,unit) -m unit -q -n 2 --dist loadfile

# Two lanes at once, each in a network namespace of its own: one has the cloud and its clusters, the other machines,
# images, file systems and programs.
.PHONY: test
test: build-and-check ## Every test but the fault campaigns; needs root
	@$(MAKE) --no-print-directory -j2 test-cloud test-machines
	@.venv/bin/python -m benchmarks.slowest_tests

.PHONY: build-and-check
build-and-check: setup
	@$(MAKE) --no-print-directory -j2 build check

.PHONY: check
check: lint
	@$(MAKE) --no-print-directory test-unit
	@PYTHONPATH=tests .venv/bin/python -m sanity

.PHONY: test-cloud
test-cloud: setup
	$(call pytest,cloud) -m "(e2e or cloud) and not faults"

.PHONY: test-machines
test-machines: setup
	$(call pytest,machines) -m "(contract or functional) and not (cloud or faults)"

.PHONY: test-faults
test-faults: build ## The long fault campaigns, a line for each fault; needs root
	$(call pytest,faults) -v -m faults

.PHONY: csi-sanity
csi-sanity: build ## The storage drivers' own suite against ours: all of it on Cinder and in a server, the controller in memory; needs root
	$(PYTEST) tests/contract/test_csi_sanity.py

.PHONY: bench
bench: setup ## Figures on the running local cloud (make up first)
	.venv/bin/python -m benchmarks
