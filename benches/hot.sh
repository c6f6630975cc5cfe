#!/usr/bin/env bash
# Measures the cost of a save in PostgreSQL by fillfactor, with and without Django's index for LIKE, and with an
# exact or a rounded expire_date.
#
#   benches/hot.sh postgres://postgres@127.0.0.1:5432/scratch [rounds]
#
# The database is for this script alone, on a server of this machine that does nothing else. Give the server
# max_wal_size = 8GB, so that no checkpoint comes in between. The role is a superuser.
#
# Sessions come and go as on a site: one is created, five saves follow among those of 1,000 other visitors, and
# an expired one is deleted. Every configuration has its turn in each round, in a random order. The table at
# the end has the medians. WAL and processor time are those of all these statements, divided by the saves.
set -euo pipefail

url=${1:?the URL of an empty database}
rounds=${2:-3}
rows=20000
visits=1000 # of each of 8 connections in a turn
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sql() { psql -qAtX -v ON_ERROR_STOP=1 "$url" -c "$1"; }

# 300 characters, as a signed session of a user has; other ones at each save.
value="rpad(md5(random()::text), 300, md5(random()::text))"
# As the crate rounds: up to a multiple of a thousandth of two weeks.
rounded="to_timestamp(ceil(extract(epoch FROM now() + interval '14 days') / 1209.6) * 1209.6)"
exact="now() + interval '14 days'"

fill() { # fillfactor, like or none
    sql "SET client_min_messages = error; DROP TABLE IF EXISTS hot_session; DROP SEQUENCE IF EXISTS hot_number"
    sql "CREATE TABLE hot_session (session_key varchar(40) NOT NULL PRIMARY KEY, session_data text NOT NULL,
         expire_date timestamptz NOT NULL) WITH (fillfactor = $1)"
    sql "CREATE INDEX ON hot_session (expire_date)"
    [ "$2" = none ] || sql "CREATE INDEX ON hot_session (session_key varchar_pattern_ops)"
    sql "CREATE SEQUENCE hot_number START $((rows + 1)) CACHE 1"
    sql "INSERT INTO hot_session SELECT md5(n::text), $value, $rounded FROM generate_series(1, $rows) AS n"
    sql "VACUUM ANALYZE hot_session"
}

visits() {
    pgbench -n -M prepared -c 8 -j 1 -t "$visits" -f "$work/visit.sql" "$url" 2>&1 |
        sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}

# Clock ticks of all processes of the server that have ended: pgbench's connections and autovacuum's workers.
ticks() { awk '{ print $16 + $17 }' "/proc/$postmaster/stat"; }

turn() { # expiry, fillfactor, like or none
    fill "$2" "$3"
    {
        echo "SELECT nextval('hot_number') AS number \\gset"
        echo "INSERT INTO hot_session VALUES (md5(:number::text), $value, ${!1});"
        for save in 1 2 3 4 5; do
            echo "\\set other$save :number - random(8, 1008)"
            echo "UPDATE hot_session SET session_data = $value, expire_date = ${!1}" \
                "WHERE session_key = md5(:other$save::text);"
        done
        echo "DELETE FROM hot_session WHERE session_key = md5((:number - $rows)::text);"
    } >"$work/visit.sql"
    # Until pages are filled as they are for good, and are in the WAL as a whole.
    sql CHECKPOINT
    PGOPTIONS="-c synchronous_commit=off" visits >/dev/null
    sql "VACUUM hot_session"
    sql "SELECT pg_stat_reset_single_table_counters('hot_session'::regclass)" >/dev/null
    sleep 1
    local wal cpu rate counted updates share size indexes
    wal=$(sql "SELECT pg_current_wal_insert_lsn() - '0/0'") cpu=$(ticks)
    rate=$(visits)
    cpu=$(($(ticks) - cpu)) wal=$(($(sql "SELECT pg_current_wal_insert_lsn() - '0/0'") - wal))
    sleep 1 # until the statistics are there
    counted=$(sql "SELECT n_tup_upd, 100.0 * n_tup_hot_upd / n_tup_upd, pg_table_size(relid) / 1e6,
        pg_indexes_size(relid) / 1e6 FROM pg_stat_user_tables WHERE relname = 'hot_session'")
    IFS='|' read -r updates share size indexes <<<"$counted"
    awk "BEGIN { print 5 * $rate, $wal / $updates, 1e6 * $cpu / $(getconf CLK_TCK) / $updates }" |
        sed "s|\$| $share $size $indexes|" >>"$work/$1 $2 $3"
}

# The server's first process, which is the parent of a connection's.
postmaster=$(psql -qAtX "$url" <<'SQL'
SELECT pg_backend_pid() AS pid \gset
\setenv PID :pid
\! awk '{ print $4 }' /proc/$PID/stat
SQL
)

configurations=("exact 100 like" "exact 100 none" "exact 80 like" "rounded 100 like" "rounded 90 like"
    "rounded 80 like" "rounded 70 like" "rounded 100 none" "rounded 90 none" "rounded 80 none" "rounded 70 none")
for _ in $(seq "$rounds"); do
    while read -r expiry fillfactor like; do
        turn "$expiry" "$fillfactor" "$like"
    done < <(printf '%s\n' "${configurations[@]}" | shuf)
done

median() { cut -d' ' -f"$1" "$2" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

sql "SELECT version()"
heads="expiry fillfactor LIKE saves/s WAL/save cpu-us/save HOT% table/MB indexes/MB"
# shellcheck disable=SC2086
printf '%-8s %10s %5s %8s %9s %11s %6s %9s %11s\n' $heads
for configuration in "${configurations[@]}"; do
    file="$work/$configuration"
    figures=()
    for column in 1 2 3 4 5 6; do figures+=("$(median "$column" "$file")"); done
    # shellcheck disable=SC2086
    printf '%-8s %10s %5s %8.0f %9.0f %11.1f %6.1f %9.1f %11.1f\n' $configuration "${figures[@]}"
done
sql "DROP TABLE hot_session; DROP SEQUENCE hot_number"
