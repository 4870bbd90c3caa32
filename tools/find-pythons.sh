#!/usr/bin/env bash
# The CPythons on this machine that ramet can be built for: one line each, "KEY VERSION PATH",
# oldest first; KEY is 3.11 3.12 3.13 3.13t 3.13t-tsan 3.14 3.14d ... and the first found of a KEY wins.
#
#   tools/find-pythons.sh            all of them
#   tools/find-pythons.sh --best     the path of the one for .venv: the newest of 3.11-3.13, else any
#
# Looked at, in this order: python3.X on PATH, pyenv's versions, /usr/local/bin, /usr/bin, the
# cache of `make pythons`. A candidate must run (a pyenv shim may not), and have its headers, the
# internal ones too, and venv.
set -u
. "$(dirname "$0")/common.sh"

# 311 312 ...: those whose thread state we know
known=$(cd "$root/python/_core" && ls cpython_3[0-9][0-9].h | tr -dc '0-9\n')

probe='
import importlib.util as u, os, sys, sysconfig
if sys.implementation.name != "cpython" or "%d%d" % sys.version_info[:2] not in sys.argv[1:]: sys.exit(1)
inc = sysconfig.get_path("include")
if not os.path.exists(os.path.join(inc, "internal", "pycore_frame.h")): sys.exit(1)
if not u.find_spec("venv") or not u.find_spec("ensurepip"): sys.exit(1)
t = ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "") + ("d" if sysconfig.get_config_var("Py_DEBUG") else "")
if "--with-thread-sanitizer" in (sysconfig.get_config_var("CONFIG_ARGS") or ""): t += "-tsan"
exe = getattr(sys, "_base_executable", None) or sys.executable
print("%d.%d%s" % (*sys.version_info[:2], t), sys.version.split()[0], os.path.realpath(exe))
'

candidates() {
    local n d
    for n in $known; do command -v "python3.${n#3}" "python3.${n#3}t"; done
    for d in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin /usr/local/bin /usr/bin; do
        for n in "$d"/python3.1[1-9] "$d"/python3.1[1-9]t; do [ -x "$n" ] && echo "$n"; done
    done
    for d in "$pythons_dir"/*/ok; do [ -f "$d" ] && sed -n 2p "$d"; done
    command -v python3
}

found=$(
    candidates | awk '!seen[$0]++' | while read -r p; do
        (cd / && "$p" -I -c "$probe" $known) 2>/dev/null </dev/null
    done | awk '!seen[$1]++' | LC_ALL=C sort -k1,1
)
if [ "${1:-}" = --best ]; then
    best=$(awk '$1 ~ /^3\.1[123]$/ {p = $3} END {print p}' <<<"$found")
    [ -n "$best" ] || best=$(awk '$1 !~ /[tdn]$/ {p = $3} END {print p}' <<<"$found")
    [ -n "$best" ] || {
        echo "no CPython 3.11 or newer with its headers and venv was found (Debian: python3-dev python3-venv)" >&2
        exit 1
    }
    echo "$best"
elif [ -n "$found" ]; then
    echo "$found"
fi
