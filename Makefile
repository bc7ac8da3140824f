# Everything one does here often; `make help` lists it. Needs only python3 with venv.

VENV ?= .venv
BIN := $(VENV)/bin
N ?= 30
SEED ?=

.DEFAULT_GOAL := help
.PHONY: help run demo test quick units snippets packages check lint format docs lock bench pictures browsers plans faults hostile compose clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/.installed: pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/pip install -e '.[embedded,test]'
	@touch $@

run: $(BIN)/.installed ## Serve with the config.json here (or COLLAB_CONFIG)
	$(BIN)/collab-server serve

demo: $(BIN)/.installed ## Start three nodes, their databases, a load balancer and a page to try them
	$(BIN)/collab-server demo

test: $(BIN)/.installed ## Run all tests
	$(BIN)/pytest

quick: $(BIN)/.installed ## Run the unit tests and the checks, side by side: twenty seconds
	@$(MAKE) --no-print-directory --jobs=5 --output-sync=target units lint

# Parts of about the same length, as processes of their own: a worker of pytest-xdist would read all tests to run some of
# them. Some tests wait more than they compute, so there are more parts than processors.
UNITS := units-a-b units-c-k units-l-v units-w-z
.PHONY: $(UNITS)

units: $(UNITS) ## Run the unit tests; one of them looks whether the documents are fresh

$(UNITS): units-%: $(BIN)/.installed
	@$(BIN)/pytest -q -n 0 tests/unit/test_[$*]*.py

snippets: $(BIN)/.installed ## Run every code block of README.md and docs/ as it is printed
	SNIPPETS=all $(BIN)/pytest -q -n 0 tests/snippets

packages: $(BIN)/.installed ## Check the JavaScript clients as packages; WRITE=1 makes their types anew
	PACKAGES=all WRITE=$(WRITE) $(BIN)/pytest -q -n 0 tests/clients/test_packages.py

check: lint ## Run every check CI runs besides the tests
	$(BIN)/python docs/generate.py --check

lint: $(BIN)/.installed ## Check format, style, types and import arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(BIN)/.installed ## Format the code and sort its imports
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

docs: $(BIN)/.installed ## Write the generated documents anew
	$(BIN)/python docs/generate.py

PIN = $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
    --no-header --no-emit-index-url --no-emit-find-links

lock: $(BIN)/.installed ## Pin what the image installs, and builds with, moving to the newest versions
	$(BIN)/pip install -q uv
	$(PIN) --output-file requirements.lock pyproject.toml
	printf 'hatchling\n' | $(PIN) --output-file requirements-build.lock -

bench: $(BIN)/.installed ## Measure against the peers, and BEFORE=<commit> (docs/benchmarks.md)
	$(BIN)/python -m tests.bench $(if $(BEFORE),--before '$(BEFORE)') $(if $(ROUNDS),--rounds '$(ROUNDS)') \
	    $(if $(ROWS),--rows '$(ROWS)') $(if $(filter-out undefined,$(origin PEERS)),--peers '$(PEERS)') \
	    $(foreach limit,$(LIMITS),--limit '$(limit)') $(if $(JSON),--json '$(JSON)') $(if $(WRITE),--write)

pictures: $(BIN)/.installed ## Take the pictures of the README anew, of a demo, with Debian's Chromium
	$(BIN)/python docs/pictures.py

browsers: $(BIN)/.installed ## Talk in Debian's Firefox and WebKit (CONTRIBUTING.md)
	BROWSERS=all $(BIN)/pytest -q -n 0 -rs tests/e2e/test_other_browsers.py

plans: $(BIN)/.installed ## Time every statement on a million comments
	$(BIN)/python -m tests.bench.plans

hostile: $(BIN)/.installed ## Send hostile payloads for SECONDS, an hour by default (tests/hostile)
	HOSTILE_SECONDS=$(or $(SECONDS),3600) HOSTILE_SEED=$(SEED) $(BIN)/pytest -s --timeout 0 tests/hostile/test_generated.py

faults: $(BIN)/.installed ## Inject N faults from SEED (tests/faults): make faults N=300 SEED=7 ARRANGEMENT=workers
	$(BIN)/python -m tests.faults --faults $(N) $(if $(SEED),--seed $(SEED)) \
	    $(if $(ARRANGEMENT),--arrangement $(ARRANGEMENT))

compose: $(BIN)/.installed ## Build the image and play docker-compose.yml by podman, as root; DATA=folder keeps images
	$(BIN)/python -m tests.containers $(if $(DATA),--data '$(DATA)')

clean: ## Remove what the tools leave behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
