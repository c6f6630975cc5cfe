# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with the other parts
# Runs the tests, with everything in the environment that they look for there.
#
# Sets status, and writes what the tests say to $log.

status=0

# cargo_test [ARGUMENTS OF CARGO TEST] [-- ARGUMENTS OF THE TESTS]
cargo_test() {
    local cargo_arguments=()
    while [ $# -gt 0 ] && [ "$1" != "--" ]; do
        cargo_arguments+=("$1")
        shift
    done
    export TEST_POSTGRES_URL TEST_PG_SERVER TEST_DJANGO TEST_DJANGO_CODEC
    export TEST_PG_BIN=$pg_bin TEST_REDIS_SERVER=$redis_server TEST_PGBOUNCER=$pgbouncer
    export TEST_FAKETIME=$faketime TEST_CHROMIUM=$chromium TEST_CHROMEDRIVER=$chromedriver
    if [ -n "$long" ]; then export TEST_LONG=1 TEST_PATRONI=$patroni TEST_ETCD=$etcd; else unset TEST_LONG; fi
    # Tests that need a server are ignored by default.
    TMPDIR=$work cargo test --all-features --no-fail-fast ${cargo_arguments[@]+"${cargo_arguments[@]}"} \
        -- --include-ignored "${@:2}" </dev/null 2>&1 | tee -a "$log" || status=1
}

fuzz() {
    TMPDIR=$work tests/fuzz/run "$1" || status=1
}
