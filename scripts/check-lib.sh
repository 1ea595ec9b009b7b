# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What app-check, module-check and virtine-check share: a server that cannot outlive the
# script, its log, and what that log must say. Source it after lib.sh.
#
# The caller gets a folder of its own in $check_dir, removed at the end with
# everything started, however the script ends.

check_dir=$(mktemp -d "${TMPDIR:-/tmp}/lanecall-check.XXXXXX")
server_pid=
running_pid=
server_log=$check_dir/server.out    # the calls
server_errors=$check_dir/server.err # events
server_addresses=()

# Called once at the end; a caller with more to clean up redefines
# check_cleanup_more.
check_cleanup_more() { :; }
check_cleanup() {
	local status=$?
	trap - EXIT
	trap '' INT TERM HUP
	check_cleanup_more
	if [ -n "$running_pid" ]; then
		kill "$running_pid" 2>/dev/null || true
		wait "$running_pid" || true
	fi
	stop_server || true
	rm -rf "$check_dir"
	exit "$status"
}
trap check_cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# interruptible COMMAND...: runs it so that a signal to this script is acted on at
# once, not when the command ends; it is ended then, also by a SIGKILL of this
# script.
interruptible() {
	setpriv --pdeathsig TERM "$@" &
	running_pid=$!
	local status=0
	wait "$running_pid" || status=$?
	running_pid=
	return "$status"
}

# start_server PROGRAM ARGUMENT...: returns once clients may connect, with what
# it listens at in server_addresses.
start_server() {
	local ready=$check_dir/ready
	rm -f "$ready"
	mkfifo "$ready"
	# Killed with this script, whatever happens to the script.
	setpriv --pdeathsig KILL "$@" --ready-fd 3 \
		3>"$ready" >"$server_log" 2>"$server_errors" &
	server_pid=$!
	mapfile -t server_addresses <"$ready"
	rm -f "$ready"
	if [ ${#server_addresses[@]} = 0 ]; then
		cat "$server_errors" >&2
		die "the server did not start"
	fi
}

# Ends it in order; fails if that was not in order.
stop_server() {
	local pid=$server_pid
	[ -n "$pid" ] || return 0
	server_pid=
	kill "$pid" 2>/dev/null || true
	wait "$pid"
}

# What the server's log must be after one `lanecall check`.
expected_log() {
	cat <<-'END'
		Starting the server...
		ping()
		echo('Hello, world!')
		counter() => 0
		counter() => 1
		counter() => 2
		counter() => 3
		counter() => 4
	END
}

# Prints the server's log and fails if it is not what is expected. A client's
# call is in the log before it is answered, so that there is nothing to wait
# for.
compare_log() {
	say "The server's log:"
	sed 's/^/    /' "$server_log"
	if ! diff -u --label expected --label "the server's log" \
		<(expected_log) "$server_log"; then
		cat "$server_errors" >&2
		die "the server's log is not what it should be"
	fi
	say "The log is as expected."
}
