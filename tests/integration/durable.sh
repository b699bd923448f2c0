#!/usr/bin/env bash
# FUA and flush reach the disk: shown by the system calls of the daemon, which
# is told to do its I/O by calls that strace sees.
. "$(dirname "$0")/functions.sh"
requires strace
requires nbdsh
[ "${RNBD_SANITIZER:-}" = "" ] || skip "strace and sanitizers do not go together"
# On a real file system: tmpfs has nothing to make durable.
disk=$(mktemp "${RNBD_DISK_DIR:-/var/tmp}/rnbd-durable.XXXXXX")
remove_disk() {
	rm -f "$disk"
}
at_exit+=(remove_disk)
truncate -s 16M "$disk"

mkfifo "$tmp/fifo"
strace -f -qq -e trace=pwrite64,pwritev2,fdatasync,fsync -o "$tmp/trace" \
	"$RNBD_GATEWAYD" --foreground --no-io-uring --pid-file "$tmp/gw.pid" \
	--listen tcp:127.0.0.1:0 \
	--export "disk=file:$disk" >"$tmp/fifo" 2>"$tmp/gw.log" &
pids+=($!)
read -r -t 60 line <"$tmp/fifo"
args=("$RNBD_PLUGIN" sessname=durable "path=${line#listening on }" device_path=disk)
start_nbdkit n "${args[@]}"

# What one request adds to the trace.
request() {
	local before
	before=$(wc -l <"$tmp/trace")
	nbdsh -u "$uri_n" -c "$1"
	tail -n +$((before + 1)) "$tmp/trace" >"$tmp/added"
}
synced='RWF_DSYNC|fdatasync|fsync'

request 'h.pwrite(b"a" * 4096, 0)'
grep -q 'pwrite' "$tmp/added" || fail "a write made no write"
if grep -Eq "$synced" "$tmp/added"; then
	fail "a plain write is made durable: that costs what nobody asked for"
fi
request 'h.flush()'
grep -Eq 'fdatasync|fsync' "$tmp/added" || fail "flush reaches no disk"
request 'h.pwrite(b"b" * 4096, 4096, nbd.CMD_FLAG_FUA)'
grep -Eq "$synced" "$tmp/added" || fail "FUA reaches no disk"
request 'h.pwrite(b"c" * 10, 8191, nbd.CMD_FLAG_FUA)'
grep -Eq "$synced" "$tmp/added" || fail "an unaligned FUA reaches no disk"
request 'h.zero(8192, 65536, nbd.CMD_FLAG_FUA)'
grep -Eq "$synced" "$tmp/added" || fail "zeroes with FUA reach no disk"
request 'h.trim(8192, 65536, nbd.CMD_FLAG_FUA)'
grep -Eq "$synced" "$tmp/added" || fail "trim with FUA reaches no disk"
