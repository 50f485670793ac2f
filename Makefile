# make test       everything that must hold; the last line is "N passed, N failed"
# make check      formatting, lints, dependencies, documentation
# make bench      measures ingest and queries of a release build and prints the figures
# make docs       the API documentation of the workspace
# make torture    the long gate of the fault suite, for hours; ARGS="-k kills --kills 200" for a part of it
# make collector  builds the OpenTelemetry Collector that the tests send through, from its Go modules

SHELL := bash
CARGO = source tools/environment && cargo

.PHONY: test check bench docs torture collector

test:
	@tools/test

check:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	tools/check-dependencies
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check; else echo "cargo-deny is not installed: skipped"; fi
	export RUSTDOCFLAGS="-D warnings"; $(CARGO) doc --workspace --no-deps --document-private-items

bench:
	@benches/run

docs:
	$(CARGO) doc --workspace --no-deps

torture:
	@tools/torture long $(ARGS)

collector:
	@tools/exporters collector
