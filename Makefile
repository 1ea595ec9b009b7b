# SPDX-License-Identifier: Apache-2.0
# A thin front: installs what a target misses, configures, and asks CMake for
# the target of the same name. `make help` lists them.
BUILD ?= build
CMAKE_ARGS ?=
JOBS ?= $(shell nproc)
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
# Targets share a build folder; each uses all CPUs by itself.
.NOTPARALLEL:
.PHONY: help app-check module-check virtine-check check iommu-check \
	check-debug check-long shell bench bench-quick clean

help:
	@echo 'make app-check     client and server talk over TCP and a Unix socket'
	@echo 'make module-check  the same two talk through a PCIe device in a guest'
	@echo 'make virtine-check virtual machines in a guest, cleaned by the device'
	@echo 'make check         every test'
	@echo 'make iommu-check   the tests of guests again, behind an IOMMU'
	@echo 'make check-debug   the guest tests on a kernel that looks for faults'
	@echo 'make check-long    random and lasting tests in full length: takes hours'
	@echo 'make bench         calls over the device and over what else there is, DMA, and'
	@echo '                   cleans, measured side by side: 10 minutes;'
	@echo '                   make bench-quick: 2'
	@echo 'make shell         a prompt in the guest: module loaded, client on PATH'
	@echo 'make clean         removes $(BUILD)/; cached QEMU and kernel builds stay'
	@echo
	@echo 'Debian 12. Missing packages are named, then installed (root or sudo).'
	@echo 'Options: BUILD=dir  CMAKE_ARGS=...  JOBS=n  LANECALL_CACHE=dir'

app-check: NEEDS = app
module-check virtine-check shell: NEEDS = app qemu guest
check check-long: NEEDS = app qemu guest check debug
iommu-check: NEEDS = app qemu guest check
check-debug: NEEDS = app qemu guest debug
bench bench-quick: NEEDS = app qemu guest bench

app-check module-check virtine-check check iommu-check check-debug check-long \
shell bench bench-quick:
	@scripts/need $(NEEDS)
	@scripts/configure $(BUILD) $(CMAKE_ARGS)
	@scripts/build $(BUILD) $(JOBS) $@

clean:
	rm -rf $(BUILD)
