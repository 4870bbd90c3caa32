#!/usr/bin/env bash
# tools/meson-c.sh BUILDDIR TARGET...: libramet as it is released (asserts off), and those of the
# TARGETs that there are.
set -eu
. "$(dirname "$0")/common.sh"

build=$(realpath -m "$1")
shift
export PATH=$root/.venv/bin:$PATH
cd "$root"
mkdir -p "$(dirname "$build")"
exec 9>"$build.lock"
flock 9
options=(-Dpython=false -Dtests=false)
log=$build.log
if [ -f "$build/build.ninja" ] && meson setup --reconfigure "$build" "${options[@]}" >"$log" 2>&1; then
    :
else
    rm -rf "$build"
    meson setup "$build" "${options[@]}" >"$log" 2>&1 || { cat "$log"; exit 1; }
fi
targets=$(ninja -C "$build" -t targets all)
for t; do
    shift
    grep -q "^$t: phony" <<<"$targets" && set -- "$@" "$t"
done
ninja -C "$build" all "$@" >"$log" 2>&1 || { cat "$log"; exit 1; }
