#!/usr/bin/env bash
# tools/install.sh VENV BUILDDIR [-DOPTION=VALUE...]: build ramet in BUILDDIR (objects are kept there)
# and install it into VENV. Quick when no source has changed since the last time.
#
# Not an editable install: that rebuilds on import, and a program of many processes imports often.
set -eu
. "$(dirname "$0")/common.sh"

venv=$(realpath "$1")
build=$(realpath -m "$2")
shift 2
python=$(sed -n 2p "$venv/.python")
mkdir -p "$(dirname "$build")"
exec 9>"$build.lock"
flock 9

cd "$root"
stamp=$(
    {
        sed -n 1,2p "$venv/.python"
        echo "$*"
        find python src include meson.build meson.options pyproject.toml -type f \
            ! -name '*.pyc' ! -name '*~' ! -name '.*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    } | sha256sum
)
[ "$(cat "$venv/.ramet" 2>/dev/null)" != "$stamp" ] || exit 0
rm -f "$venv/.ramet"

options=(-Cbuild-dir="$build")
for o; do options+=(-Csetup-args="$o"); done
deb=$(debian_root "$python")
# Debian's pyconfig.h includes the one of its architecture
[ -z "$deb" ] || export C_INCLUDE_PATH=$deb/usr/include
export PATH=$venv/bin:$PATH # meson and ninja
# what another interpreter or another meson left there is of no use
if [ -d "$build" ] && [ "$(cat "$build/.made-for" 2>/dev/null)" != "$(cat "$venv/.python")" ]; then rm -rf "$build"; fi
mkdir -p "$build"
cp "$venv/.python" "$build/.made-for"
"$venv/bin/python" -m pip install -q --no-deps --no-build-isolation "${options[@]}" .
echo "$stamp" >"$venv/.ramet"
