# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with the other parts
# Other versions of PostgreSQL than the machine's: their server programs, from packages of npm that are unpacked
# below target/test-env, and the tests that are run on each.
#
# Sets postgres_ran and postgres_not_run for the summary.

POSTGRES_PACKAGES=tests/environment/postgresql.txt
POSTGRES_NEWEST=18
POSTGRES_OTHERS="13 14 15 16 17"

postgres_ran=
postgres_not_run=

# x64 or arm64; empty for machines that there is no package for.
postgres_machine() {
    case $(uname -sm) in
        "Linux x86_64") echo x64 ;;
        "Linux aarch64") echo arm64 ;;
    esac
}

# install_postgres VERSION: sets installed to the directory of its programs, or to nothing if there are none for
# this machine.
install_postgres() {
    local version=$1 machine package hash dir
    machine=$(postgres_machine)
    installed=
    read -r package hash < <(awk -v version="$version" -v machine="${machine:-none}" \
        '$1 == version && $2 == machine { print $3, $4 }' "$POSTGRES_PACKAGES") || true
    if [ -z "$package" ]; then
        # Perhaps the system's packages have it.
        [ ! -x "/usr/lib/postgresql/$version/bin/initdb" ] || installed=/usr/lib/postgresql/$version/bin
        return 0
    fi
    dir=$target/test-env/postgresql-$package
    # Written last, as for Django.
    if [ "$(cat "$dir/complete" 2>/dev/null)" != "$hash" ]; then
        printf 'unpacking PostgreSQL %s\n' "$version"
        rm -rf "$dir"
        mkdir -p "$dir"
        "$(any_python)" tests/environment/unpack_postgresql.py \
            "@embedded-postgres/linux-$machine" "$package" "$hash" "$dir" >"$work/unpack.log" 2>&1 ||
            fail "could not get the package of PostgreSQL $version: $(cat "$work/unpack.log")"
        printf '%s\n' "$hash" >"$dir/complete"
    fi
    "$dir/bin/postgres" --version >"$work/unpack.log" 2>&1 ||
        fail "PostgreSQL $version from a package does not run here: $(cat "$work/unpack.log")"
    installed=$(for_server_user "$dir")/bin
}

# The server's user may not get to the directory of the checkout: then it gets a copy.
for_server_user() {
    find_server_user
    if [ -n "$server_user" ] && ! runuser -u "$server_user" -- test -x "$1/bin/postgres"; then
        cp -R "$1" "$work/"
        printf '%s\n' "$work/${1##*/}"
    else
        printf '%s\n' "$1"
    fi
}

# Tests of stores and caches that never meet a PostgreSQL.
WITHOUT_POSTGRES=(--skip file:: --skip files --skip redis --skip sqlite --skip interleavings)
# Those that mostly wait, or do the same on any version. In short, others show what a version changes.
SLOW=(--skip cached --skip contention --skip processes --skip dictionaries --skip by_changing_its_key)

# djangos_on VERSION: of the lines of TEST_DJANGO, those whose Django works with this PostgreSQL.
djangos_on() {
    local without=none
    [ "$1" -ge 15 ] || without="6.1"
    [ "$1" -ge 14 ] || without="5.2 6.1"
    awk -F '[.=]' -v without=" $without " 'index(without, " " $1 "." $2 " ") == 0' <<<"${TEST_DJANGO%$'\n'}"
}

# test_version VERSION [ARGUMENTS OF CARGO TEST]: these tests. By default what the stores and doctor do on it, with
# --long and --postgres all of that.
test_version() {
    local version=$1 installed djangos skipped=("${WITHOUT_POSTGRES[@]}") TEST_POSTGRES_URL TEST_PG_SERVER
    djangos=$(djangos_on "$version")
    [ -n "$long$postgres" ] || skipped+=("${SLOW[@]}")
    # At the usual length with --long too: versions differ in what they answer, not after an hour.
    local long= TEST_DJANGO=$djangos
    local log=$work/postgresql-$version.log
    step "PostgreSQL $version"
    install_postgres "$version"
    if [ -z "$installed" ]; then
        printf 'not run: there is no package of PostgreSQL %s for this machine\n' "$version"
        postgres_not_run+="  PostgreSQL $version: there is no package of it for this machine ($(uname -sm))"$'\n'
        return
    fi
    start_postgres "$version" "$installed"
    if [ $# -gt 1 ]; then
        cargo_test "${@:2}"
    else
        cargo_test --test store -- "${skipped[@]}"
        cargo_test --test cli -- doctor:: vacuum
    fi
    stop_postgres "$version"
    note_version "$("$installed/postgres" --version | grep -oE '[0-9]+\.[0-9]+' | head -n 1)"
}

# A version on which no test ran has failed.
note_version() {
    local passed failed
    read -r passed failed _ < <(count_tests "$log")
    if [ "$passed" -eq 0 ]; then status=1; fi
    postgres_ran+="  PostgreSQL $1: $passed passed, $failed failed"$'\n'
}

print_postgres() {
    printf '%s%s' "$postgres_ran" "${postgres_not_run:+not run:$'\n'$postgres_not_run}"
}
