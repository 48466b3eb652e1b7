#!/usr/bin/env bash
# Linting, types and the whole suite, in an environment of its own. Options go to pytest: `bash scripts/test.sh -k metrics`.
source "$(dirname "$0")/environment.sh" ".[test]"

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
# A process for each core, a file at a time; more threads than that would only get in each other's way.
OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n auto --dist loadfile "$@"
