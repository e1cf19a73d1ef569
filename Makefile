# Each target sets up what it needs: Python >= 3.11 with venv, make and git are enough.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PACKAGES := producer/pyproject.toml worker/pyproject.toml

# An environment that was copied here from another folder, or whose Python is gone, is made anew.
IS_INTACT := [ -x $(BIN)/python ] && [ "$$(cat $(VENV)/.folder 2>/dev/null)" = "$(CURDIR)" ]
$(shell $(IS_INTACT) || rm -f $(VENV)/.demo $(VENV)/.dev $(VENV)/.lock)

# A name can be on the PATH and still not run (a version manager's stub), so each is tried.
CANDIDATES := python3.13 python3.12 python3.11 python3 python
IS_USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

.PHONY: help
help:  ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: $(VENV)/.demo  ## Run the demonstration: real webhooks through real jobs, in under half a minute
	@$(BIN)/python -m examples.demo

.PHONY: test
test: $(VENV)/.dev  ## Run all tests but the slow ones; more with ARGS, as in: make test ARGS="-k filters"
	@$(BIN)/python -m pytest -q -n 3 -m "not slow" $(ARGS)

.PHONY: test-fast
test-fast: $(VENV)/.dev  ## Run what tests/fast.txt lists, in under a minute: units, scripts, each path once
	@$(BIN)/python -m pytest -q -n 3 -m "not slow" @tests/fast.txt $(ARGS)

.PHONY: test-slow
test-slow: $(VENV)/.dev  ## Run the tests that `make test` leaves out: longer outages, more load, more kills
	@$(BIN)/python -m pytest -m slow --timeout 600 $(ARGS)

.PHONY: chaos
chaos: $(VENV)/.dev  ## Inject faults of every kind under load and check the history; SEED=4 DURATION=60 RATE=60 DOCS=1
	@$(BIN)/python -m tests.faults.chaos $(if $(SEED),--seed $(SEED)) $(if $(DURATION),--duration $(DURATION)) \
		$(if $(RATE),--rate $(RATE)) $(if $(DOCS),--docs)

.PHONY: inject
inject: $(VENV)/.dev  ## Let each function inside a worker fail, in turn, and check what came of it; PLACE='lease:*' KIND=never-once
	@$(BIN)/python -m tests.faults.inside $(if $(PLACE),--place '$(PLACE)') $(if $(KIND),--kind "$(KIND)") $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.dev  ## Feed the readers of stored bytes what a fuzzer makes up; DURATION=60
	@$(BIN)/python -c "import atheris" 2>/dev/null || $(PIP) install --only-binary :all: "atheris>=3" || \
		{ echo "atheris has no package for $$($(BIN)/python -V) here; nothing was fuzzed" >&2; exit 1; }
	@mkdir -p .fuzz
	@$(BIN)/python -m tests.fuzz -verbosity=0 -print_final_stats=1 -max_total_time=$(or $(DURATION),60) \
		-artifact_prefix=.fuzz/ $(ARGS) .fuzz/corpus

.PHONY: check
check: $(VENV)/.dev  ## Lint, check the format and the types
	@echo "ruff check"; $(BIN)/ruff check
	@echo "ruff format --check"; $(BIN)/ruff format --check
	@echo "mypy"; $(BIN)/python -m mypy
	@echo "mypy and basedpyright, as users have them"; $(BIN)/python -m tests.typing

.PHONY: house
house: $(VENV)/.dev  ## Count rooms, floors, arrows, functions and lines of both packages
	@$(BIN)/python -m tests.support.house

.PHONY: docs-cli
docs-cli: $(VENV)/.dev  ## Write docs/cli.md from the commands' own help
	@$(BIN)/python -m tests.support.cli_page

.PHONY: docs-reference
docs-reference: $(VENV)/.dev  ## Write docs/reference.md from the docstrings of both packages
	@$(BIN)/python -m tests.support.reference_page

.PHONY: json-shapes
json-shapes: $(VENV)/.dev  ## Write tests/data/json_shapes.json from what commands print with --json
	@$(BIN)/python -m tests.support.json_shapes

.PHONY: matrix
matrix: $(VENV)/.dev  ## Run the tests on every server and Python; SERVERS="redis-6.2 redis-8.10" PYTHONS="3.12 lowest"
	@$(BIN)/python -m tests.matrix --servers "$(SERVERS)" --pythons "$(PYTHONS)" $(ARGS)

# Numbers of a machine at work elsewhere say nothing: let it be quiet. SCALE=0.1 ROUNDS=1 for a quick look.
.PHONY: bench
bench: environment  ## Measure Headrace beside its peers; ONLY="headrace taskiq" SCALE=0.1 ROUNDS=1 DOCS=1
	@$(BIN)/python -m bench compare $(BENCH_OPTIONS) $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: bench-headrace
bench-headrace: environment  ## Measure Headrace alone; ONLY="sending idle" SCALE=0.1 DURATION=60 SERVER=/usr/bin/redis-server DOCS=1
	@$(BIN)/python -m bench alone $(BENCH_OPTIONS) $(if $(DURATION),--duration $(DURATION))

.PHONY: bench-beside
bench-beside: environment  ## Measure drained runs beside those of another commit; COMMIT=HEAD~1 ROUNDS=9
	@$(BIN)/python -m bench beside --commit "$(or $(COMMIT),HEAD)" $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(SCALE),--scale $(SCALE)) $(if $(SERVER),--server $(SERVER))

BENCH_OPTIONS = $(if $(ONLY),--only "$(ONLY)") $(if $(SCALE),--scale $(SCALE)) $(if $(SERVER),--server $(SERVER)) $(if $(DOCS),--docs)

.PHONY: requirements
requirements: $(VENV)/.lock  ## Pin the newest versions that the .in and pyproject files allow
	@echo "Pinning requirements/*.txt"
	@$(COMPILE) requirements/lock.in -o requirements/lock.txt
	@$(COMPILE) $(PACKAGES) requirements/dev.in --all-extras -o requirements/dev.txt
	@$(COMPILE) $(PACKAGES) --all-extras --resolution lowest-direct -o requirements/lowest.txt
	@$(COMPILE) $(PACKAGES) requirements/demo.in --extra dev -c requirements/dev.txt -o requirements/demo.txt
	@$(COMPILE) $(PACKAGES) bench/requirements/headrace.in -c requirements/dev.txt -o bench/requirements/headrace.txt
	@for peer in $(PEERS); do $(COMPILE) bench/requirements/$$peer.in -o bench/requirements/$$peer.txt || exit; done
	@$(subst 3.11,3.12,$(COMPILE)) bench/requirements/ardiq.in -o bench/requirements/ardiq.txt

COMPILE = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-strip-extras --no-emit-index-url --no-emit-find-links --no-emit-package headrace \
	--custom-compile-command "make requirements"
PEERS := taskiq saq arq streaq dramatiq celery huey rq

.PHONY: clean
clean:  ## Remove the environment, caches and what was built
	@rm -rf $(VENV) .bench .chaos .fuzz .inject .matrix .headrace .mypy_cache .pytest_cache .ruff_cache .hypothesis htmlcov
	@rm -rf .coverage .coverage.* producer/dist worker/dist
	@find producer worker tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# The environment. A stamp is younger than all that was installed for it; one that was cut short has none.

$(VENV)/.demo: requirements/demo.txt $(PACKAGES) | environment
	$(call install,requirements/demo.txt)
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(PACKAGES) | environment
	$(call install,requirements/dev.txt)
	@touch $@ $(VENV)/.demo

$(VENV)/.lowest: requirements/lowest.txt $(VENV)/.dev
	@echo "Installing requirements/lowest.txt (once)"
	@$(PIP) install --no-deps --require-hashes -r requirements/lowest.txt
	@touch $@

$(VENV)/.lock: requirements/lock.txt | environment
	@echo "Installing requirements/lock.txt"
	@$(PIP) install --no-deps --require-hashes -r requirements/lock.txt
	@touch $@

define install
	@echo "Installing $(1) (once)"
	@$(PIP) install --no-deps --require-hashes -r $(1)
	@$(PIP) install --no-deps --no-build-isolation -e producer -e worker
endef

.PHONY: environment
environment:
	@if $(IS_INTACT); then exit 0; fi; \
	if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; else set -- $(CANDIDATES); fi; \
	for python in "$$@"; do \
		if "$$python" -c '$(IS_USABLE)' >/dev/null 2>&1; then \
			echo "Creating $(VENV) with $$("$$python" -V) ($$python)"; \
			"$$python" -m venv --clear $(VENV) && echo "$(CURDIR)" >$(VENV)/.folder; exit; \
		fi; \
	done; \
	echo "Headrace needs Python 3.11 or later with its venv module, and found none that runs as: $$*." >&2; \
	echo "Install one (Debian and Ubuntu: python3-venv), or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1
