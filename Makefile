# `make` lists what there is.
.PHONY: help dev test test-rust test-browser test-n8n check bench event build web deploy clean
.DEFAULT_GOAL := help

ARCH  ?= arm64
STAGE ?= dev
export SAM_CLI_TELEMETRY = 0
export npm_config_update_notifier = false

tools := local/node_modules/.package-lock.json
venv  := local/.venv/.done
bin   := local/.venv/bin
# Its pins contradict those of the others, so it lives apart.
checkov := local/.venv/checkov
lambda := PATH="$(CURDIR)/$(bin):$$PATH" cargo lambda

help: ## lists the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: $(tools) $(venv) ## starts everything on this machine; Ctrl-C stops it
	@node local/stack/main.mjs dev

test: test-rust test-browser ## all tests, on the real local parts

test-rust: $(tools) $(venv) ## the Rust tests; T=name runs those whose name contains it
	cargo build --workspace --bins
	node local/stack/main.mjs run --sweep=0 -- cargo test --workspace --lib -- $(T)

test-browser: $(tools) $(venv) ## the pages in a headless browser; screenshots in target/screenshots
	cargo build --workspace --bins
	node local/stack/main.mjs run --database=embedded -- node --test --test-reporter=spec tests/browser/*.test.mjs

test-n8n: $(tools) $(venv) ## the workflow in the real n8n (installs 1.2 GB once)
	cargo build --workspace --bins
	node local/n8n/test.mjs

check: $(tools) $(venv) $(checkov)/.done ## formatting, lints, docs, templates
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked --quiet
	$(bin)/sam validate --lint
	$(bin)/cfn-lint template.yaml
	$(checkov)/bin/checkov --config-file local/checkov.yaml
	$(bin)/openapi-spec-validator docs/openapi.yaml

bench: $(tools) ## what the functions take, the largest pictures, and a page of the grid (docs/BENCHMARKS.md)
	cargo build --release --bins --workspace --exclude bench --exclude operate
	cargo run --release -p bench
	cargo run --release -p imaging --example peak
	node local/bench/grid.mjs

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

$(checkov)/.done: local/checkov-requirements.txt $(venv)
	python3 -m venv $(checkov)
	$(checkov)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@
