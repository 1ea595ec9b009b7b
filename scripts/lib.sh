# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What every script of the project shares: messages, numbered steps with times,
# and where caches live. Source it; it sets strict mode for the caller.

set -euo pipefail

# modinfo, depmod: Debian leaves these out of an ordinary user's PATH.
PATH=$PATH:/usr/sbin:/sbin

lanecall_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
	warn "$*"
	exit 1
}

# step 2 5 "Building QEMU": announces a step of a long job; step_done ends it.
step() {
	step_label="[$1/$2] $3"
	step_start=$SECONDS
	say "$step_label ..."
}
step_done() { say "$step_label: done in $((SECONDS - step_start)) s${1:+ ($1)}"; }

# Builds that outlive a clone (QEMU, kernels) are kept here, one directory per
# content hash. LANECALL_CACHE moves it; a relative one counts from the top of the
# clone, because scripts are called from several folders.
cache_dir() {
	local dir=${LANECALL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lanecall}
	[[ $dir == /* ]] || dir=$lanecall_root/$dir
	if ! mkdir -p "$dir" || [ ! -w "$dir" ]; then
		die "cannot write to the cache folder $dir: set LANECALL_CACHE to another"
	fi
	say "$dir"
}

# run_logged LOG COMMAND...: output goes to LOG; shown only if it fails.
run_logged() {
	local log=$1
	shift
	mkdir -p "$(dirname "$log")"
	if ! "$@" >"$log" 2>&1; then
		tail -n 40 "$log" >&2
		die "failed: $* (all of its output is in $log)"
	fi
}
