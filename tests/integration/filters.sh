#!/usr/bin/env bash
# Below nbdkit's filters, and in every way nbdkit can be started.
. "$(dirname "$0")/functions.sh"
requires nbdcopy
random_file data 16
export data=$tmp/data
truncate -s 16M "$tmp/disk"
start_pair "disk=file:$tmp/disk"

# shellcheck disable=SC2016
copy='nbdcopy --flush "$data" "$uri" && nbdcopy "$uri" - | cmp - "$data"'
for f in cache retry stats "blocksize-policy" readahead; do
	extra=()
	case $f in
	stats) extra=("statsfile=$tmp/stats") ;;
	blocksize-policy) extra=(blocksize-error-policy=error) ;;
	esac
	run_nbdkit "$copy" "--filter=$f" "${plugin_args[@]}" "${extra[@]}" ||
		fail "with --filter=$f"
done
cmp "$data" "$tmp/disk"
# cow: nothing of what is written gets through.
random_file data 15 && truncate -s 16M "$tmp/data"
run_nbdkit "$copy" --filter=cow "${plugin_args[@]}" || fail "with --filter=cow"
if cmp -s "$data" "$tmp/disk"; then
	fail "cow let writes through"
fi

# Daemonised (what start_nbdkit does), in the foreground, captive.
start_nbdkit d "${plugin_args[@]}"
nbdinfo --size "$uri_d" | grep -qx $((16 << 20))
kill "$pid_d"
wait_gone "$pid_d"
"${san_env[@]}" nbdkit -f -U "$tmp/f.sock" -P "$tmp/f.pid" "${plugin_args[@]}" 2>"$tmp/f.log" &
f=$!
pids+=("$f")
until_true test -s "$tmp/f.pid"
nbdinfo --size "nbd+unix:///?socket=$tmp/f.sock" | grep -qx $((16 << 20))
kill "$f"
wait "$f" || fail "nbdkit -f ended with $?"
