# The commands of the README. Needs Python 3.11 or newer and make; everything else is installed into .venv and caches.
PYTHON ?= python3
BIN := .venv/bin
STACK := local
CLI := $(BIN)/python -m tools.pulumi_cli
# One shell a recipe, so that the environment of the Pulumi CLI holds for all its lines.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help up down preview env check test bench clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

up: .venv/.local ## Bring the local fleet up, or bring it in line with stacks/Pulumi.local.yaml
	@eval "$$($(CLI) env --stack $(STACK))"
	$(BIN)/python -m tools.fetch_weights stacks/Pulumi.$(STACK).yaml
	pulumi stack select --create $(STACK) >/dev/null
	pulumi up --yes --refresh --stack $(STACK)
	echo
	echo "The fleet is up: $$(pulumi stack output endpoint --stack $(STACK))"
	echo "Try:  $(BIN)/$$(pulumi stack output try --stack $(STACK))"

preview: .venv/.local ## Show what `make up` would change
	@eval "$$($(CLI) env --stack $(STACK))"
	pulumi stack select --create $(STACK) >/dev/null
	pulumi preview --diff --stack $(STACK)

down: .venv/.local ## Take the local fleet away; caches and logs stay
	@eval "$$($(CLI) env --stack $(STACK))"
	pulumi stack select --create $(STACK) >/dev/null
	pulumi destroy --yes --stack $(STACK)
	echo
	echo "The fleet is gone. Logs are in .llmfleet/$(STACK)/logs."

env: .venv/.local ## Print the environment for typing pulumi yourself: eval "$(make env)"
	@$(CLI) env --stack $(STACK)

check: .venv/.dev ## Format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: .venv/.dev check ## All checks and all tests
	eval "$$($(CLI) env --stack $(STACK))"
	$(BIN)/pytest -n 2 -q

bench: .venv/.dev ## Measure gateway, queue and worker against LiteLLM, in one run
	$(BIN)/python -m benchmarks.run

clean: ## Remove .venv and the checkout's caches; the user's cache stays
	rm -rf .venv .cache .ruff_cache .import_linter_cache

.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "llmfleet needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Name another one: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Making .venv with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip
	@touch $@

.venv/.local: .venv/.python pyproject.toml
	@echo "Installing what the local fleet needs"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[local]'
	@touch $@

.venv/.dev: .venv/.local
	@echo "Installing what the tests need"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
