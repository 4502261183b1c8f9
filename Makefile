# Tidegate: the commands that a person types. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help run build test check unit sdk console console-test fuzz-check fuzz deny tools demo bench soak chaos audit release

CARGO ?= cargo

help:
	@echo 'make run     serve from this tree: RTMP on 1935, HTTP on 8080, data in ./data'
	@echo 'make demo    watch a conference happen: two members, a role change, a kick'
	@echo 'make test    everything that must hold: format, lints, tests, fuzz targets, licences'
	@echo 'make sdk     the JavaScript client and the examples, against the debug binary (a part of make test)'
	@echo 'make console build the console anew from web/console, into its dist'
	@echo 'make console-test  the console and the join page in Chromium (a part of make test)'
	@echo 'make build   the release binary: target/release/tidegate'
	@echo 'make release the same without the paths of this machine in it'
	@echo 'make audit   the supply chain: known weaknesses, licences, sources, and an SBOM; needs the open internet'
	@echo 'make fuzz    every fuzz target with a coverage-guided fuzzer, two at a time; SECONDS=600 for each'
	@echo 'make soak    churn against the release build for MINUTES=60, and what it leaves behind in memory, descriptors, tasks and files'
	@echo 'make chaos   two hundred kills under load, and the faults of disk, clock and network that take long or need root'
	@echo 'make bench   what the media path costs beside nginx and a bare server; WINDOW_SECONDS=8 RUNS=3'

cargo-present:
	@command -v $(CARGO) >/dev/null || { \
	  echo 'cargo is missing. Install Rust 1.95 or newer from https://rustup.rs, then run this again.' >&2; \
	  exit 1; }
.PHONY: cargo-present

run: cargo-present
	$(CARGO) run --release -- serve

build: cargo-present
	$(CARGO) build --release

# Without the paths of this machine in the binary, so that it need not matter where the sources lie.
release: cargo-present
	RUSTFLAGS="$$(tools/remapped-paths)" $(CARGO) build --release --locked --bin tidegate

demo: cargo-present
	tools/demo

# A quiet machine with two free cores, please. Needs nginx and its RTMP module: apt-get install nginx libnginx-mod-rtmp
bench: cargo-present
	WINDOW_SECONDS=$${WINDOW_SECONDS:-8} RUNS=$${RUNS:-3} $(CARGO) bench --bench media -- --json $${CARGO_TARGET_DIR:-target}/media-bench.json $(BENCH)

# The load is a test of its own, built like the other tests; what is measured is the release build.
soak: cargo-present
	$(CARGO) build --release --bin tidegate
	TIDEGATE_BINARY="$$(realpath $${CARGO_TARGET_DIR:-target})/release/tidegate" TIDEGATE_SOAK_MINUTES=$${MINUTES:-60} \
	  $(CARGO) test --test soak -- --ignored --nocapture

# As root: network namespaces, a file system that is filled, strace. Needs ip, nft and strace: apt-get install iproute2 nftables strace
chaos: cargo-present
	TIDEGATE_MODEL_KILLS=$${KILLS:-200} $(CARGO) test --test model -- --nocapture
	$(CARGO) test --test faults -- --include-ignored --nocapture --test-threads 1

tools: cargo-present
	tools/prepare-tests

# The licences come last: the tool that reads them is the longest to install.
test: tools check unit sdk console-test fuzz-check deny

check: cargo-present
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

unit: cargo-present
	$(CARGO) test --doc --quiet
	$(CARGO) nextest run

# The client and the examples, with ffmpeg as the phone and the gateway that cargo built.
sdk: cargo-present
	$(CARGO) build --quiet
	cd sdk/js && npm ci --no-audit --no-fund --silent && npm test
	cd examples/backend-node && npm test

# Whoever changes web/console or sdk/js runs this and commits web/console/dist, which the binary carries.
console:
	cd web/console && npm ci --no-audit --no-fund --silent && npm run --silent build

# The pages as they stand in the binary, in Debian's Chromium; and that dist is what the sources give.
console-test: cargo-present
	$(CARGO) build --quiet
	cd web/console && npm ci --no-audit --no-fund --silent && npm run --silent test

fuzz-check: cargo-present
	if [ -f fuzz/Cargo.toml ]; then $(CARGO) check --locked --manifest-path fuzz/Cargo.toml; fi

# The short form is a part of `make test`: tests/fuzz_corpora.rs replays the corpora and changes them by chance.
fuzz: cargo-present
	tools/fuzz $(or $(SECONDS),600) $(TARGETS)

# The advisory database needs the open internet and is a separate matter: `make audit`.
deny: cargo-present
	$(CARGO) deny check licenses bans sources

# What `make test` leaves to the open internet, and the list of all that is built in.
audit: cargo-present
	tools/audit
