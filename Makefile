.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
CHAOS_FAULTS ?= 200
CHAOS_JSON ?= chaos.json
PEERS_JSON ?= peers.json
PULL_REQUESTS ?= ../shared/data/github_pull_requests/pull_requests.csv.gz

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED) ## Make .venv with all that a developer needs

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: install ## Show it all in a minute: a real Kafka, a worker, and coefficients being learned
	$(BIN)/stream-qa demo

test: install ## Run all tests, two at a time; says at the end which tiers ran
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

chaos: install ## Break workers and a broker CHAOS_FAULTS times (200), and compare; CHAOS_SEED repeats a run
	cd tests && ../$(BIN)/python -m chaos --faults $(CHAOS_FAULTS) $(if $(CHAOS_SEED),--seed $(CHAOS_SEED)) \
		$(if $(CHAOS_ROUND),--round $(CHAOS_ROUND)) --json $(abspath $(CHAOS_JSON))

game-day: install ## Play ten incidents on a broker of its own, or INCIDENTS of them, and print what the operator sees
	cd tests && ../$(BIN)/python -m game_day $(INCIDENTS)

test-chaos: install ## Run the short tier of it, in minutes
	$(BIN)/pytest tests/chaos

test-pure: install ## Run the tests that need no broker, in a minute
	$(BIN)/pytest -m 'not kafka and not chaos and not containers and not shared_data'

lint: install ## Check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

pages: install ## Write what follows from the code: pages, the contract of the topics, topics for Kubernetes
	$(BIN)/python tools/pages.py

constraints: install ## Choose what the container image installs, by version and hash: deploy/constraints.txt
	$(BIN)/python tools/constraints.py

record-upgrade: install ## Record what RECORDING (a version) leaves on a broker, for the test of upgrades
	$(BIN)/python tools/record_upgrade.py $(RECORDING) $(if $(CHECKOUT),--checkout $(CHECKOUT))

release-check: install ## Build the distributions, install the wheel alone elsewhere, and run the demo from it
	$(BIN)/python tools/release_check.py

docs: install ## Make the site of docs/ in build/site, and fail where a link leads nowhere
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: install ## Measure a worker beside other frameworks and the pipeline by hand; cut off, it goes on
	$(BIN)/python -m pip install --quiet --editable '.[comparison]'
	cd benchmarks && ../$(BIN)/python -m peers --json $(abspath $(PEERS_JSON)) $(PEERS_OPTIONS)

bench-table: install ## Write what make bench has found to docs/benchmarks.md
	cd benchmarks && ../$(BIN)/python -m peers --json $(abspath $(PEERS_JSON)) --table ../docs/benchmarks.md

bench-worker: install ## Measure a worker beside the same stages without Kafka
	$(BIN)/python benchmarks/throughput.py

bench-rules: install ## Measure the learning rules, one label at a time and many at once
	OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/learning_rules.py

bench-scaling: install ## Measure a worker by what it remembers, by its partitions, and two beside one
	$(BIN)/python benchmarks/scaling.py

bench-commit: install ## Measure what waiting between transactions costs and saves, by number of partitions
	$(BIN)/python benchmarks/commit_interval.py

bench-store: install ## Measure what a server needs to hold one and five million entities
	$(BIN)/python benchmarks/store_size.py

bench-scoring: install ## Measure the scoring service over each store
	OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/scoring.py

bench-freshness: install ## Measure from an engagement to a changed score in the service, by the rate of events
	$(BIN)/python benchmarks/event_to_score.py

evaluate: install ## Write docs/results.md anew from the table PULL_REQUESTS, where it is there
	@test -f $(PULL_REQUESTS) || { echo "there is no $(PULL_REQUESTS)"; exit 1; }
	OPENBLAS_NUM_THREADS=1 $(BIN)/python examples/github_pull_requests/results.py $(PULL_REQUESTS) docs/results.md

compare-faults: install ## Break a plain Faust agent, Quix Streams and a worker of ours in the same ways
	$(BIN)/python -m pip install --quiet --editable '.[comparison]'
	PYTHONPATH=tests $(BIN)/python benchmarks/fault_comparison.py

broker-up: install ## Start a development Kafka on 127.0.0.1:9092
	$(BIN)/stream-qa broker up

broker-down: install ## Stop it
	$(BIN)/stream-qa broker down

topics: install ## Create and configure the topics on STREAM_QA_BROKER
	$(BIN)/stream-qa topics apply --yes

worker: install ## Run a worker on STREAM_QA_BROKER
	$(BIN)/faust -A stream_qa.app worker -l info

# None of them is the name of a file that it makes.
.PHONY: $(shell sed -nE 's/^([a-z-]+):.*/\1/p' Makefile)
