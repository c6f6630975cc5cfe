# shellcheck shell=bash disable=SC2034 # variables are shared with the other parts
# The directory for everything that a run makes, what is said when a step fails, and what is cleaned up at the end.
#
# Sets work, target and log, the file for what the tests say.

fail() {
    printf '\ntests/run: %s\n' "$*" >&2
    exit 1
}

# The name of the running step, for the message when it fails.
doing=start

step() {
    printf '\n== %s\n' "$1"
    doing=$1
}

check() {
    step "$*"
    "$@"
}

# Servers and browsers that a test left behind when it was killed. They have the temporary directory in their
# environment, or work in it.
kill_leftovers() {
    local process
    for process in /proc/[0-9]*; do
        if grep -qszxF "TMPDIR=$work" "$process/environ" ||
            [[ $(readlink "$process/cwd" || true) == "$work"* ]]; then
            kill -KILL "${process#/proc/}" || true
        fi
    done 2>/dev/null
}

# shellcheck disable=SC2329 # the trap calls it
finish() {
    local status=$?
    trap - EXIT
    stop_every_postgres
    kill_leftovers
    rm -rf "$work" 2>/dev/null || { sleep 1 && rm -rf "$work"; }
    if [ "$status" -ne 0 ]; then
        printf 'tests/run: FAILED at: %s\n' "$doing" >&2
    fi
    exit "$status"
}

make_work_directory() {
    target=${CARGO_TARGET_DIR:-target}
    case $target in /*) ;; *) target=$PWD/$target ;; esac
    work=$(mktemp -d /tmp/test-run.XXXXXX)
    log=$work/tests.log
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    chmod 755 "$work" # PostgreSQL's user must get through
}
