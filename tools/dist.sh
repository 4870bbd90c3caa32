#!/usr/bin/env bash
# tools/dist.sh: wheel of the working tree and source archive of the last commit, in dist/.
set -eu
. "$(dirname "$0")/common.sh"

cd "$root"
export PATH=$root/.venv/bin:$PATH
.venv/bin/python -m pip install -q build
rm -rf dist
.venv/bin/python -m build -q --no-isolation --wheel --outdir dist -Cinstall-args=--strip .
.venv/bin/python -m build -q --no-isolation --sdist --outdir dist .
ls -l dist
