# What there is to do in this house. `make` lists it.
#
# Everything here works on a fresh machine that has Rust (https://rustup.rs) and Debian's
# package manager. Only the tests need more, and install it: a browser, for the pages; curl and
# Python, for clients that nobody here wrote.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
TEST_PACKAGES := chromium chromium-driver curl python3-venv

.DEFAULT_GOAL := help
.PHONY: help run test soak mutants conformance check fmt bench pictures doc tools clean

help: ## Say what there is to do (this)
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Serve the demos on http://127.0.0.1:8080/
	$(CARGO) run --release

test: tools ## Run all tests; installs Chromium, curl and Python first if missing (Debian, sudo)
	$(CARGO) test --locked --all-features
	ENCKE_SEEDS=$${ENCKE_SEEDS:-5000} $(CARGO) test --locked --no-default-features --profile soak --test simulation

soak: ## Play a million worlds of the simulation (ENCKE_FIRST, ENCKE_SEEDS: other ones)
	ENCKE_SEEDS=$${ENCKE_SEEDS:-1000000} $(CARGO) test --locked --no-default-features --profile soak --test simulation -- --nocapture

mutants: ## Make every planted mistake, and have the simulation find it (ENCKE_MUTANT: only some)
	$(CARGO) test --locked --test mutants -- --nocapture

conformance: tools ## Play the Autobahn cases for WebSockets against the release build
	scripts/install-clients $(TARGET)/kosoku kosoku==0.1.0
	$(CARGO) build --locked --release
	scripts/conformance $(TARGET)/release/encke $(TARGET)/kosoku/bin/kosoku $(TARGET)/conformance

check: ## Formatting, lints, the core without the kernel, the docs: all without a warning
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings
	$(CARGO) clippy --locked --lib --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

fmt: ## Format the sources
	$(CARGO) fmt --all

bench: ## Measure the inside: parsing a head, the timer wheel
	$(CARGO) bench --locked --benches

pictures: tools ## Take the screenshots of the README anew
	ENCKE_PICTURES=docs/images $(CARGO) test --locked --test pages pictures

doc: ## Make the tour of the sources and open it in a browser
	$(CARGO) doc --no-deps --document-private-items --open

tools: ## Install what the tests need beside Rust
	@scripts/install-tools $(TEST_PACKAGES)
	@scripts/install-clients $(TARGET)/clients -r tests/clients/requirements.txt

clean: ## Remove everything that was built
	$(CARGO) clean
