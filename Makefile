# What is done to the repository; what is done with images is scripts/toolsmith-image, to which some of it leads.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON := .venv/bin/python
TOOLSMITH := ./scripts/toolsmith-image
# Every shell script of the repository, whatever its name; those that run in the guest too.
SHELL_SCRIPTS = $$(grep --recursive --files-with-matches --binary-files=without-match --max-count=1 \
	--extended-regexp '^\#!.*/(env )?(ba|da)?sh' build scripts .ci .github)

# A build or a boot needs one processor and 2 GiB most of the time. In the order of tests/conftest.py.
SIDE_BY_SIDE = --numprocesses 2 --dist loadfile --no-loadscope-reorder

# After these zizmor, which passes over a workflow that does not follow the schema.
SCHEMA = .venv/bin/check-jsonschema --builtin-schema
ISSUE_FORMS = $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))

.PHONY: help
help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what is missing on this machine for the demo
	@./scripts/setup.sh

.PHONY: setup-lint
setup-lint: ## install what checks the sources and runs the unit tests, without root
	@./scripts/setup.sh --lint

.PHONY: setup-tests
setup-tests: ## install what is missing, the browser that the tests need included
	@./scripts/setup.sh --tests

.PHONY: demo
demo: setup ## bootstrap a Debian base, build an image from it and boot-test it
	@$(TOOLSMITH) demo

.PHONY: rehearse
rehearse: ## publish and roll out what is in dist/, against a GitHub on this machine; needs no root and no token
	@./scripts/setup.sh --rehearsal
	@$(TOOLSMITH) rehearse

.PHONY: generations
generations: setup ## the demo with each generation of Debian: older than Ubuntu 22.04, and newer
	@for image in bullseye bookworm trixie; do $(TOOLSMITH) demo --image $$image --output dist/$$image; done

.PHONY: image
image: setup ## build the release image from the Ubuntu cloud image
	@$(TOOLSMITH) build

.PHONY: test
test: setup-tests lint ## run all checks and all tests
	$(PYTHON) -m pytest $(SIDE_BY_SIDE) tests/unit tests/integration

.PHONY: lint
lint: setup-lint ## check style, types and shell scripts
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	$(TOOLSMITH) check-roll-out
	.venv/bin/shellcheck $(SHELL_SCRIPTS)
	$(SCHEMA) vendor.github-workflows .github/workflows/*.yml
	$(SCHEMA) custom.github-workflows-require-timeout .github/workflows/*.yml
	$(SCHEMA) vendor.github-actions .github/actions/*/action.yml
	$(SCHEMA) vendor.dependabot .github/dependabot.yml
	$(SCHEMA) vendor.github-issue-forms $(ISSUE_FORMS)
	.venv/bin/check-jsonschema --schemafile build/images/definition.schema.json build/images/*.toml build/images/common/*.toml
	PATH=$$PWD/.venv/bin:$$PATH .venv/bin/actionlint
	.venv/bin/zizmor --quiet --offline --strict-collection --persona pedantic .

.PHONY: unit
unit: setup-lint ## run the fast tests
	$(PYTHON) -m pytest tests/unit

.PHONY: search
# Chosen once, so that the seed in the command that make shows is the one that was drawn from.
search: SEED := $(or $(SEED),$(shell echo $$RANDOM))
search: setup-lint ## draw other examples than the tests always do, and many more; SEED=... draws the same again
	$(PYTHON) -m pytest tests/unit -m hypothesis --hypothesis-profile searching --hypothesis-seed $(SEED)

.PHONY: full
full: setup-tests ## run the tests that are left to the night: every request of a release through every fault, ...
	$(PYTHON) -m pytest $(SIDE_BY_SIDE) tests/integration --full -m full

.PHONY: integration
integration: setup-tests ## run the tests that use real libguestfs, QEMU and Chromium
	$(PYTHON) -m pytest $(SIDE_BY_SIDE) tests/integration

.PHONY: bench
bench: setup ## measure the build against the classic recipe
	@$(TOOLSMITH) bench

.PHONY: catalogue
catalogue: ## build the release catalogue, dist/catalogue/index.html
	@./scripts/setup.sh --python
	@$(TOOLSMITH) catalogue

.PHONY: doctor
doctor: ## show whether this machine can build, and what to do where not; installs nothing
	@$(TOOLSMITH) doctor

.PHONY: lock
# The longest first, with the newest of everything; the others are parts of it.
COMPILE = env --unset=UV_INDEX --unset=UV_DEFAULT_INDEX --unset=UV_FIND_LINKS --unset=UV_EXTRA_INDEX_URL --unset=UV_INDEX_URL \
	$(PYTHON) -m uv pip compile --no-config --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' pyproject.toml
lock: setup-lint ## bring the locks, requirements*.lock, up to date with pyproject.toml
	@$(COMPILE) --group rehearsal --group dev --output-file requirements-dev.lock
	@$(COMPILE) --group rehearsal --constraint requirements-dev.lock --output-file requirements-rehearsal.lock
	@$(COMPILE) --constraint requirements-dev.lock --output-file requirements.lock
	@./scripts/setup.sh --lint

.PHONY: generated
generated: setup-lint ## write anew what is made of other files: docs/validation.md and two schemas
	@$(PYTHON) -m ci.boot.checks.page
	@$(PYTHON) -m ci.image.definition
	@$(PYTHON) -m ci.records.release

.PHONY: clean
clean: ## remove what builds and tests leave; not the environment, and not the cache: toolsmith-image clean
	rm -rf dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
