# Developer commands; `make help` lists them. Each installs the Debian packages that it needs (tests/env/packages.sh). Rust is the
# only prerequisite.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The directory of rustup is not on the PATH of every shell.
export PATH := $(PATH):$(HOME)/.cargo/bin

# More than one thread for each core, because tests wait for their servers.
TEST_THREADS := $(shell echo $$(($$(nproc) * 3 / 2)))
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
MACHETE_VERSION := 0.9.2
MACHETE := .dev/tools/bin/cargo-machete
DENY_VERSION := 0.20.2
DENY := .dev/tools/bin/cargo-deny
CARGO_DEB_VERSION := 3.8.0
CARGO_DEB := .dev/tools/bin/cargo-deb

.PHONY: help run build test browser-test interop-test feeds-test screenshots systemd-test reference deb deb-test lint bench torture clean-dev

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: build ## Build and run both brands with a private PostgreSQL and Redis until Ctrl-C
	@exec tests/env/run.sh "$(TARGET_DIR)/release"

build: ## Build the release binaries
	@tests/env/packages.sh rust cc ca
	@cargo build --release --locked

test: ## Run all tests: Rust tests on private services, the units under systemd, feeds, public libraries, both shops in Chromium
	@tests/env/packages.sh rust cc ca postgresql pgbouncer redis openssl curl ss chromium node certutil emoji systemd lxml
	@cargo test --locked -- --test-threads=$(TEST_THREADS)
	@tests/systemd/run.sh "$(TARGET_DIR)/debug"
	@tests/env/throwaway.sh "$(TARGET_DIR)/debug" tests/feeds/compare.py "$(TARGET_DIR)/debug"
	@tests/env/throwaway.sh "$(TARGET_DIR)/debug" tests/interop/run.sh "$(TARGET_DIR)/debug"
	@tests/env/throwaway.sh "$(TARGET_DIR)/debug" tests/browser/run.sh
	@echo 'make test: all tests passed'

browser-test: ## Test the shops in Chromium, against make run
	@exec tests/browser/run.sh

interop-test: ## Test with public libraries and tools, against make run
	@exec tests/interop/run.sh "$(TARGET_DIR)/release"

feeds-test: ## Import feeds and compare every item with what lxml reads (FEEDS='DIRECTORY FILE moscow=FILE,spb=FILE' for others)
	@tests/env/packages.sh rust cc ca postgresql redis openssl curl ss lxml
	@cargo build --locked
	@exec tests/env/throwaway.sh "$(TARGET_DIR)/debug" tests/feeds/compare.py "$(TARGET_DIR)/debug" $(FEEDS)

screenshots: ## Take the screenshots of the README
	@tests/env/packages.sh rust cc ca
	@cargo build --locked
	@exec tests/env/throwaway.sh "$(TARGET_DIR)/debug" tests/browser/run.sh tests/browser/screenshots.mjs

systemd-test: ## Test the units with a real systemd in namespaces of its own (root)
	@tests/env/packages.sh rust cc ca
	@cargo build --locked
	@exec tests/systemd/run.sh "$(TARGET_DIR)/debug"

reference: ## Regenerate brands/README.md from the configuration code
	@tests/env/packages.sh rust cc ca
	@rm -rf .dev/package
	@cargo run --quiet --locked --bin brandgate -- docs .dev/package
	@cp -- .dev/package/configuration.md brands/README.md

deb: $(CARGO_DEB) ## Build the Debian package in target/debian
	@tests/env/packages.sh rust cc ca dpkg-dev
	@rm -rf .dev/package
	@cargo run --quiet --locked --bin brandgate -- docs .dev/package
	@cargo build --locked --profile dist --no-default-features --bin brandgate
	@$(CARGO_DEB) --quiet --no-build --locked --profile dist $(DEB)

deb-test: $(CARGO_DEB) ## Install, upgrade and remove the package on a bare Debian (root, takes minutes)
	@rm -rf .dev/deb-test
	@tests/systemd/former.sh .dev/deb-test/former
	@CARGO_TARGET_DIR=$(abspath $(TARGET_DIR)) $(MAKE) -C .dev/deb-test/former deb CARGO_DEB=$(abspath $(CARGO_DEB)) DEB='--deb-version 0.0.1-1 -o ../0.0.1-1.deb'
	@$(MAKE) deb DEB='--deb-version 0.0.2-1 -o .dev/deb-test/0.0.2-1.deb'
	@exec tests/systemd/package.sh .dev/deb-test

lint: $(MACHETE) $(DENY) ## Check formatting, clippy, unused dependencies, licences, shell scripts and alerts
	@tests/env/packages.sh rust cc ca shellcheck promtool
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
	@cargo fmt --check
	@cargo clippy --all-targets --locked -- -D warnings
	@$(MACHETE)
	@$(DENY) --log-level error check licenses bans sources
	@promtool check config --syntax-only systemd/monitoring/prometheus.yml >/dev/null
	@promtool check rules systemd/monitoring/alerts.yml >/dev/null
	@promtool test rules systemd/monitoring/alerts_test.yml >/dev/null
	@shellcheck tests/env/*.sh tests/browser/*.sh tests/interop/*.sh tests/systemd/*.sh tests/torture/*.sh systemd/deb/* systemd/certbot/* .ci/run $(wildcard bench/*.sh)

# A file target: rebuilt when the version above changes.
$(MACHETE): Makefile
	@tests/env/packages.sh rust cc ca
	@[[ -x $@ && "$$($@ --version 2>/dev/null)" == "$(MACHETE_VERSION)" ]] || \
	  cargo install --debug --quiet --locked --root .dev/tools cargo-machete@$(MACHETE_VERSION)
	@touch $@

# Unoptimized, because optimizing takes minutes longer and the check takes seconds.
$(DENY): Makefile
	@tests/env/packages.sh rust cc ca
	@[[ -x $@ && "$$($@ --version 2>/dev/null)" == "cargo-deny $(DENY_VERSION)" ]] || \
	  cargo install --debug --quiet --locked --root .dev/tools cargo-deny@$(DENY_VERSION)
	@touch $@

$(CARGO_DEB): Makefile
	@tests/env/packages.sh rust cc ca
	@[[ -x $@ && "$$($@ --version 2>/dev/null)" == "$(CARGO_DEB_VERSION)" ]] || \
	  cargo install --quiet --locked --root .dev/tools cargo-deb@$(CARGO_DEB_VERSION)
	@touch $@

bench: ## Measure speeds and sizes, compared with nginx, pgbench and Fastify (tens of minutes; ONLY=hot for a part)
	@bench/run.sh check
	@tests/env/packages.sh rust cc ca postgresql redis openssl curl nginx wrk h2load python3 node
	@cargo build --locked --profile dist --no-default-features --bin brandgate --example handshakes
	@exec bench/run.sh

torture: ## Attack a site of its own with hostile clients, under a memory limit (about 20 minutes; ONLY=unread,bodies SHORT=1)
	@tests/torture/run.sh check
	@tests/env/packages.sh rust cc ca
	@cargo build --release --locked
	@exec tests/torture/run.sh "$(TARGET_DIR)/release"

clean-dev: ## Stop the services of .dev and remove it with all its data
	@[[ -d .dev ]] || exit 0; \
	exec 9>>.dev/run.lock; \
	flock -n 9 || { echo 'clean-dev: make run is active; stop it first' >&2; exit 1; }; \
	tests/env/services.sh discard .dev; \
	rm -rf .dev
