# The targets for people and CI. Each sets up what it needs: the Rust toolchain and its musl target with rustup and, as
# root on Debian, packages with apt-get. Elsewhere it says what to install, and stops.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help

PREFIX ?= /usr/local
DESTDIR ?=
# Whether its services are installed.
OPENRC ?= $(wildcard /sbin/openrc-run)

ARCH := $(shell uname -m)
# Rust names machines as the kernel does, except for one.
TARGET := $(subst riscv64-,riscv64gc-,$(ARCH)-unknown-linux-musl)
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET_DIR)/$(TARGET)/release
BINARY := $(RELEASE)/pillbox
BOX := $(RELEASE)/box
SOURCES := $(shell find .cargo Cargo.toml Cargo.lock build.rs rust-toolchain.toml dbus init json netlink network runtime -type f)
BOX_SOURCES := $(SOURCES) $(shell find engine -type f)
TOOLCHAIN := $(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
RUST_VERSION := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
WORKSPACE := --workspace
ifeq ($(ARCH),riscv64)
# The programs that bench runs in containers are machine code, which exists only for the other two machines.
WORKSPACE += --exclude bench
endif

QEMU_x86_64 := qemu-system-x86
QEMU_aarch64 := qemu-system-arm
QEMU_riscv64 := qemu-system-misc

# program:its Debian package, or packages of which the first one that apt offers is taken.
BUILD_PROGRAMS := cc:gcc cc:libc6-dev
TEST_PROGRAMS := bash:bash zsh:zsh fish:fish unshare:util-linux setpriv:util-linux newuidmap:uidmap script:bsdutils busybox:busybox-static systemctl:systemd dbus-daemon:dbus podman:podman iptables-nft:iptables nft:nftables /usr/lib/cni/bridge:containernetworking-plugins pasta:passt slirp4netns:slirp4netns openssl:openssl docker:docker-cli,docker.io
# For `make cross`: the linker for the machine that the tests do not run on.
CROSS_ARCH := $(if $(filter aarch64,$(ARCH)),x86_64,aarch64)
CROSS_TARGET := $(CROSS_ARCH)-unknown-linux-musl
CROSS_GCC := $(CROSS_ARCH)-linux-gnu-gcc
CROSS_LINKER := CARGO_TARGET_$(shell echo $(CROSS_TARGET) | tr a-z- A-Z_)_LINKER
GUEST_PROGRAMS := qemu-system-$(ARCH):$(QEMU_$(ARCH)) xz:xz-utils dpkg-deb:dpkg mkfs.ext4:e2fsprogs
INJECTION_PROGRAMS := unshare:util-linux busybox:busybox-static
BENCH_PROGRAMS := unshare:util-linux
BOX_PROGRAMS := unshare:util-linux setpriv:util-linux newuidmap:uidmap pasta:passt curl:curl gzip:gzip tar:tar
NETWORK_PROGRAMS := unshare:util-linux iptables:iptables /usr/lib/cni/bridge:containernetworking-plugins
INSTRUCTIONS_PROGRAMS := unshare:util-linux valgrind:valgrind
# program:the oldest version for which the black-box tests are right (tests/blackbox/harness/runtime.rs).
TEST_PEERS := crun:1.28 runc:1.3
BENCH_PEERS := crun:0 runc:0

POWER_CUTS ?= 50

REGISTRY := $(abspath $(TARGET_DIR))/docker-registry
SDKS := $(abspath $(TARGET_DIR))/sdks

AS_ROOT := $(filter 0,$(shell id -u))

.PHONY: help build box run test test-native test-guest test-injection test-power cross lint instructions instructions-update bench bench-network bench-box bench-memory install install-box clean toolchain programs registry sdks peers package-index

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS=$$'\t' read -r name text; do printf '%-19s %s\n' "$$name" "$$text"; done

build: $(BINARY) ## build the static binary

$(BINARY): $(SOURCES)
	@$(MAKE) --no-print-directory toolchain
	cargo build --locked --release --target $(TARGET) --package pillbox
	# Cargo does not touch a binary that did not change, but make compares times.
	touch $@

box: $(BOX) ## build box, the engine, which has pillbox inside

$(BOX): $(BOX_SOURCES)
	@$(MAKE) --no-print-directory toolchain
	cargo build --locked --release --target $(TARGET) --package pillbox-engine
	touch $@

# Shows what a process sees of its surroundings.
define LOOK
row() { printf '  %-12s %s\n' "$$1" "$$2"; }
row 'process id' $$$$
row 'host name' "$$(uname -n)"
row processes "$$(ls -d /proc/[0-9]* | wc -l)"
row mounts "$$(wc -l </proc/self/mountinfo)"
row 'user ids' "$$(while read -r inside outside count; do echo "$$count from $$inside, outside from $$outside"; done </proc/self/uid_map)"
row cgroup "$$(sed -n 's/^0:://p' /proc/self/cgroup)"
row interfaces "$$(sed -n 's/^ *\([^ :]*\):.*/\1/p' /proc/net/dev | tr '\n' ' ')"
endef

define WRITE
echo hello >/written-in-the-container
row wrote /written-in-the-container
endef
export LOOK WRITE

# What the image is made of: this machine's programs, with the libraries that they are linked to.
IMAGE_PROGRAMS := sh cat ls sed tr uname wc

run: box ## make an image on the spot and run a command in a container of it
	@folder=$$(mktemp -d)
	box() { $(BOX) --data-root "$$folder/store" --exec-root "$$folder/run/pillbox" "$$@"; }
	# An ordinary user's layers may belong to ids that only box can act for.
	trap 'box image prune -a -f >/dev/null; rm -rf "$$folder"' EXIT
	files=$$(for program in $(IMAGE_PROGRAMS); do
	    path=$$(command -v "$$program")
	    echo "$$path"
	    ldd "$$path" 2>/dev/null | grep -o '/[^ ]*' || true
	done | sort -u | sed 's,^/,,')
	tar -chf "$$folder/image.tar" -C / $$files
	echo
	echo '$$ box import image.tar here:1'
	box import "$$folder/image.tar" here:1
	echo
	echo 'on this machine:'
	sh -c "$$LOOK" </dev/null
	echo '$$ box run --rm --network none here:1 sh -c …'
	box run --rm --network none here:1 sh -ec "$$LOOK"$$'\n'"$$WRITE"
	echo 'in the next container of this image:'
	box run --rm --network none here:1 sh -c '[ ! -e /written-in-the-container ]'
	echo '  no /written-in-the-container'
	echo
	echo 'a shell in an image of a registry:  $(BOX) run --rm -it alpine'

# The recorded counts are for x86-64.
COUNTS := $(if $(AS_ROOT),$(filter x86_64,$(ARCH)))
test: lint cross test-native test-guest $(if $(COUNTS),instructions) ## run everything: lint, the build for another machine, unit tests, black-box tests, the guest's cases, counted instructions
	@$(if $(AS_ROOT),true,echo 'LEFT OUT, because they need root: the black-box tests, the injected faults, and parts of the unit tests of cgroup and netlink')
	$(if $(COUNTS),true,echo 'LEFT OUT: the counted instructions, which need root on x86-64')

test-native: toolchain ## run the unit tests and, as root, the black-box tests and a sample of injected faults on this kernel
	@$(if $(AS_ROOT),$(MAKE) --no-print-directory programs PROGRAMS='$(TEST_PROGRAMS)',echo 'not root: the black-box tests and the injected faults are left out')
	$(if $(AS_ROOT),$(MAKE) --no-print-directory peers PEERS='$(TEST_PEERS)')
	$(if $(AS_ROOT),$(MAKE) --no-print-directory registry sdks)
	export PATH="$$PATH:$(REGISTRY)/usr/bin"
	if [ "$${CI:-}" = true ]; then export PILLBOX_TEST_NO_SKIP=1; fi
	cargo test --locked $(WORKSPACE) --target $(TARGET) --no-fail-fast </dev/null

test-guest: toolchain package-index ## boot a kernel under QEMU, without and with systemd, and run the cases in it
	@$(MAKE) --no-print-directory programs PROGRAMS='$(GUEST_PROGRAMS)'
	cargo build --locked --release --target $(TARGET) --package pillbox --package pillbox-engine --package vm-tests
	$(RELEASE)/vm-tests --pillbox $(BINARY) $(VM_FLAGS) </dev/null
	# Overlays are made in other ways before Linux 6.5; networks are for any kernel.
	$(if $(VM_FLAGS),true,$(RELEASE)/vm-tests --pillbox $(BINARY) --own-kernel --filter root_ --filter network_ </dev/null)
	$(if $(VM_FLAGS),true,$(RELEASE)/vm-tests --power-cuts 3 </dev/null)

test-power: toolchain package-index ## cut the power of a guest that works with box at 50 moments (POWER_CUTS); an hour and more
	@$(MAKE) --no-print-directory programs PROGRAMS='$(GUEST_PROGRAMS)'
	cargo build --locked --release --target $(TARGET) --package pillbox-engine --package vm-tests
	$(RELEASE)/vm-tests --power-cuts $(POWER_CUTS) $(VM_FLAGS) </dev/null

test-injection: toolchain ## as root: kill or fail every system call of every command, half an hour and more; prints what is wrong
	@$(MAKE) --no-print-directory programs PROGRAMS='$(INJECTION_PROGRAMS)'
	cargo test --locked --package pillbox --target $(TARGET) --test injection -- --all </dev/null
	cargo test --locked --package pillbox-engine --target $(TARGET) --test injection -- --all </dev/null

cross: toolchain ## build and link both binaries for AArch64 (on AArch64: for x86-64)
	@$(MAKE) --no-print-directory programs PROGRAMS='$(CROSS_GCC):gcc-$(subst _,-,$(CROSS_ARCH))-linux-gnu'
	@[ -d "$$(rustc --print target-libdir --target $(CROSS_TARGET) 2>/dev/null)" ] || rustup target add $(CROSS_TARGET)
	$(CROSS_LINKER)=$(CROSS_GCC) cargo build --locked --release --target $(CROSS_TARGET) --package pillbox
	# ring's C without headers of a C library, which Debian has in another package.
	export CC_$(subst -,_,$(CROSS_TARGET))=$(CROSS_GCC) CFLAGS_$(subst -,_,$(CROSS_TARGET))='-ffreestanding -DRING_CORE_NOSTDLIBINC=1'
	$(CROSS_LINKER)=$(CROSS_GCC) cargo build --locked --release --target $(CROSS_TARGET) --package pillbox-engine

lint: toolchain ## check format, lints and the libraries' documentation
	cargo fmt --all --check
	cargo clippy --locked --package pillbox --no-default-features --target $(TARGET) -- -D warnings
	cargo clippy --locked $(WORKSPACE) --all-targets --target $(TARGET) -- -D warnings
	# Init's binary is not part of an ordinary build, and cannot unwind.
	cargo clippy --locked --package pillbox-init --features binary --profile init --target $(TARGET) -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --package pillbox --package pillbox-netlink --package pillbox-network --package pillbox-json --package pillbox-dbus --target $(TARGET)

instructions: COUNTED := bench/instructions.json
instructions-update: COUNTED := bench/instructions.json --update
instructions: ## compare the instructions of the main paths with bench/instructions.json (as root)
instructions-update: ## write bench/instructions.json anew, for a change that means to make a path longer or shorter
instructions instructions-update: toolchain
	@$(MAKE) --no-print-directory programs PROGRAMS='$(INSTRUCTIONS_PROGRAMS)'
	cargo build --locked --release --target $(TARGET) --package pillbox --package bench
	$(RELEASE)/bench instructions $(COUNTED) --pillbox $(BINARY) </dev/null

bench: toolchain ## measure pillbox beside crun and runc (as root); writes bench/RESULTS.md
	@$(MAKE) --no-print-directory programs PROGRAMS='$(BENCH_PROGRAMS)'
	$(if $(AS_ROOT),$(MAKE) --no-print-directory peers PEERS='$(BENCH_PEERS)')
	cargo build --locked --release --target $(TARGET) --package pillbox --package bench
	# Without optional parts, to show how much smaller it is.
	cargo build --locked --release --target $(TARGET) --package pillbox --no-default-features --target-dir target/reduced
	$(RELEASE)/bench --pillbox $(BINARY) --reduced target/reduced/$(TARGET)/release/pillbox --memory bench/memory.json --markdown bench/RESULTS.md $(BENCH_FLAGS)

bench-network: toolchain ## measure networks beside the reference plugins of CNI (as root); writes bench/NETWORK.md and bench/network.json
	@$(MAKE) --no-print-directory programs PROGRAMS='$(NETWORK_PROGRAMS)'
	cargo build --locked --release --target $(TARGET) --package pillbox --package bench
	# Without networks, to show how much smaller it is.
	cargo build --locked --release --target $(TARGET) --package pillbox --no-default-features --features systemd --target-dir target/unconnected
	$(RELEASE)/bench network --pillbox $(BINARY) --reduced target/unconnected/$(TARGET)/release/pillbox --json bench/network.json --markdown bench/NETWORK.md $(BENCH_FLAGS)

# Podman and Docker in PATH are measured beside it, and nothing fails without them.
bench-box: toolchain ## measure box beside docker, podman and crun (as root); writes bench/BOX.md
	@$(MAKE) --no-print-directory programs PROGRAMS='$(BOX_PROGRAMS)'
	$(if $(AS_ROOT),$(MAKE) --no-print-directory peers PEERS='crun:0')
	$(if $(AS_ROOT),$(MAKE) --no-print-directory registry)
	export PATH="$$PATH:$(REGISTRY)/usr/bin"
	cargo build --locked --release --target $(TARGET) --package pillbox-engine --package bench
	$(RELEASE)/bench box --box $(BOX) --markdown bench/BOX.md $(BENCH_FLAGS)

# Measures the peers in PATH. Others, such as one in another system's tree: VM_FLAGS='--peer NAME=PATH'.
bench-memory: toolchain package-index ## measure in a guest how little memory a container needs; writes bench/memory.json, which `bench` shows
	@$(MAKE) --no-print-directory programs PROGRAMS='$(GUEST_PROGRAMS)'
	cargo build --locked --release --target $(TARGET) --package pillbox --package vm-tests
	peers=()
	for name in crun runc youki; do
	    if path=$$(command -v "$$name"); then peers+=(--peer "$$name=$$path"); else echo "peer $$name: not installed"; fi
	done
	$(RELEASE)/vm-tests --pillbox $(BINARY) --measure bench/memory.json "$${peers[@]}" $(VM_FLAGS) </dev/null

install: $(BINARY) ## copy the binary to PREFIX/bin (PREFIX is /usr/local); DESTDIR stands before it
	install -D -m 755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/pillbox

install-box: $(BOX) ## copy box there, with boxd, units, manual page and completion (OPENRC=1: services of OpenRC where it is not installed)
	install -D -m 755 $(BOX) $(DESTDIR)$(PREFIX)/bin/box
	ln -sf box $(DESTDIR)$(PREFIX)/bin/boxd
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	# Whoever is in the group may do what root may, as with Docker.
	group=$$(getent group docker box 2>/dev/null | head -n 1 | cut -d : -f 1) || true
	for unit in boxd.service boxd.socket box-boot.service; do
	    sed -e 's|@bindir@|$(PREFIX)/bin|' -e "s|^SocketUser=root|SocketUser=root$${group:+\nSocketGroup=$$group}|" \
	        engine/systemd/$$unit >$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit
	done
	if [ -n "$(OPENRC)" ]; then
	    install -d $(DESTDIR)/etc/init.d
	    for service in boxd box-boot; do
	        sed -e 's|@bindir@|$(PREFIX)/bin|' engine/openrc/$$service >$(DESTDIR)/etc/init.d/$$service
	        chmod 755 $(DESTDIR)/etc/init.d/$$service
	    done
	fi
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -d $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d $(DESTDIR)$(PREFIX)/share/zsh/site-functions
	$(BOX) man >$(DESTDIR)$(PREFIX)/share/man/man1/box.1
	$(BOX) completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/box
	$(BOX) completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_box
	$(BOX) completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/box.fish

clean: ## remove what was built
	cargo clean

toolchain:
	@$(MAKE) --no-print-directory programs PROGRAMS='$(BUILD_PROGRAMS)'
	if ! command -v cargo >/dev/null; then
	    echo 'cargo is missing: install Rust $(RUST_VERSION) or newer with rustup (https://rustup.rs)' >&2
	    exit 1
	fi
	version() { rustc --version 2>/dev/null | cut -d ' ' -f 2; }
	is_enough() { [ -n "$$1" ] && [ "$$(printf '%s\n' $(RUST_VERSION) "$$1" | sort -V | head -n 1)" = $(RUST_VERSION) ]; }
	has_target() { [ -d "$$(rustc --print target-libdir --target $(TARGET) 2>/dev/null)" ]; }
	if command -v rustup >/dev/null; then
	    is_enough "$$(version)" || rustup toolchain install $(TOOLCHAIN) --profile minimal
	    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
	    has_target || rustup target add $(TARGET)
	fi
	if ! is_enough "$$(version)"; then
	    echo "rustc is $$(version): Rust $(RUST_VERSION) or newer is needed (https://rustup.rs)" >&2
	    exit 1
	fi
	if ! has_target; then
	    echo 'the standard library for $(TARGET) is missing: install it (rustup target add $(TARGET))' >&2
	    exit 1
	fi

# PROGRAMS: program:package …
programs:
	@missing=()
	for pair in $(PROGRAMS); do
	    command -v "$${pair%%:*}" >/dev/null || missing+=("$${pair#*:}")
	done
	if [ $${#missing[@]} -gt 0 ]; then
	    if [ -z '$(AS_ROOT)' ] || ! command -v apt-get >/dev/null; then
	        echo "missing, by the names of Debian's packages: $${missing[*]}: install them (apt-get install --no-install-recommends $${missing[*]})" >&2
	        exit 1
	    fi
	    apt-get update -q
	    offered=()
	    for packages in "$${missing[@]}"; do
	        for package in $${packages//,/ }; do
	            if apt-cache show "$$package" >/dev/null 2>&1; then break; fi
	        done
	        offered+=("$$package")
	    done
	    # Services of the packages are not started.
	    SYSTEMD_OFFLINE=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$${offered[@]}"
	fi

# The distribution server, for box's tests. It is unpacked and not installed: its installation would start it.
registry:
	@if command -v docker-registry >/dev/null || [ -x $(REGISTRY)/usr/bin/docker-registry ] || ! command -v apt-get >/dev/null; then exit 0; fi
	folder=$$(mktemp -d)
	trap 'rm -rf "$$folder"' EXIT
	mkdir -p $(REGISTRY)
	cd "$$folder"
	apt-get download -q docker-registry || { apt-get update -q; apt-get download -q docker-registry; }
	dpkg -x docker-registry_*.deb $(REGISTRY)

# Docker's SDK for Python and testcontainers, for box's tests: from PyPI, by their digests, for every Python and machine.
sdks: WANTED := engine/tests/sdks/requirements.txt
sdks:
	@if cmp -s $(WANTED) $(SDKS)/requirements.txt; then exit 0; fi
	$(MAKE) --no-print-directory programs PROGRAMS='/usr/bin/python3:python3 pip3:python3-pip'
	rm -rf $(SDKS)
	pip3 install -q --disable-pip-version-check --root-user-action ignore --target $(SDKS) --no-deps --require-hashes --only-binary :all: --platform any --implementation py --abi none -r $(WANTED)
	cp $(WANTED) $(SDKS)

# Other runtimes, for the same tests and measurements. Nothing fails without them. PEERS: program:version …
peers:
	@for pair in $(PEERS); do
	    name=$${pair%%:*}
	    if command -v "$$name" >/dev/null; then continue; fi
	    offered=$$(apt-cache policy "$$name" 2>/dev/null | sed -n 's/^  Candidate: //p' || true)
	    if [ -z "$$offered" ] || [ "$$offered" = '(none)' ] || ! dpkg --compare-versions "$$offered" ge "$${pair#*:}"; then
	        echo "peer $$name: not installed, and apt offers $${offered:-none}, where $${pair#*:} or newer is wanted: going on without it"
	    elif ! DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$$name"; then
	        echo "peer $$name: could not be installed: going on without it"
	    fi
	done

# The guests' kernel, busybox and systemd are downloaded as packages: apt must know the current versions.
package-index:
	@if [ -n '$(AS_ROOT)' ] && command -v apt-get >/dev/null; then
	    if ! apt-cache show busybox-static >/dev/null 2>&1 || [ -z "$$(find /var/lib/apt/lists -maxdepth 0 -mtime -1)" ]; then
	        apt-get update -q || echo 'apt-get update failed: going on with what is known'
	    fi
	fi
