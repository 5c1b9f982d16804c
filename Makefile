# All tasks of a developer; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
CACHE := $(or $(MOORAGE_CACHE),$(HOME)/.cache/moorage)
export PATH := $(CURDIR)/.venv/bin:$(PATH):$(CACHE)/tools/bin
PYTEST := .venv/bin/python -m pytest
# The durations of all tests are kept in the cache.
pytest = $(PYTEST) --durations=20 --durations-min=5 --junitxml=$(CACHE)/tests/$(1).xml

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: setup
setup: ## Install packages, tools and the Python environment (every target does it first)
	@./setup.sh

.PHONY: up
up: setup ## Start a real OpenStack, a Kubernetes cluster, an application and a database
	@moorage demo up

.PHONY: down
down: setup ## Stop everything; `make up` starts it again with its data
	@moorage demo down

.PHONY: reset
reset: setup ## Stop everything and delete everything except the cache
	@moorage demo reset --yes

.PHONY: build
build: setup ## Build the Kubernetes programs, the node image, the examples' images (cached)
	@moorage release build
	@moorage image build --for server
	@moorage demo build

# Words that readers from Kubernetes or OpenStack do not know, or that say little.
WORDS := (^|[^a-zA-Z])(anew|whose|told|in vain|let (go|lie)|at it|by itself|of itself|no matter|take[sn]? away|once more|hangs? on|last words|for ever|wishes|belongings?|trouble|mend(s|ed|ing)?|nobody|somebody|on its way)([^a-zA-Z]|$$)
# Go sources are inputs of the release: a changed comment would build all programs again.
WORDS_IN := . ':!Makefile' ':!uv.lock' ':!kubernetes' ':!examples/postgres/root/etc' ':!*.proto' ':!*_pb2*'

.PHONY: lint
lint: setup ## Check style, types, import rules and words
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	@! git grep -nIE '$(WORDS)' -- $(WORDS_IN) || { echo "lint: use plain English and the field's terms instead"; exit 1; }

.PHONY: test-unit
test-unit: setup ## Run the unit tests, which need neither root nor network (one minute)
	$(call pytest,unit) -m unit -q -n 2 --dist loadfile

# Two lanes run in parallel, each in its own network namespace: one for the cloud and its clusters, one for machines,
# images, file systems and programs.
.PHONY: test
test: build-and-check ## Run all tests except the fault campaigns; needs root
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
test-faults: build ## Run the long fault campaigns, with a line for each fault; needs root
	$(call pytest,faults) -v -m faults

.PHONY: csi-sanity
csi-sanity: build ## Run the CSI test suite: on Cinder and in a server, the controller in memory; needs root
	$(PYTEST) tests/contract/test_csi_sanity.py

.PHONY: bench
bench: setup ## Run the benchmarks on the running local cloud (make up first)
	.venv/bin/python -m benchmarks
