# What there is to do here. Everything runs on Debian 12 with Rust, as root: the tests make
# namespaces, mounts and cgroups, all in test nodes of their own.
#
#   make test    everything: setup, build, lint, all tests, each fuzz target for FUZZ_SECONDS
#   make demo    a story with three pods, a crash and its recovery
#   make lint    format, clippy, dependencies (if cargo-deny is there), house rules
#   make deny    dependencies: licences, bans, sources, advisories
#   make soak    the same proofs for SOAK_MINUTES, or until ten million schedules and 2,000 rounds
#   make bench   RunPodSandbox beside the sum of its parts; status and list under load
#   make fuzz    each fuzz target for FUZZ_SECONDS, from FUZZ_SEED on
#   make mutants whether the tests notice mutants of the engine and the store; takes hours
#   make setup   installs what Debian has and we need

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

export CARGO_TERM_COLOR ?= auto

CARGO ?= cargo
FUZZ_SECONDS ?= 20
FUZZ_SEED ?= $(shell date +%s)
FUZZ := $(abspath $(or $(CARGO_TARGET_DIR),target)/fuzz)
RELEASE := $(abspath $(or $(CARGO_TARGET_DIR),target)/release/podwalk)
COUNTS := $(abspath $(or $(CARGO_TARGET_DIR),target)/counts)
SKIPPED := $(abspath $(or $(CARGO_TARGET_DIR),target)/skipped-tests)
PACKAGES := containernetworking-plugins crun runc runsc iproute2 nftables iptables jq \
	busybox-static util-linux mount iputils-ping strace e2fsprogs xfsprogs protobuf-compiler

.PHONY: help setup build lint test soak bench demo deny fuzz mutants clean

help:
	@sed -n 's/^#   //p' Makefile

# Installs only what is missing, and says nothing when that is nothing. Of containerd only its shim is
# wanted, which others ship too (Docker's containerd.io): no service may be started by this.
setup:
	@missing=(); \
	for package in $(PACKAGES); do \
		status=$$(dpkg-query -W -f='$${db:Status-Status}' "$$package" 2>/dev/null || true); \
		[ "$$status" = installed ] || missing+=("$$package"); \
	done; \
	command -v containerd-shim-runc-v2 >/dev/null || missing+=(containerd); \
	command -v cc >/dev/null || missing+=(gcc libc6-dev); \
	command -v c++ >/dev/null || missing+=(g++); \
	if [ $${#missing[@]} -gt 0 ]; then \
		echo "installing $${missing[*]}"; \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
			echo "run this as root on Debian, or install them by hand" >&2; exit 1; \
		fi; \
		export DEBIAN_FRONTEND=noninteractive; \
		policy=/usr/sbin/policy-rc.d; \
		if [ ! -e "$$policy" ]; then \
			printf '#!/bin/sh\nexit 101\n' >"$$policy"; chmod +x "$$policy"; \
			trap 'rm -f /usr/sbin/policy-rc.d' EXIT; \
		fi; \
		apt-get update -qq; \
		apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	fi

build:
	@$(CARGO) build --workspace --bins --locked

lint:
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings
	@if command -v cargo-deny >/dev/null; then \
		$(CARGO) deny --log-level error check licenses bans sources; \
	fi
	@$(CARGO) test --package podwalk-tests --test tidy --locked --quiet

# The last lines are sums of what the tests have counted; PROVED is the least of it. A test that its
# machine cannot run says so in a file; without root none of the kernel's tests can, and with CI set
# that is a failure. The chaos is of the release binary. The fuzzing begins with one seed and no
# corpus of yours, so that all machines try the same.
test: setup build lint
	@rm -f "$(SKIPPED)" "$(COUNTS)"
	@$(CARGO) build --release --package podwalk --bin podwalk --locked
	@$(CARGO) build --workspace --examples --locked
	@$(CARGO) test --workspace --doc --locked --quiet
	@rm -rf "$(FUZZ)/corpus"
	@FUZZ_CORPUS="$(FUZZ)/corpus" $(MAKE) fuzz FUZZ_SEED=1
	@export PODWALK_SKIPPED_LOG="$(SKIPPED)" PODWALK_RELEASE_BINARY="$(RELEASE)" \
		PODWALK_COUNTS="$(COUNTS)"; \
	if command -v cargo-nextest >/dev/null; then \
		$(CARGO) nextest run --workspace --locked --no-fail-fast --show-progress none \
			--status-level fail --final-status-level slow; \
	else \
		status=0; \
		$(CARGO) test --workspace --lib --bins --tests --locked --no-fail-fast \
			2>&1 | tee "$(SKIPPED).log" | grep -Ev '^test .* \.\.\. ok$$|^$$' || status=$$?; \
		awk '/^test result:/ { passed += $$4; failed += $$6; ignored += $$8 } \
			END { print passed " passed, " failed " failed, " ignored " ignored" }' \
			"$(SKIPPED).log"; \
		exit $$status; \
	fi
	@if [ -s "$(SKIPPED)" ]; then \
		echo "not run on this machine:"; sort -u "$(SKIPPED)"; \
		tests/counts.sh "$(COUNTS)" $(PROVED); \
	else \
		tests/counts.sh "$(COUNTS)" $(PROVED) $(PROVED_AS_ROOT); \
	fi

# What the last lines of a whole run must say at least: anywhere, and where all tests can run.
PROVED := schedules=200000 flaws-caught=11
PROVED_AS_ROOT := crash-moments=300 crash-moments-runsc=60 crash-points=50 chaos-rounds=50 reboot-rounds=10 \
	crash-images=500 disk-copies=10 disk-errors=20 kubelet-kills=12

# All is built before the time begins.
soak: setup
	@$(CARGO) build --workspace --bins --locked
	@$(CARGO) build --release --package podwalk --bin podwalk --locked
	@$(CARGO) test --package podwalk-tests --no-run --locked --quiet
	@$(CARGO) test --release --package podwalk-engine --test proof --no-run --locked --quiet
	@PODWALK_RELEASE_BINARY="$(RELEASE)" tests/soak.sh

# Prints medians and ratios; no machine is too slow for it.
bench: setup
	@$(CARGO) build --release --workspace --bins --locked
	@PODWALK_RELEASE_BINARY="$(RELEASE)" $(CARGO) test --release --package podwalk-tests --bench cri \
		--locked --quiet -- --nocapture --test-threads=1

demo: setup
	@$(CARGO) build --workspace --bins --locked
	@demo/demo.sh

# About two and a half minutes to install, where it is missing; the advisories need the network.
deny:
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	@$(CARGO) deny check

# Half a minute to install, where it is missing. Stable Rust will do: the variable turns on the
# sanitizer's flags. How the targets are built is in fuzz/.cargo/config.toml; new inputs stay in
# fuzz/corpus, which is nobody's but yours.
fuzz:
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked --quiet cargo-fuzz
	@cd fuzz && RUSTC_BOOTSTRAP=1 CARGO_TERM_QUIET=true $(CARGO) fuzz build --features libfuzzer --target-dir "$(FUZZ)"
	@fuzz/run.sh "$(FUZZ)/$$(rustc --print host-tuple)/release" "$(FUZZ_SECONDS)" "$(FUZZ_SEED)" $$(cd fuzz && $(CARGO) fuzz list)

# What is mutated and what is not is in .cargo/mutants.toml. MUTANTS chooses some of them.
mutants:
	@command -v cargo-mutants >/dev/null || $(CARGO) install --locked --quiet cargo-mutants
	@.cargo/mutants.sh $(MUTANTS)

clean:
	@$(CARGO) clean
