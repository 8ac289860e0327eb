# What can be done here. Every target selects the whole workspace, so that all of them share one set of compiled crates:
# another selection (cargo test -p ...) resolves other features and compiles the dependencies again.

SHELL := /bin/bash
TARGET := $(or $(CARGO_TARGET_DIR),target)
# mosquitto is in a folder that is not on everybody's path.
export PATH := $(PATH):/usr/sbin:/sbin

# Runs named suites, all of them even when one fails; prints the seconds of each and one line at the end.
define RUNNER
failed=""; begin=$$SECONDS; \
suite() { \
	name="$$1"; shift; start=$$SECONDS; echo "== $$name: $$*"; \
	if "$$@"; then result=passed; else result=FAILED; failed="$$failed $$name"; fi; \
	echo "== $$name $$result in $$((SECONDS - start)) s"; \
}; \
verdict() { \
	if [ -z "$$failed" ]; then echo "== $@ passed in $$((SECONDS - begin)) s"; else echo "== $@ FAILED:$$failed"; exit 1; fi; \
};
endef

# Makes packages for Debian; built without optimisation, which is quick and all it needs.
PACKER := $(TARGET)/tools/bin/cargo-deb
PACKER_VERSION := 3.8.0

.PHONY: help demo test check boards lint-boards bench soak package package-tool influxdb fuzz clean tools
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

demo: ## build and run the simulated park; prints the address of its page
	cargo build --workspace --bin parkgate
	$(TARGET)/debug/parkgate demo

test: tools package-tool ## every test; installs what it needs from Debian first
	@$(RUNNER) \
	suite build cargo build --workspace --all-targets; \
	if [ -z "$$failed" ]; then \
		suite unit cargo test --workspace --lib; \
		suite tidy cargo test --workspace --test tidy; \
		suite scenarios cargo test --workspace --test scenarios; \
	fi; \
	verdict

check: ## format, lints, docs, tidy: what must be clean before a commit
	@$(RUNNER) \
	suite format cargo fmt --all --check; \
	suite clippy cargo clippy --workspace --all-targets -- -D warnings; \
	suite docs env RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --workspace --no-deps --document-private-items; \
	suite tidy cargo test --workspace --test tidy; \
	verdict

boards: ## write dashboards/ anew, from the demo's configuration
	cargo build --workspace --bin parkgate
	$(TARGET)/debug/parkgate grafana export --config config/demo/parkgate.toml --out $(TARGET)/grafana
	cp $(TARGET)/grafana/dashboards/*.json dashboards/

# A Go program, which Debian does not have; what applies of its rules is tested without it too.
lint-boards: ## Grafana's own linter over dashboards/; needs Go 1.26 and the network
	GOBIN=$(abspath $(TARGET))/tools go install github.com/grafana/dashboard-linter@v0.1.1
	@$(RUNNER) \
	for board in dashboards/*.json; do suite $$board $(TARGET)/tools/dashboard-linter lint --strict $$board; done; \
	verdict

bench: tools ## performance figures as a table, in release build
	cargo build --release --workspace --bins
	$(TARGET)/release/bench

soak: tools ## the kill test with 1,000 rounds instead of 50, 10,000 reloads instead of 1,000, a million polls of misbehaving servers each way: hours
	cargo build --workspace --all-targets
	PARKGATE_POLLS=1000000 cargo test --workspace --lib no_wrong_value -- --nocapture --test-threads=1
	PARKGATE_ROUNDS=1000 cargo test --workspace --test scenarios mqtt_kill -- --nocapture
	PARKGATE_RELOADS=10000 cargo test --workspace --test scenarios reload -- --nocapture

package: package-tool ## the stripped program and a package for Debian of this machine's kind, in target/package
	rm -rf $(TARGET)/package
	mkdir -p $(TARGET)/package
	$(PACKER) --package parkgate-gateway --strip --output $(TARGET)/package/
	dpkg-deb --fsys-tarfile $(TARGET)/package/parkgate_*.deb | tar -xO ./usr/bin/parkgate > $(TARGET)/package/parkgate
	chmod 755 $(TARGET)/package/parkgate
	ls -l $(TARGET)/package

influxdb: ## reads back from the InfluxDB 2 that PARKGATE_TEST_INFLUXDB2_URL, _ORG, _BUCKET and _TOKEN name
	cargo build --workspace --bins
	cargo test --workspace --features parkgate-tests/influxdb2 --test scenarios influxdb2 -- --nocapture

# A stable compiler does: the counters are an LLVM pass, and there is no unsafe code of ours that a sanitizer would watch.
FUZZ_SECONDS := 60
FUZZ_TARGETS := modbus_frame modbus_rtu modbus_values decode json_mapper text_mapper journal_codec reject block config import promql
FUZZ_FLAGS := --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares
FUZZ_HOST = $(shell rustc -vV | sed -n 's/host: //p')

fuzz: ## each decoder under libFuzzer for FUZZ_SECONDS (60); what makes one panic lies in target/fuzz
	RUSTFLAGS="$(FUZZ_FLAGS)" cargo build --release --locked --manifest-path tests/fuzz/Cargo.toml --target $(FUZZ_HOST) --target-dir $(TARGET)/fuzz
	@$(RUNNER) \
	for target in $(FUZZ_TARGETS); do \
		mkdir -p $(TARGET)/fuzz/corpus/$$target; \
		suite $$target $(TARGET)/fuzz/$(FUZZ_HOST)/release/$$target -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=20 -rss_limit_mb=1024 \
			-use_value_profile=1 -print_final_stats=1 -verbosity=0 -artifact_prefix=$(TARGET)/fuzz/$$target- $(TARGET)/fuzz/corpus/$$target tests/fuzz/corpus/$$target; \
	done; \
	verdict

clean: ## remove what was built
	cargo clean

package-tool:
	@$(PACKER) --version 2> /dev/null | grep -qx '$(PACKER_VERSION)' || \
	cargo install cargo-deb --version $(PACKER_VERSION) --locked --no-default-features --debug --force --root $(TARGET)/tools

# What the tests need beside Rust: the broker, the databases that totals and queries are compared with, strace for power
# cuts under SQLite, socat for serial ports, and a C compiler for it. Only the programs are wanted: a service that the installation starts is not used.
tools:
	@missing=""; \
	command -v mosquitto > /dev/null || missing="$$missing mosquitto"; \
	command -v prometheus > /dev/null || missing="$$missing prometheus"; \
	command -v victoria-metrics > /dev/null || missing="$$missing victoria-metrics"; \
	command -v influxd > /dev/null || missing="$$missing influxdb"; \
	command -v prometheus-alertmanager > /dev/null || missing="$$missing prometheus-alertmanager"; \
	command -v socat > /dev/null || missing="$$missing socat"; \
	command -v strace > /dev/null || missing="$$missing strace"; \
	command -v cc > /dev/null || missing="$$missing gcc libc6-dev"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then as_root=""; elif command -v sudo > /dev/null; then as_root=sudo; else \
		echo "please install:$$missing"; exit 1; fi; \
	if ! command -v apt-get > /dev/null; then echo "please install:$$missing"; exit 1; fi; \
	$$as_root apt-get update -q && \
	DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -q -y --no-install-recommends $$missing
