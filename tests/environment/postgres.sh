# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with the other parts
# PostgreSQLs of the tests' own, below $work, on free ports.
#
# Sets TEST_POSTGRES_URL, and TEST_PG_SERVER to the directory of the server's programs.

# PostgreSQL refuses to run as root.
server_user=

find_server_user() {
    [ "$(id -u)" = 0 ] || return 0
    command -v runuser >/dev/null || fail "no runuser here: run this as an ordinary user"
    if id postgres >/dev/null 2>&1; then server_user=postgres; else server_user=nobody; fi
}

as_server_user() {
    if [ -n "$server_user" ]; then
        (cd "$server_dir" && runuser -u "$server_user" -- "$@")
    else
        "$@"
    fi
}

# start_postgres NAME [DIRECTORY OF ITS PROGRAMS]
start_postgres() {
    local server_dir=$work/postgres-$1 port
    local data=$server_dir/data
    TEST_PG_SERVER=${2:-$pg_bin}
    find_server_user
    mkdir "$server_dir"
    if [ -n "$server_user" ]; then chown "$server_user" "$server_dir"; fi
    as_server_user "$TEST_PG_SERVER/initdb" -D "$data" --username=postgres --auth=trust --encoding=UTF8 \
        --no-locale --no-sync >"$work/initdb.log" 2>&1 ||
        fail "initdb failed: $(cat "$work/initdb.log")"
    # Connections for tests on many cores: each has a database of its own, and several stores on it.
    for _ in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 12000))
        # Another server may have the port.
        if as_server_user "$TEST_PG_SERVER/pg_ctl" start --silent -w -D "$data" -l "$server_dir/log" -o \
            "-h 127.0.0.1 -p $port -k $server_dir -c fsync=off -c max_connections=500" </dev/null; then
            TEST_POSTGRES_URL=postgres://postgres@127.0.0.1:$port/postgres
            printf '%s\n' "$TEST_POSTGRES_URL"
            return
        fi
    done
    fail "PostgreSQL does not start: $(cat "$server_dir/log")"
}

# stop_postgres NAME: to stop a server, programs of any version will do.
stop_postgres() {
    local server_dir=$work/postgres-$1
    if [ -f "$server_dir/data/postmaster.pid" ]; then
        as_server_user "$pg_bin/pg_ctl" stop --silent -D "$server_dir/data" -m immediate || true
    fi
}

stop_every_postgres() {
    local server_dir
    for server_dir in "$work"/postgres-*/; do
        server_dir=${server_dir%/}
        stop_postgres "${server_dir#"$work/postgres-"}"
    done
}
