#!/usr/bin/env bash
# Bring further CPythons into a cache outside the checkout, for `make test` to find.
#
#   tools/pythons.sh [WHICH...]      default: 3.14 3.15 3.13t
#
#   3.X     Debian's own binaries of a newer suite, with the glibc they need, made to stand alone
#           by patchelf: seconds.
#   3.Xd    the same, --with-pydebug: its assertions look at what ramet does.
#   3.Xt    free-threaded, built from Debian's source package: minutes.
#   3.Xt-tsan  the same, built by clang with ThreadSanitizer, for `make tsan-py`.
#
# Each result is DIR/WHICH with a file `ok` in it that names version and program; what is there
# is left alone.  What cannot be had prints one line and is skipped: the exit status is 0 unless
# something that was there to be had broke.
#
#   RAMET_PYTHONS_DIR    the cache           (${XDG_CACHE_HOME:-~/.cache}/ramet/pythons)
#   RAMET_DEBIAN_SUITE   the suite           (forky; the mirror is the one that apt uses)
#   JOBS                 make -j of a build  (the number of CPUs)
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

dir=$pythons_dir
suite=${RAMET_DEBIAN_SUITE:-forky}
jobs=${JOBS:-$(nproc)}
want=("$@")
[ $# -gt 0 ] || want=(3.14 3.15 3.13t)

say() { printf 'pythons: %s\n' "$*"; }
skip() { say "$1: SKIPPED: $2"; }

# ---- what the host offers -----------------------------------------------------------------------

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# need PACKAGE...: true when all are installed, or could be installed now.
need() {
    local p missing=()
    for p; do
        dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    can_install || { say "missing Debian packages: ${missing[*]}"; return 1; }
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -o DPkg::Lock::Timeout=300 -qq -y --no-install-recommends "${missing[@]}" >"$dir/log/apt.log" 2>&1 && return 0
    apt-get update -qq >>"$dir/log/apt.log" 2>&1
    apt-get install -o DPkg::Lock::Timeout=300 -qq -y --no-install-recommends "${missing[@]}" >>"$dir/log/apt.log" 2>&1
}

# The mirror that this machine's apt already uses.
mirror() {
    local f m
    for f in /etc/apt/sources.list.d/*.sources; do
        [ -r "$f" ] || continue
        m=$(awk '/^URIs:/{print $2; exit}' "$f")
        case $m in *security*) continue ;; ?*) echo "$m"; return 0 ;; esac
    done
    for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -r "$f" ] || continue
        m=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) { print $i; exit } }' "$f")
        case $m in *security*) continue ;; ?*) echo "$m"; return 0 ;; esac
    done
    return 1
}

# An apt of our own for SUITE: own lists, own (empty) dpkg status, nothing of the system changed.
# The empty status makes apt fetch a package's whole closure, libc included.
setup_suite() {
    local d=$dir/apt/$suite-$arch m keyring='signed-by=/usr/share/keyrings/debian-archive-keyring.gpg'
    m=$(mirror) || { say "no Debian mirror in this machine's apt sources"; return 1; }
    mkdir -p "$d"/{lists/partial,cache/archives/partial,state,etc/apt.conf.d,etc/preferences.d,etc/sources.list.d}
    : >"$d/state/status"
    printf 'deb [arch=%s %s] %s %s main\ndeb-src [%s] %s %s main\n' \
        "$arch" "$keyring" "$m" "$suite" "$keyring" "$m" "$suite" >"$d/etc/sources.list"
    cat >"$d/apt.conf" <<X
Dir::Etc "$d/etc"; Dir::Etc::sourcelist "$d/etc/sources.list"; Dir::Etc::sourceparts "$d/etc/sources.list.d";
Dir::State "$d/state"; Dir::State::lists "$d/lists"; Dir::State::status "$d/state/status"; Dir::Cache "$d/cache";
APT::Architecture "$arch"; APT::Architectures { "$arch"; }; Acquire::Languages "none"; APT::Sandbox::User "root";
Acquire::Check-Valid-Until "false"; Acquire::Check-Date "false";
X
    apt_conf=$d/apt.conf
    # apt-get update exits 0 even where it could fetch nothing: the lists tell.
    APT_CONFIG=$apt_conf apt-get -qq update >"$dir/log/update.log" 2>&1
    ls "$d"/lists/*_Packages* >/dev/null 2>&1
}

suite_ready=
with_suite() {
    [ -n "$suite_ready" ] || { if setup_suite; then suite_ready=yes; else suite_ready=no; fi; }
    [ "$suite_ready" = yes ]
}

# ---- the two routes -----------------------------------------------------------------------------

# finish WHICH PYTHON: the interpreter runs and is what it should be; stamp it.
finish() {
    local v
    v=$("$2" -c 'import sys, ssl, ctypes, sqlite3, zlib; print(sys.version.split()[0])') || return 1
    printf '%s\n%s\n' "$v" "$2" >"$dir/$1/ok"
    say "$1: $v ($2)"
}

# Debian's binaries in a root of their own.  RPATH, not RUNPATH, reaches lib-dynload and wheels
# too.  The path is baked in: a root cannot be moved.  glibc's headers stay out, since extensions
# are compiled against the host's.
get_binary() {
    local v=${1%d} d=$dir/$1 deb lib py multi debug=()
    [ "$v" = "$1" ] || debug=("python$v-dbg" "libpython$v-dbg")
    need patchelf || { skip "$1" "patchelf is not to be had"; return 0; }
    with_suite || { skip "$1" "the Debian mirror cannot be reached, or has no suite $suite"; return 0; }
    rm -rf "$d"
    mkdir -p "$d/root" "$d/debs/partial"
    if ! APT_CONFIG=$apt_conf apt-get -qq -y --no-install-recommends --download-only \
        -o Dir::Cache::archives="$d/debs" install "python$v-minimal" "python$v" "libpython$v" \
        "libpython$v-dev" "libpython$v-testsuite" "python$v-venv" "${debug[@]}" >"$dir/log/$1.log" 2>&1; then
        rm -rf "$d"
        skip "$1" "Debian $suite does not give python$1 ($(tail -n1 "$dir/log/$1.log"))"
        return 0
    fi
    for deb in "$d"/debs/*.deb; do
        case ${deb##*/} in
        linux-libc-dev* | libc-dev-bin* | libc6-dev* | zlib1g-dev* | libexpat1-dev*) ;;
        ca-cert* | debconf* | openssl_* | net-tools*) ;;
        *) dpkg -x "$deb" "$d/root" || return 1 ;;
        esac
    done
    rm -rf "$d/debs"
    # suites after the /usr merge lack the links in their packages
    for lib in lib lib64; do [ -e "$d/root/$lib" ] || ln -s "usr/$lib" "$d/root/$lib"; done
    multi=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
    lib=$d/root/usr/lib/$multi
    py=$d/root/usr/bin/python$1
    local loader
    loader=$(ls "$lib"/ld-linux-*.so.* 2>/dev/null | head -n1)
    [ -n "$loader" ] || { say "$1: no dynamic loader in the unpacked root"; return 1; }
    patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$lib" "$py" || return 1
    ln -sf "python$1" "$d/root/usr/bin/python3"
    if [ "$v" != "$1" ]; then
        # the headers are links to the plain ones, and gcc would then take their pyconfig.h, too
        cp -rL "$d/root/usr/include/python$1" "$d/root/usr/include/copy" || return 1
        rm -r "$d/root/usr/include/python$1"
        mv "$d/root/usr/include/copy" "$d/root/usr/include/python$1"
    fi
    finish "$1" "$py"
}

# From Debian's source.  The build folder is removed; of the installed tree CPython's own tests
# stay (they are used) and the unstripped static library goes.
get_source() {
    local v=${1%%t*} d=$dir/$1 b=$dir/build-$1 log=$dir/log/$1.log options=('OPT=-DNDEBUG -g -O2 -Wall') quick=()
    need gcc make libc6-dev libssl-dev libffi-dev libsqlite3-dev zlib1g-dev libbz2-dev liblzma-dev \
        libreadline-dev libncurses-dev uuid-dev xz-utils dpkg-dev \
        || { skip "$1" "the packages to build it are not to be had"; return 0; }
    if [[ $1 = *-tsan ]]; then
        # not gcc: its runtime takes minutes for what clang's does with fibers in seconds
        need clang-14 libclang-rt-14-dev llvm-14 || { skip "$1" "clang-14 is not to be had"; return 0; }
        options=(CC=clang-14 --with-thread-sanitizer --without-ensurepip 'OPT=-DNDEBUG -g -O1')
        quick=(PYTHON_FOR_BUILD=:) # install compiles no .pyc: that alone would take longer than the rest
    fi
    with_suite || { skip "$1" "the Debian mirror cannot be reached, or has no suite $suite"; return 0; }
    rm -rf "$d" "$b"
    mkdir -p "$b"
    if ! (cd "$b" && APT_CONFIG=$apt_conf apt-get -qq source --download-only --only-source "python$v") >"$log" 2>&1; then
        rm -rf "$b"
        skip "$1" "Debian $suite does not give the source of python$v ($(tail -n1 "$log"))"
        return 0
    fi
    say "$1: building $(basename "$b"/python"$v"_*.dsc .dsc) (minutes; log in $log)"
    (
        set -e
        cd "$b"
        tar xf python"$v"_*.orig.tar.xz
        mkdir b
        cd b
        ../Python-"$v".*/configure -q --disable-gil --prefix="$d" "${options[@]}"
        make -s -j"$jobs"
        make -s install "${quick[@]}"
        cp ../Python-"$v".*/Tools/tsan/suppressions_free_threading.txt "$d"
    ) >>"$log" 2>&1 </dev/null || { say "$1: the build FAILED, see $log"; tail -n 20 "$log"; rm -rf "$d"; return 1; }
    find "$d" -name 'libpython*.a' -delete
    rm -rf "$b"
    "$d/bin/python${v}t" -c 'import sys; sys.exit(sys._is_gil_enabled())' || { say "$1: has a GIL?"; return 1; }
    finish "$1" "$d/bin/python${v}t"
}

# ---- main ---------------------------------------------------------------------------------------

mkdir -p "$dir/log"
exec 9>"$dir/.lock"
flock 9 || exit 1 # another checkout may be at it: wait for it, then find its work done
say "cache: $dir"
failed=0
for w in "${want[@]}"; do
    if [ -f "$dir/$w/ok" ] && { read -r v; read -r py; } <"$dir/$w/ok" && "$py" -c pass 2>/dev/null; then
        say "$w: $v ($py), was there"
        continue
    fi
    if ! command -v dpkg >/dev/null || ! command -v apt-get >/dev/null; then
        skip "$w" "only Debian and its children are known here; put python$w on PATH yourself"
        continue
    fi
    arch=$(dpkg --print-architecture)
    case $w in
    *t | *t-tsan) get_source "$w" ;;
    *) get_binary "$w" ;;
    esac || { failed=1; say "$w: FAILED"; }
done
rm -rf "$dir/apt" # 200 MB of package lists
exit $failed
