#!/usr/bin/env bash
# Linting and the whole suite, in an environment of its own. Options go to pytest: `bash scripts/test.sh -k metrics`.
source "$(dirname "$0")/environment.sh" ".[test]"

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/python -m pytest -q "$@"
