# shellcheck shell=bash disable=SC2154 # variables are shared with the other parts
# A report on a server that somebody else started. Needs a Rust toolchain and a C compiler, and no other server.
#
# Everything happens in a schema of its own with a random name, which is dropped at the end. TEST_AGAINST_PREPARE is
# run once the table is made; {table} and {schema} in it stand for their names. For Citus:
#
#   TEST_AGAINST_PREPARE="SELECT create_distributed_table('{table}', 'session_key')" tests/run --against URL

# report_against URL: exits with 0 if all parts passed.
report_against() {
    make_work_directory
    step "tools"
    find_rust
    command -v cc >/dev/null || fail "a C compiler (cc) is missing"
    step "report"
    cargo test -q --all-features --test distributed --no-run </dev/null
    # Without the TMPDIR by which leftovers are found and killed: stopped by Ctrl-C, the report drops its schema.
    TEST_AGAINST=$1 RUST_BACKTRACE=0 cargo test -q --all-features --test distributed -- \
        --include-ignored --nocapture --exact against::a_report_on_a_server </dev/null
    exit 0
}
