# Every task of this repository. `./justw TASK` gets first what a task needs; `just TASK` expects it to be there.

set shell := ["bash", "-euo", "pipefail", "-c"]

# The end-to-end tests start brokers: two at a time are enough for two cores.
export RUST_TEST_THREADS := env("RUST_TEST_THREADS", "2")
export RUST_BACKTRACE := env("RUST_BACKTRACE", "0")

# Packages whose tests start other processes: brokers, namespaces, the built binary.
outside := "--package weir --package weir-testkit --package weir-demo"
inside := "--workspace --exclude weir --exclude weir-testkit --exclude weir-demo"

[private]
default:
    @just --list --unsorted

# See weir at work on this machine: an embedded broker, weir in front of it, four clients
demo *arguments:
    cargo build --locked --quiet --package weir --package weir-demo
    "${CARGO_TARGET_DIR:-target}/debug/weir-demo" {{arguments}}

# The release binary; prints where it is
build:
    cargo build --release --locked --quiet --package weir
    @echo "${CARGO_TARGET_DIR:-$PWD/target}/release/weir"

# Everything that must hold, part by part, with the time of each
test:
    tools/parts fmt-check clippy deny unit e2e controls doc

# Formatting and lints
lint: fmt-check clippy

# Format the code
fmt:
    cargo fmt --all

[private]
fmt-check:
    cargo fmt --all --check

[private]
clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo clippy --package weir --features sabotage --all-targets --locked -- -D warnings

# Tests that need nothing but this process
unit:
    cargo test --locked {{inside}}
    cargo test --locked {{outside}} --lib --bins
    cargo test --locked {{outside}} --doc

# Tests against a real Apache Kafka, in network namespaces and with the built binary
e2e *arguments:
    cargo build --locked --package weir --package weir-demo
    # `--tests` leaves the controls out, which need a feature; `--test '*'` would fail for want of it.
    cargo test --locked {{outside}} --tests {{arguments}}

# A flood of bad logins for the promised 60 seconds: the log must grow by less than a megabyte
flood-proof:
    WEIR_FLOOD_SECONDS=60 cargo test --locked --package weir --test disk flood -- --nocapture

# The same proofs with one protection switched off: each must fail
controls *arguments:
    cargo test --locked --package weir --features sabotage --test 'controls_*' {{arguments}}

# Micro-benchmarks of the record path
bench *arguments:
    cargo bench --locked --package weir-benches {{arguments}}

# The same rows in instructions and allocations, against benches/instructions.txt; `--write` writes that anew
bench-instructions *arguments:
    cargo bench --locked --quiet --package weir-benches --bench instructions -- {{arguments}}

# What one inspection holds in memory at most, beside what weir reckons with
bench-memory:
    cargo bench --locked --quiet --package weir-benches --bench memory

# Fuzz each decoder for 60 seconds, or `fuzz SECONDS TARGET…`; with a nightly toolchain and cargo-fuzz
fuzz *arguments:
    tools/fuzz {{arguments}}

# Nobody waits for a big batch: Heartbeats of 100 connections beside one that produces batches of 16 MiB
bench-fair *arguments:
    cargo build --release --locked --package weir
    cargo bench --locked --quiet --package weir-benches --bench fair -- \
      --weir "${CARGO_TARGET_DIR:-$PWD/target}/release/weir" {{arguments}}

# The whole gateway beside direct and HAProxy before a real Kafka: processor time per GB, added latency, memory; about ten minutes
bench-e2e *arguments:
    cargo build --release --locked --package weir
    cargo bench --locked --quiet --package weir-benches --bench e2e -- \
      --weir "${CARGO_TARGET_DIR:-$PWD/target}/release/weir" {{arguments}}

# The Kubernetes manifests against a real API server, which is built first: once, about ten minutes
k8s-check:
    tools/k8s-check

# Keys of a product: Keycloak rotates its keys while Java and librdkafka produce and consume
oidc-proof:
    cargo test --locked --package weir --features proofs --test keycloak -- --nocapture

# Licences, sources and banned crates of all dependencies
deny:
    cargo deny --locked check --hide-inclusion-graph bans licenses sources

# Write the guard's schema table again from Kafka's own message definitions
schema:
    cargo build --locked --quiet --package weir-testkit --bins
    messages=$("${CARGO_TARGET_DIR:-target}/debug/kafka-jars" messages) && \
      "${CARGO_TARGET_DIR:-target}/debug/schema-gen" "$messages" crates/protocol/src/schema/table.rs

# Documentation of all crates, without a warning
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

# Remove what was built; the downloads and RocksDB stay
clean:
    cargo clean
