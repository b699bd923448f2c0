#!/usr/bin/env bash
# Two sessions want one disk: one writer, any readers, two for a migration;
# and the loser is told by whom it is held.
. "$(dirname "$0")/functions.sh"
requires nbdsh
truncate -s 4M "$tmp/disk"
start_pair "disk=file:$tmp/disk"
with() { # session name, mode
	args=("$RNBD_PLUGIN" "sessname=$1" "path=$path_gw" device_path=disk
		"access_mode=$2")
}
with alice rw
start_nbdkit a "${args[@]}"
hold "$uri_a"

with bob rw
if run_nbdkit true "${args[@]}" 2>"$tmp/err"; then
	fail "a second writer came in"
fi
grep -q "busy.*alice" "$tmp/err" || { cat "$tmp/err"; fail "not told who has it"; }
with bob ro
# shellcheck disable=SC2016
run_nbdkit 'nbdinfo "$uri" >/dev/null' "${args[@]}"
with carol migration
# shellcheck disable=SC2016
run_nbdkit 'nbdinfo "$uri" >/dev/null' "${args[@]}"

# The same name twice.
with alice ro
if run_nbdkit true "${args[@]}" 2>"$tmp/err"; then
	fail "a session name was used twice"
fi
grep -q "'alice'" "$tmp/err" || { cat "$tmp/err"; fail "not told about the name"; }

# When the first is gone the disk is free.
kill "${pids[-1]}"
kill "$pid_a"
wait_gone "$pid_a"
with bob rw
# shellcheck disable=SC2016
run_nbdkit 'nbdinfo "$uri" >/dev/null' "${args[@]}"
