#!/usr/bin/env bash
# tools/docs.sh: the documentation as HTML in build/docs. A warning is an error, and so is a public name that is on
# no page (docs/conf.py). ramet is that of .venv, so the interpreter must be the same.
set -eu
. "$(dirname "$0")/common.sh"

cd "$root"
venv=build/venvs/docs
tools/venv.sh "$venv" "$(sed -n 2p .venv/.python)" "$root/tools/requirements-docs.txt"
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
rm -rf build/docs # Sphinx does not see that a docstring in C has changed
PYTHONPATH=$site "$venv/bin/python" -m sphinx -q -W --keep-going -n -d build/docs/.doctrees docs build/docs
echo "docs: build/docs/index.html"
