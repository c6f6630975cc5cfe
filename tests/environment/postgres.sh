# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with the other parts
# A PostgreSQL of the tests' own, below $work, on a free port.
#
# Sets TEST_POSTGRES_URL.

# PostgreSQL refuses to run as root.
server_user=

find_server_user() {
    [ "$(id -u)" = 0 ] || return 0
    command -v runuser >/dev/null || fail "no runuser here: run this as an ordinary user"
    if id postgres >/dev/null 2>&1; then server_user=postgres; else server_user=nobody; fi
}

as_server_user() {
    if [ -n "$server_user" ]; then
        (cd "$work/postgres" && runuser -u "$server_user" -- "$@")
    else
        "$@"
    fi
}

start_postgres() {
    local data=$work/postgres/data port
    find_server_user
    mkdir "$work/postgres"
    if [ -n "$server_user" ]; then chown "$server_user" "$work/postgres"; fi
    as_server_user "$pg_bin/initdb" -D "$data" --username=postgres --auth=trust --encoding=UTF8 \
        --no-locale --no-sync >"$work/initdb.log" 2>&1 ||
        fail "initdb failed: $(cat "$work/initdb.log")"
    # Connections for tests on many cores: each has a database of its own, and several stores on it.
    for _ in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 12000))
        # Another server may have the port.
        if as_server_user "$pg_bin/pg_ctl" start --silent -w -D "$data" -l "$work/postgres/log" -o \
            "-h 127.0.0.1 -p $port -k $work/postgres -c fsync=off -c max_connections=500" </dev/null; then
            TEST_POSTGRES_URL=postgres://postgres@127.0.0.1:$port/postgres
            printf '%s\n' "$TEST_POSTGRES_URL"
            return
        fi
    done
    fail "PostgreSQL does not start: $(cat "$work/postgres/log")"
}

stop_postgres() {
    if [ -f "$work/postgres/data/postmaster.pid" ]; then
        as_server_user "$pg_bin/pg_ctl" stop --silent -D "$work/postgres/data" -m immediate || true
    fi
}
