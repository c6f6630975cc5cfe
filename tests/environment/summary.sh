# shellcheck shell=bash disable=SC2154 # variables are shared with the other parts
# Counts what became of the tests.

# count_tests FILE…: how many passed, failed, were left out.
count_tests() {
    # "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in …"
    cat "$@" 2>/dev/null | awk '
        /^test result: / { passed += $4; failed += $6; left_out += $8 + $12 }
        END { print passed + 0, failed + 0, left_out + 0 }'
}

# The last line is "N passed, N failed". Fails if a test failed, and, unless only a subset was wanted, if one was left
# out or none ran.
print_summary() {
    local passed failed left_out
    # On the other versions of PostgreSQL, tests that need none are left out on purpose.
    read -r _ _ left_out < <(count_tests "$log")
    read -r passed failed _ < <(count_tests "$log" "$work"/postgresql-*.log)
    printf '\n'
    print_djangos
    print_postgres
    printf '%d min %d s\n' $((SECONDS / 60)) $((SECONDS % 60))
    if [ -n "$subset" ]; then
        printf 'subset: %s passed, %s failed\n' "$passed" "$failed"
        exit "$status"
    fi
    if [ "$left_out" -gt 0 ]; then
        printf '%s tests were left out, and none may be\n' "$left_out"
        status=1
    fi
    if [ "$passed" -eq 0 ]; then
        printf 'no test ran\n'
        status=1
    fi
    printf '%s passed, %s failed\n' "$passed" "$failed"
    exit "$status"
}
