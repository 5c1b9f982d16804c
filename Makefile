# Everything a person does with this checkout. `make help` tells.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(PATH):$(or $(MOORAGE_CACHE),$(HOME)/.cache/moorage)/tools/bin
PYTEST := .venv/bin/python -m pytest

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

.PHONY: lint
lint: setup ## Style, types, and the import rule
	ruff check .
	ruff format --check .
	mypy
	lint-imports

.PHONY: test-unit
test-unit: setup ## The tests that need nothing: no root, no network, seconds
	$(PYTEST) -m unit -q

.PHONY: test
test: lint test-unit build ## Every test; needs root
	$(PYTEST) -m "contract or functional or e2e"

.PHONY: csi-sanity
csi-sanity: build ## The storage drivers' own suite against ours: all of it on Cinder and in a server, the controller in memory; needs root
	$(PYTEST) tests/contract/test_csi_sanity.py

.PHONY: bench
bench: setup ## Figures on the running local cloud (make up first)
	.venv/bin/python -m benchmarks
