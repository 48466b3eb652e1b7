# Sourced by demo.sh and test.sh: makes the project's own environment in .venv, with the tested versions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
# torch first and by its exact version: left to the resolver, another build of it might come.
.venv/bin/python -m pip install --quiet --disable-pip-version-check "$(grep '^torch==' scripts/constraints.txt)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint scripts/constraints.txt --editable "$1"
