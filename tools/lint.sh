#!/usr/bin/env bash
# tools/lint.sh check|format: C by clang-format, Python by ruff, the stubs against the built package.
set -u
. "$(dirname "$0")/common.sh"

cd "$root"
venv=build/venvs/lint
tools/venv.sh "$venv" "" "$root/tools/requirements-lint.txt" || exit 1
bin=$root/$venv/bin
mapfile -t c < <(find include src python tests bench examples \( -name '*.c' -o -name '*.h' \) -not -path '*/build/*' | LC_ALL=C sort)
mapfile -t py < <(ls -d python tests bench examples tools docs/conf.py)
case ${1:-check} in
format)
    [ ${#c[@]} -eq 0 ] || "$bin/clang-format" -i "${c[@]}"
    "$bin/ruff" check -q --fix "${py[@]}"
    "$bin/ruff" format "${py[@]}"
    ;;
check)
    bad=0
    step() {
        printf -- '--- %s\n' "$1"
        shift
        "$@" || bad=1
    }
    [ ${#c[@]} -eq 0 ] || step clang-format "$bin/clang-format" --dry-run -Werror "${c[@]}"
    step "ruff check" "$bin/ruff" check "${py[@]}"
    step "ruff format" "$bin/ruff" format --check "${py[@]}"
    if compgen -G 'python/ramet/*.pyi' >/dev/null; then
        site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
        # stubtest imports the package: it must run on the interpreter that it was built for
        step stubtest env MYPYPATH="$site" PYTHONPATH="$site" "$bin/python" -m mypy.stubtest ramet --concise \
            --mypy-config-file pyproject.toml
    fi
    [ $bad -eq 0 ] && echo "lint: clean"
    exit $bad
    ;;
*) die "check or format?" ;;
esac
