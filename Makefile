# The front door. Everything is set up here: .venv and build/ in this checkout, further interpreters
# (make pythons) in a cache outside it. Longer steps are in tools/.
#
#   PYTHON=path   the interpreter of .venv (default: the newest of 3.11-3.13 that is found)
#   ARGS=...      further arguments for the program that is run, or for pytest

SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
TEST := $(PY) tools/test.py $(if $(JOBS),--jobs $(JOBS))
PYTEST_ARGS = $(if $(ARGS),-- $(ARGS))

.PHONY: help venv build run test test-all test-c test-py test-cpython asan ubsan asan-py ubsan-py tsan-py pythons bench docs lint format dist clean distclean

help: ## this list
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv:
	@tools/venv.sh .venv $(PYTHON)

build: venv ## build ramet and install it into .venv
	@tools/install.sh .venv build/py

run: build ## build, then run the main job: examples/downloader.py
	@$(PY) examples/downloader.py $(ARGS)

test: venv ## every C test (plain, ASan, UBSan), and every Python test on each CPython found
	@$(TEST) c asan ubsan py $(PYTEST_ARGS)

test-all: docs test ## the same, then models, differentials and slow tests at length, CPython's own tests, and that the documentation builds without a warning
	@RAMET_SLOW=1 $(TEST) py -- -o timeout=1800 -o faulthandler_timeout=1700 -m "slow or long" $(ARGS)
	@$(TEST) cpython

test-c: venv ## the C tests, asserts on
	@$(TEST) c

test-py: venv ## the Python tests on each CPython found; V=3.12: on that one (V=3.14d: after make pythons WHICH=3.14d)
	@$(TEST) $(if $(V),py:$(V),py) $(PYTEST_ARGS)

test-cpython: venv ## CPython's own tests in a goroutine, on each CPython found, told in docs/cpython.md; V=3.12, ARGS=test_x: only those, not told there
	@$(TEST) $(if $(V),cpython:$(V),cpython) $(PYTEST_ARGS)$(if $(V)$(ARGS),,; status=$$?; \
	$(PY) tests/stdlib/report.py docs/cpython.md build/cpython/*.json && exit $$status)

asan: venv ## the C tests under AddressSanitizer
	@$(TEST) asan

ubsan: venv ## the C tests under UndefinedBehaviorSanitizer
	@$(TEST) ubsan

asan-py: venv ## the Python tests with the extension under AddressSanitizer
	@$(TEST) asan-py $(PYTEST_ARGS)

ubsan-py: venv ## the Python tests with the extension under UndefinedBehaviorSanitizer
	@$(TEST) ubsan-py $(PYTEST_ARGS)

tsan-py: venv ## the Python tests with OS threads in them, extension and free-threaded interpreter under ThreadSanitizer (first make pythons WHICH=3.13t-tsan)
	@$(TEST) tsan-py $(PYTEST_ARGS)

pythons: ## bring CPython 3.14, 3.15 and free-threaded 3.13 into the cache; WHICH="3.15 ...": only those
	@tools/pythons.sh $(WHICH)

bench: venv ## ramet and its peers on the same work
	@$(PY) bench/run.py $(ARGS)

docs: build ## the documentation as HTML, in build/docs; a warning is an error
	@tools/docs.sh

lint: build ## clang-format, ruff, stubs
	@tools/lint.sh check

format: ## clang-format and ruff, written
	@tools/lint.sh format

dist: venv ## wheel and source archive in dist/
	@tools/dist.sh

clean: ## remove what was built (not .venv, not the cache of interpreters)
	rm -rf build dist

distclean: clean ## and .venv
	rm -rf .venv .venv.lock
