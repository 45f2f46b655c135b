# What there is to do in this house. `make` lists it.
#
# Everything here works on a fresh machine that has Rust (https://rustup.rs) and Debian's
# package manager. Only the tests need more, and install it: a browser, for the pages; curl and
# Python, for clients that nobody here wrote; strace, to count system calls.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
TEST_PACKAGES := chromium chromium-driver curl python3-venv strace

.DEFAULT_GOAL := help
.PHONY: help run test abuse soak mutants fuzz fuzz-smoke conformance check fmt bench compare million pictures doc tools clean

help: ## Say what there is to do (this)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Serve the demos on http://127.0.0.1:8080/
	$(CARGO) run --release

test: tools ## Run all tests; installs Chromium, curl, Python and strace first if missing (Debian, sudo)
	$(CARGO) test --locked --all-features
	ENCKE_SEEDS=$${ENCKE_SEEDS:-5000} $(CARGO) test --locked --no-default-features --profile soak --test simulation

abuse: ## Abuse the release build for ABUSE_MINUTES (60); behind it, everything must be as it was (docs/abuse.md)
	ENCKE_ABUSE_MINUTES=$(or $(ABUSE_MINUTES),60) $(CARGO) test --locked --release --test abuse -- --nocapture

soak: ## Play a million worlds of the simulation (ENCKE_FIRST, ENCKE_SEEDS: other ones)
	ENCKE_SEEDS=$${ENCKE_SEEDS:-1000000} $(CARGO) test --locked --no-default-features --profile soak --test simulation -- --nocapture

mutants: ## Make every planted mistake, and have the simulation find it (ENCKE_MUTANT: only some)
	$(CARGO) test --locked --test mutants -- --nocapture

fuzz: ## Fuzz every target for FUZZ_SECONDS (600) each; FUZZ="head frames" only these
	@scripts/install-tools g++
	scripts/fuzz $(or $(FUZZ_SECONDS),600) $(FUZZ)

fuzz-smoke: ## Play the corpus of every target, and a few seconds more
	@scripts/install-tools g++
	scripts/fuzz 5

conformance: tools ## Play the Autobahn cases and slowhttptest against the release build
	@scripts/install-tools slowhttptest
	scripts/install-clients $(TARGET)/kosoku kosoku==0.1.0
	$(CARGO) build --locked --release
	scripts/conformance $(TARGET)/release/encke $(TARGET)/kosoku/bin/kosoku $(TARGET)/conformance
	scripts/slow-clients $(TARGET)/release/encke $(TARGET)/slow-clients

check: ## Formatting, lints, the core without the kernel, the docs: all without a warning
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings
	$(CARGO) clippy --locked --lib --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

fmt: ## Format the sources
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml

bench: ## Measure the inside: heads, wheel, encoding, sweeps
	$(CARGO) bench --locked --bench head --bench wheel --bench encode --bench sweep

compare: ## Measure encke beside nginx with nchan, Node and PHP; installs them first if missing (Debian, sudo)
	benches/compare/run --install

million: ## Hold 100,000 connections in a kernel of one's own (user-mode-linux; docs/a-million.md)
	benches/million/run 1000 10000 100000

pictures: tools ## Take the screenshots of the README anew
	ENCKE_PICTURES=docs/images $(CARGO) test --locked --test pages pictures

doc: ## Make the tour of the sources and open it in a browser
	$(CARGO) doc --no-deps --document-private-items --open

tools: ## Install what the tests need beside Rust
	@scripts/install-tools $(TEST_PACKAGES)
	@scripts/install-clients $(TARGET)/clients -r tests/clients/requirements.txt

clean: ## Remove everything that was built
	$(CARGO) clean
