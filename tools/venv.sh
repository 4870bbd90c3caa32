#!/usr/bin/env bash
# tools/venv.sh VENV [PYTHON [REQUIREMENTS]]: make VENV of PYTHON (default: the best that is found)
# with REQUIREMENTS (tools/requirements.txt) in it. Quick when nothing has changed.
set -eu
. "$(dirname "$0")/common.sh"

venv=$1
python=${2:-}
req=${3:-$root/tools/requirements.txt}
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9

if [ -z "$python" ] && [ -f "$venv/.python" ] && "$venv/bin/python" -c pass 2>/dev/null; then
    python=$(sed -n 2p "$venv/.python") # keep the one it has
fi
[ -n "$python" ] || python=$("$root/tools/find-pythons.sh" --best)
python=$(cd / && "$python" -c 'import os, sys; print(os.path.realpath(getattr(sys, "_base_executable", 0) or sys.executable))') \
    || die "cannot run $python"
id=$("$python" -c 'import sys; print(sys.version.replace("\n", " "))')
if [ ! -f "$venv/.python" ] || [ "$(cat "$venv/.python")" != "$id"$'\n'"$python" ] \
    || ! "$venv/bin/python" -c pass 2>/dev/null; then
    rm -rf "$venv"
    deb=$(debian_root "$python")
    if [ -n "$deb" ]; then
        # Debian's ensurepip looks for pip's wheel on the host: go round it
        wheel=$(ls "$deb"/usr/share/python-wheels/pip-*.whl)
        "$python" -m venv --without-pip "$venv"
        "$venv/bin/python" "$wheel/pip" install -q --no-index "$wheel"
    else
        "$python" -m venv "$venv"
    fi
    printf '%s\n%s\n' "$id" "$python" >"$venv/.python"
fi
if ! cmp -s "$req" "$venv/.requirements"; then
    # an older wheel rather than a build: not all have one for a free-threaded CPython
    "$venv/bin/python" -m pip install -q --prefer-binary -r "$req"
    cp "$req" "$venv/.requirements"
fi
optional=$root/tools/requirements-optional.txt
if [ "$req" = "$root/tools/requirements.txt" ] && ! cmp -s "$optional" "$venv/.optional"; then
    while read -r requirement; do
        "$venv/bin/python" -m pip install -q --only-binary :all: "$requirement" \
            || echo "no wheel of $requirement for $id: some tests are skipped"
    done < <(grep -v '^#' "$optional")
    cp "$optional" "$venv/.optional"
fi
