# The commands of a newcomer and of CI. `make run` and `make test` set up whatever they need.
SHELL := /bin/bash
PYTHON ?= $(shell for p in /usr/bin/python3 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test lab lint bench engine engine-archive clean venv venv-test lock help
# Steps print what they do as they do it, and wait for one another's locks: side by side they'd only be unreadable.
.NOTPARALLEL:
help: ; @sed -n 's/^## //p' Makefile

## make run      set everything up and start the appliance with a demo company
## make test     set everything up and run every test
## make lab      a centre and two branches on this machine, with calls; harm lines by: centralino lab impair (CALLS=3, PORT=8099)
## make lint     ruff, mypy
## make bench    run the benchmarks, one JSON line each (NAME=x for one)
## make engine   build the engine root (cached); ARCHIVE=file builds it without a mirror
## make engine-archive  pack the engine root's packages into ARCHIVE (build/engine.tar)
## make lock     renew the locked dependencies
## make clean    remove what was built; var/ (your data, and the engine's packages) stays

CATALOGUES := $(wildcard appliance/locale/*/LC_MESSAGES/*.po)
$(BIN)/.locked: requirements.lock pyproject.toml $(CATALOGUES)
	@echo "== Python environment"
	@# Interrupted, venv leaves a python without pip: only one that has both is used.
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@tools/pip-install $(BIN)/python requirements.lock
	@$(BIN)/pip install -qq --no-deps --no-build-isolation --editable .
	@tools/translations compile
	@touch $@
$(BIN)/.locked-test: requirements-test.lock $(BIN)/.locked
	@echo "== Python packages of the tests"
	@tools/pip-install $(BIN)/python requirements-test.lock
	@touch $@
ASSETS := appliance/console/portal/assets
HTMX := appliance/console/portal/static/vendor/htmx.js
$(HTMX): $(ASSETS)/package-lock.json $(ASSETS)/npm.lock $(BIN)/.locked
	@tools/portal-assets
	@touch $@
# What the product needs; what its tests and developers need besides.
venv: $(BIN)/.locked $(HTMX)
venv-test: $(BIN)/.locked-test $(HTMX)

lint: venv-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

COMPILE := $(VENV)/tools/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
lock:
	@test -x $(VENV)/tools/bin/uv || ($(PYTHON) -m venv $(VENV)/tools && $(VENV)/tools/bin/pip install -qq uv)
	@$(COMPILE) --all-extras pyproject.toml -o requirements-test.lock
	@$(COMPILE) --constraint requirements-test.lock pyproject.toml -o requirements.lock

# ARCHIVE=file: without a mirror, from that archive
engine: venv
	@$(BIN)/python -m appliance.engine.root build $(if $(ARCHIVE),--from-archive $(ARCHIVE))
engine-archive: venv
	@$(BIN)/python -m appliance.engine.root archive $(or $(ARCHIVE),build/engine.tar)

clean:
	rm -rf $(VENV) $(dir $(HTMX)) .cache build .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: host-run host-test
host-run: ; @tools/host-packages run
host-test: ; @tools/host-packages test

run: host-run engine
	@exec $(BIN)/centralino run $(if $(ADDRESS),--address $(ADDRESS))

# Two workers share out what judges no time; all other tests run one after the other at the end (tests/distribution.py).
test: host-test venv-test engine lint
	@tools/as-root "tests make networks of their own and read what is on the wire" $(BIN)/python -m pytest -n 2

# It makes networks and opens raw sockets, so it is root's.
lab: host-test venv-test engine
	@tools/as-root "the lab makes networks of its own" $(BIN)/python -m lab $(if $(CALLS),--calls $(CALLS)) $(if $(PORT),--port $(PORT))

bench: host-test venv-test
	@$(BIN)/python -m appliance.engine.root build >&2
	@$(BIN)/python -m bench $(NAME)

## make fresh-machine   both README commands in an empty Debian root (SUITE=bookworm or trixie; needs root)
.PHONY: fresh-machine
SUITE ?= bookworm
fresh-machine: ; @tools/fresh-machine $(SUITE)
