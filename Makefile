# The two that matter: `make run` and `make test`. Nothing else has to be installed first but
# Python 3.11 or later with its venv module.

.PHONY: help run setup test test-slow sslyze check eval bench lock
.DEFAULT_GOAL := help

LOCKS := requirements/bootstrap.txt pyproject.toml scripts/setup
NODE_CLIENTS := tests/sdk/node
NPM := $(shell command -v npm 2>/dev/null)
TESTED := .venv-test/.ready .venv-sslyze/.ready .venv-clients/.ready .venv-clients-openai2/.ready
# Where Node is missing the tests of its clients say so and are skipped.
TESTED += $(if $(NPM),$(NODE_CLIENTS)/node_modules/.ready)
EVAL ?= ../shared/eval
BENCH ?= ../shared/bench
ARGS ?=

help:
	@echo "make run        set up .venv and start the gateway (ARGS=\"--port 9000\" passes options)"
	@echo "make setup      set up .venv with every extra; the command is .venv/bin/ostiary"
	@echo "make test       all tests, in environments of their own (.venv-test, .venv-clients…)"
	@echo "make test-slow  the tests that run for minutes"
	@echo "make sslyze     the TLS scanner that a test uses where it is there, in .venv-sslyze"
	@echo "make check      lint, format, types, imports; changes no file"
	@echo "make eval       detection scores on the sets in EVAL (default ../shared/eval)"
	@echo "make bench      CPU, rate and latency beside a bare pass-through, with the tools in BENCH"
	@echo "make lock       write the locked requirements anew"

run: .venv/.ready
	@.venv/bin/ostiary serve $(ARGS)

setup: .venv/.extended

test: $(TESTED)
	@.venv-test/bin/python -m pytest -n 2 -m "not slow" $(ARGS)

test-slow: $(TESTED)
	@.venv-test/bin/python -m pytest -m slow $(ARGS)

sslyze: .venv-sslyze/.ready

check: .venv-test/.ready
	@.venv-test/bin/ruff check
	@.venv-test/bin/ruff format --check
	@.venv-test/bin/mypy
	@.venv-test/bin/lint-imports --no-cache --no-logo

eval: .venv-test/.ready
	@test -f "$(EVAL)/evaluate.py" || { echo "No detection sets in $(EVAL): set EVAL." >&2; exit 3; }
	@for task in pii injection; do \
		.venv-test/bin/python "$(EVAL)/evaluate.py" --task $$task --data "$(EVAL)" \
			--detector ostiary.scorecard:$$task || exit 3; \
	done

bench: .venv-test/.ready
	@.venv-test/bin/python bench/run.py --bench "$(BENCH)" $(ARGS)

lock: .venv-test/.ready
	@scripts/lock .venv-test/bin/uv

.venv/.ready: requirements/core.txt $(LOCKS)
	@scripts/setup .venv requirements/core.txt
	@touch $@

.venv/.extended: requirements/extras.txt .venv/.ready
	@scripts/extend .venv requirements/extras.txt
	@touch $@

.venv-test/.ready: requirements/test.txt $(LOCKS)
	@scripts/setup .venv-test requirements/test.txt
	@touch $@

.venv-clients/.ready: requirements/clients.txt requirements/bootstrap.txt scripts/setup
	@scripts/setup .venv-clients requirements/clients.txt alone
	@touch $@

# Two packages that semantic-kernel needs are published as source alone.
.venv-clients-openai2/.ready: requirements/clients-openai2.txt requirements/bootstrap.txt scripts/setup
	@scripts/setup .venv-clients-openai2 requirements/clients-openai2.txt alone \
		--no-binary pybars4 --no-binary pymeta3
	@touch $@

$(NODE_CLIENTS)/node_modules/.ready: $(addprefix $(NODE_CLIENTS)/,package.json package-lock.json .npmrc)
	@npm ci --prefix $(NODE_CLIENTS) --ignore-scripts --no-audit --no-fund
	@touch $@

.venv-sslyze/.ready: requirements/sslyze.txt .venv-test/.ready
	@.venv-test/bin/python -m venv --clear .venv-sslyze
	@.venv-sslyze/bin/python -m pip install --quiet --require-hashes --only-binary :all: \
		--no-deps --no-binary sslyze --requirement requirements/sslyze.txt
	@touch $@
