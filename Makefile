# Two commands do everything on a fresh machine with Rust: `make demo` and `make test`.
SHELL := /bin/bash
CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

LINT := target/tools/lint

.PHONY: help demo build dist test test-tools dashboard pictures lint lint-tools advisories hooks bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: ## the whole product in a minute, nothing to set up
	$(CARGO) run --locked -- demo

build: ## the release binary, in target/release
	$(CARGO) build --locked --release

dist: ## Debian package, static binary, bill of materials, checksums: into target/dist (Debian; some minutes)
	@deploy/dist/dist.sh

# What the tests start is fetched while the compiler works: the one waits for the network, the other for the processor. Most tests wait for real
# servers and real time longer than they compute, so there are more of them at once than processors. An expectation names itself; a backtrace
# of the runtime below it would only push its words out of what CI keeps.
test: ## every test, real servers included (needs root: some boot machines and mount disks)
	@[ "$$(id -u)" -eq 0 ] || { echo "Some tests boot machines, mount disks and give files away: run this as root, with cargo in its PATH." >&2; exit 1; }
	@tests/tools.sh & tools=$$!; $(CARGO) test --locked --no-run; built=$$?; wait $$tools && exit $$built
	RUST_BACKTRACE=0 RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(($$(nproc) * 3 / 2))} $(CARGO) test --locked

test-tools: ## installs the real servers that the tests start (Debian, needs root or sudo once)
	@tests/tools.sh

dashboard: ## writes deploy/grafana/dashboards/tokenwatch.json anew from the code in tests/it/grafana
	TOKENWATCH_WRITE_DASHBOARD=1 $(CARGO) test --locked --test it -- grafana::the_file_is_what_is_generated

pictures: test-tools ## makes the README's pictures anew from the demo (a few minutes, 500 MB below target/)
	@docs/pictures/make.sh

# Dependencies are judged by what stands in Cargo.lock. Known vulnerabilities need a database from the network: `make advisories`.
lint: lint-tools ## formatting, clippy, documentation, spelling, licences and sources of dependencies, dead dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --quiet
	$(LINT)/python/bin/typos
	$(LINT)/bin/cargo-machete
	$(LINT)/bin/cargo-deny --locked check licenses bans sources

lint-tools: ## installs what lint judges with, into target/tools/lint (once, about five minutes)
	@CARGO=$(CARGO) tests/lint-tools.sh

advisories: lint-tools ## known vulnerabilities of dependencies (fetches the RustSec database)
	$(LINT)/bin/cargo-deny --locked check advisories

hooks: ## formatting and spelling before each commit of this checkout, for whoever likes that
	git config core.hooksPath .githooks

bench: test-tools ## speed and size, with the aims of docs/performance.md
	$(CARGO) bench --locked

clean: ## removes everything that was built
	$(CARGO) clean
