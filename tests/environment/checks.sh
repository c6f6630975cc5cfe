# shellcheck shell=bash disable=SC2154 # variables are shared with the other parts
# Format, lints, documentation, licences, the package: what needs no server.

run_checks() {
    check cargo fmt --check
    check cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
    check cargo clippy -q --all-targets --all-features -- -D warnings
    check cargo clippy -q --test cluster --all-features -- -D warnings
    check cargo clippy -q --lib -- -D warnings
    check cargo clippy -q --lib --no-default-features -- -D warnings
    check cargo clippy -q --lib --no-default-features --features sqlite -- -D warnings
    check cargo clippy -q --lib --no-default-features --features redis -- -D warnings
    check cargo clippy -q --lib --features tls -- -D warnings
    check cargo clippy -q --lib --features auth -- -D warnings
    check cargo clippy -q --lib --no-default-features --features sqlite,auth -- -D warnings
    check cargo clippy -q --lib --features csrf -- -D warnings
    check cargo clippy -q --lib --no-default-features --features metrics -- -D warnings
    check cargo clippy -q --lib --features messages -- -D warnings
    RUSTDOCFLAGS="-D warnings" check cargo doc -q --no-deps --all-features
    # Not built: all that is in the package was built above.
    check cargo package -q --allow-dirty --no-verify
    check licences
}

# With any of the Pythons.
licences() {
    cargo metadata -q --format-version 1 </dev/null >"$work/metadata.json"
    "$(tail -n 1 <<<"$pythons" | cut -d ' ' -f 2-)" tests/environment/licences.py <"$work/metadata.json"
}
