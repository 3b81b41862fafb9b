# SPDX-License-Identifier: BSD-3-Clause
# A thin front of meson and ninja: each target installs what it lacks, configures and builds.
BUILD ?= build
# The Python that Debian's packages (pytest) belong to; another may come first in PATH.
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local

.PHONY: all demo test soak test-aarch64 bench install clean deps-%
all: deps-build $(BUILD)/build.ninja
	ninja -C $(BUILD)

deps-%:
	scripts/install-deps $*

$(BUILD)/build.ninja:
	meson setup --prefix=$(PREFIX) $(BUILD)

demo: deps-demo all
	VIRTLANE_BUILD=$(abspath $(BUILD)) scripts/demo $(if $(KEEP),--keep)

# Unit tests first; then real peers. TESTS narrows the latter: make test TESTS=test_tap.py
test: deps-test all
	meson test -C $(BUILD) --print-errorlogs
	VIRTLANE_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest $(addprefix tests/integration/,$(or $(TESTS),.))

# What goes on for hours: peers and the switch die, are replaced and move again and again. SOAK: how
# many times as often as in `make test`; 20 takes about two hours.
SOAK ?= 20
soak: deps-test all
	VIRTLANE_SOAK=$(SOAK) VIRTLANE_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest \
		$(addprefix tests/integration/test_,restart.py upgrade.py front_ends.py migration.py)

# The library and its unit tests, cross-compiled and emulated; below build/aarch64.
test-aarch64: deps-aarch64
	scripts/test-aarch64

# BENCH narrows it: make bench BENCH='loopback --quick'
bench: deps-bench all
	VIRTLANE_BUILD=$(abspath $(BUILD)) bench/run $(BENCH)

# The build may have been configured for another place.
install: deps-build $(BUILD)/build.ninja
	meson configure -Dprefix=$(PREFIX) $(BUILD)
	ninja -C $(BUILD)
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD)
