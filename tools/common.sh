# Sourced by the shell scripts of this folder: where things are, and a clean Python environment.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
: "${HOME:=$(cd ~ && pwd)}"
pythons_dir=${RAMET_PYTHONS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/ramet/pythons}
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# debian_root PYTHON: the root that `make pythons` unpacked PYTHON into; nothing for any other.
debian_root() {
    case $1 in "$(realpath -m "$pythons_dir")"/*/usr/bin/python3*) echo "${1%/usr/bin/*}" ;; esac
}
