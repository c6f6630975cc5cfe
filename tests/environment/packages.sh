# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with the other parts
# Finds the programs that the tests need, and installs Debian's packages of those that are missing.
#
# Sets pg_bin, redis_server, pgbouncer, faketime, chromium, chromedriver, pythons; with --long patroni and etcd.

pg_bin=
redis_server=
pgbouncer=
faketime=
chromium=
chromedriver=
patroni=
etcd=
pythons=

find_rust() {
    local component name
    export PATH="$PATH:$HOME/.cargo/bin"
    command -v cargo >/dev/null || fail "cargo is missing: install a Rust toolchain, see https://rustup.rs"
    for component in fmt clippy; do
        if ! cargo "$component" --version >/dev/null 2>&1; then
            name=${component/fmt/rustfmt}
            rustup component add "$name" ||
                fail "cargo $component is missing: install the toolchain's component $name"
        fi
    done
}

# The newest directory with PostgreSQL's server programs.
find_postgres() {
    local found
    found=$(command -v initdb || true)
    # Debian keeps them off the PATH.
    [ -n "$found" ] || found=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)
    [ -x "$found" ] && pg_bin=$(dirname "$(readlink -f "$found")")
}

# Lines of "minor version, program" of every Python 3 that can make a virtual environment.
find_pythons() {
    local python
    for python in $(compgen -c python3 | grep -Ex 'python3(\.[0-9]+)?' | sort -u) \
        /usr/bin/python3 /usr/bin/python3.{?,??} "$HOME"/.pyenv/versions/*/bin/python; do
        # Some of these are only stand-ins for a Python that is not there.
        "$python" -c 'import ensurepip, ssl, sys, venv
assert sys.version_info[0] == 3
print(sys.version_info[1], sys.executable)' 2>/dev/null </dev/null || true
    done
}

# python_for 3.9-3.12: the minor version and program of the newest such Python.
python_for() {
    local from=${1%-*} to=${1#*-}
    awk -v from="${from#3.}" -v to="${to#3.}" '$1 >= from && $1 <= to' <<<"$pythons" |
        sort -n | tail -n 1
}

any_python() {
    tail -n 1 <<<"$pythons" | cut -d ' ' -f 2-
}

any_live_python() {
    local entry
    pythons=$(find_pythons)
    for entry in $LIVE; do
        [ -z "$(python_for "${entry#*=}")" ] || return 0
    done
    return 1
}

# Debian keeps servers where not every user's PATH leads.
find_server() {
    PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1"
}

find_faketime() {
    local library=faketime/libfaketimeMT.so.1
    faketime=$(compgen -G "/usr/lib*/*/$library" || compgen -G "/usr/lib*/$library") &&
        faketime=${faketime%%$'\n'*}
}

find_chromium() {
    chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome) &&
        chromedriver=$(command -v chromedriver)
}

# The sources of a German locale. PostgreSQL's German messages are in the package of its server.
find_locale_sources() {
    command -v localedef >/dev/null && compgen -G "/usr/share/i18n/locales/de_DE*" >/dev/null
}

# For a cluster that fails over by itself.
find_patroni() {
    patroni=$(command -v patroni) && etcd=$(command -v etcd)
}

# lacking WHAT PACKAGE…: notes something that is missing.
lacking() {
    missing+=("$1")
    packages+=("${@:2}")
}

find_programs() {
    missing=()
    packages=()
    command -v cc >/dev/null || lacking "a C compiler (cc), for SQLite" gcc libc6-dev
    find_postgres || lacking "PostgreSQL's server programs (initdb, postgres)" postgresql
    any_live_python ||
        lacking "a Python with venv that one of these Djangos runs on: $LIVE" python3 python3-venv
    redis_server=$(find_server redis-server) || lacking "redis-server, 7.0 or newer" redis-server
    pgbouncer=$(find_server pgbouncer) || lacking "pgbouncer" pgbouncer
    find_faketime || lacking "libfaketime (libfaketimeMT.so.1)" libfaketime
    find_locale_sources || lacking "localedef and the sources of the locale de_DE" locales
    find_chromium || lacking "Chromium and chromedriver" chromium chromium-driver
    if [ -n "$long" ]; then
        find_patroni || lacking "Patroni and etcd, for --long" patroni etcd-server python3-etcd
        command -v c++ >/dev/null || lacking "a C++ compiler (c++), for fuzzing" g++
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# On a terminal, asks first; without one there is nobody to ask, and the answer is yes.
confirm_packages() {
    local answer
    printf 'These Debian packages will be installed: %s\n' "${packages[*]}"
    if [ -t 0 ] && [ -t 1 ]; then
        read -r -p 'Install them? [Y/n] ' answer || answer=n
        case $answer in
            '' | [Yy]*) ;;
            *) fail "not installed. Install it as root with: apt-get install ${packages[*]}" ;;
        esac
    fi
}

install_packages() {
    local list
    find_programs
    [ ${#missing[@]} -gt 0 ] || return 0
    list=$(printf '\n  - %s' "${missing[@]}")
    command -v apt-get >/dev/null || fail "please install:$list"
    as_root true 2>/dev/null || fail "missing:$list
Install it as root with: apt-get install ${packages[*]}"
    confirm_packages
    # Debian's PostgreSQL, PgBouncer and Redis may start servers of their own, which nothing here uses.
    {
        as_root apt-get update -q || true # what matters is whether the packages are there
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
            -o DPkg::Lock::Timeout=300 "${packages[@]}"
    } </dev/null >"$work/apt.log" 2>&1 ||
        fail "apt-get could not install ${packages[*]}: $(tail -n 20 "$work/apt.log")"
    find_programs
    [ ${#missing[@]} -eq 0 ] || fail "still missing:$(printf '\n  - %s' "${missing[@]}")"
}

print_versions() {
    cargo --version
    "$pg_bin/postgres" --version
    "$redis_server" --version
    "$chromium" --version 2>/dev/null # its wrapper may complain
}
