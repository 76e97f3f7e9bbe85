# `make` lists what there is.
.PHONY: help dev test test-rust test-api test-browser test-n8n check bench faults cost fuzz advisories event build web deploy clean
.DEFAULT_GOAL := help

ARCH  ?= arm64
STAGE ?= dev
export SAM_CLI_TELEMETRY = 0
export npm_config_update_notifier = false

tools := local/node_modules/.package-lock.json
venv  := local/.venv/.done
bin   := local/.venv/bin
# Their pins contradict those of the others, so they live apart.
checkov := local/.venv/checkov
schemathesis := local/.venv/schemathesis
deny   := local/.tools/cargo-deny@0.20.2/bin/cargo-deny
fuzzer := local/.tools/cargo-fuzz@0.13.2/bin/cargo-fuzz
lambda := PATH="$(CURDIR)/$(bin):$$PATH" cargo lambda

help: ## lists the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: $(tools) $(venv) ## starts everything on this machine; Ctrl-C stops it
	@node local/stack/main.mjs dev

test: test-rust test-api test-browser ## all tests, on the real local parts

test-rust: $(tools) $(venv) ## the Rust tests; T=name runs those whose name contains it
	cargo build --workspace --bins
	node local/stack/main.mjs run --sweep=0 -- cargo test --workspace --lib -- $(T)

test-api: $(tools) $(venv) $(schemathesis)/.done ## docs/openapi.yaml against the running functions; SEED=n throws other dice
	node --test --test-reporter=dot local/stack/*.test.mjs
	cargo build --workspace --bins
	node local/stack/main.mjs run --sweep=0 -- $(schemathesis)/bin/schemathesis --config-file tests/api/schemathesis.toml \
	  run docs/openapi.yaml $(addprefix --seed=,$(SEED))

test-browser: $(tools) $(venv) ## the pages in a headless browser; screenshots in target/screenshots
	cargo build --workspace --bins
	node local/stack/main.mjs run --database=embedded -- node --test --test-reporter=spec tests/browser/*.test.mjs

faults: $(tools) $(venv) ## every flow under every fault of every part; ONLY=Stripe: some of them; WRITE=1: docs/RELIABILITY.md
	cargo build --workspace --bins
	node local/stack/main.mjs run --sweep=0 -- cargo test --workspace --lib -- --ignored --nocapture --test-threads=1 faults::

test-n8n: $(tools) $(venv) ## the workflow in the real n8n (installs 1.2 GB once)
	cargo build --workspace --bins
	node local/n8n/test.mjs

check: $(tools) $(venv) $(checkov)/.done $(deny) ## formatting, lints, docs, packages, templates
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked --quiet
	$(deny) --locked check licenses bans sources
	$(bin)/sam validate --lint
	$(bin)/cfn-lint template.yaml
	$(checkov)/bin/checkov --config-file local/checkov.yaml
	$(bin)/openapi-spec-validator docs/openapi.yaml

bench: $(tools) ## what the functions take, the largest pictures, and a page of the grid (docs/BENCHMARKS.md)
	cargo build --release --bins --workspace --exclude bench --exclude operate
	cargo run --release -p bench
	cargo run --release -p imaging --example peak
	node local/bench/grid.mjs

cost: $(tools) ## what a month costs, and what gives way first (docs/COST.md)
	node local/bench/cost.mjs

FUZZ_SECONDS ?= 60

fuzz: fuzz-signatures fuzz-tokens fuzz-urls fuzz-texts fuzz-requests fuzz-messages fuzz-pictures ## wild input for what strangers reach, FUZZ_SECONDS=60 each; fuzz-urls and the like for one

# What is found goes into fuzz/target; the repository keeps what it began with. A crash says how to see it again.
fuzz-%: $(fuzzer)
	@mkdir -p fuzz/target/corpus/$*
	PATH="$(CURDIR)/$(dir $(fuzzer)):$$PATH" cargo +nightly fuzz run --sanitizer=$(sanitizer) --fuzz-dir=$(folder) $* \
		fuzz/target/corpus/$* $(folder)/corpus/$* -- -max_total_time=$(FUZZ_SECONDS) -max_len=$(longest) -rss_limit_mb=512 \
		-timeout=20 -dict=fuzz/words.dict -print_funcs=0 -print_final_stats=1

fuzz-%: folder = fuzz
fuzz-requests fuzz-messages: folder = fuzz/functions
fuzz-pictures: folder = fuzz/pictures
fuzz-%: longest = 4096
fuzz-pictures: longest = 65536
# Safe Rust has nothing that AddressSanitizer could find. The decoders of pictures are C; zig is a clang that watches it like Rust.
fuzz-%: sanitizer = none
fuzz-pictures: sanitizer = address
fuzz-pictures: $(venv)
fuzz-pictures: export CC_x86_64_unknown_linux_gnu = $(CURDIR)/$(bin)/python -m ziglang cc
fuzz-pictures: export CFLAGS_x86_64_unknown_linux_gnu = -O1 -g1 -fPIC -fno-sanitize=undefined -fsanitize=address,fuzzer-no-link
fuzz-pictures: export CRATE_CC_NO_DEFAULTS = 1
# What was freed is kept for a while; not for so long that it counts as memory that is needed.
fuzz-pictures: export ASAN_OPTIONS = quarantine_size_mb=32

advisories: $(deny) ## known holes in our packages; the list is fetched from GitHub
	$(deny) --locked check advisories

event: $(venv) ## sends one event to its function, beside `make dev`: EVENT=events/create-influencer/accepted.json
	@node local/stack/event.mjs $(EVENT)

build: $(venv) ## the functions for the cloud, into target/lambda; ARCH=arm64 or x86-64
	$(lambda) build --release --$(ARCH)

web: $(tools) ## the pages for the cloud, into target/web: SUPABASE_URL=, SUPABASE_PUBLISHABLE_KEY=, API_URL=
	@SUPABASE_URL="$(SUPABASE_URL)" SUPABASE_PUBLISHABLE_KEY="$(SUPABASE_PUBLISHABLE_KEY)" API_URL="$(API_URL)" node local/stack/pages.mjs target/web

deploy: build ## the stack of STAGE=dev or prod (docs/OPERATIONS.md)
	@printf 'Release: "%s"\n' $$(cat template.yaml samconfig.toml target/lambda/*/bootstrap | git hash-object --stdin) > target/release.yaml
	$(bin)/sam deploy --config-env $(STAGE) $(DEPLOY_FLAGS)

clean: ## removes what the local parts keep: database, bucket, keys
	rm -rf local/.data

$(tools): local/package-lock.json
	npm ci --prefix local --no-audit --no-fund
	@touch $@

$(venv): local/requirements.txt
	python3 -m venv local/.venv
	$(bin)/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(checkov)/.done $(schemathesis)/.done: local/.venv/%/.done: local/%-requirements.txt $(venv)
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# Tools of crates.io, unoptimised: that builds in a third of the time. Another version is another folder.
$(deny) $(fuzzer):
	cargo install $(word 3,$(subst /, ,$@)) --locked --debug --root $(@D)/..
