#!/usr/bin/env bash
# vm: time=400
# A client that breaks each rule meets the gateway: each has its answer, and nobody else notices.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
truncate -s 16M "$tmp/calm"
truncate -s 4M "$tmp/disk"
head -c 1M /dev/urandom >"$tmp/fixed"
sum=$(sha256sum <"$tmp/fixed")
# A depth that is no power of two: there are chunks that do not exist.
gateway_listen=ip:$VM_ADDR0:1234 start_gateway gw --queue-depth 48 \
	--workers 2 --export "calm=file:$tmp/calm" \
	--export "disk=file:$tmp/disk" --export "fixed=file:$tmp/fixed,ro"
hostile() {
	timeout 350 "$RNBD_BUILD/tests/vm/hostile-client" "$VM_ADDR0" calm disk \
		fixed "$@"
}
fds() {
	find "/proc/$pid_gw/fd" -mindepth 1 | wc -l
}
# shellcheck disable=SC2086  # words are meant
hostile rnbd-kernel-flush >/dev/null || fail "the gateway does not work at all"
before=$(fds)
# shellcheck disable=SC2086  # words are meant
hostile ${VM_ARG_CASES:-} || fail "an answer was not as expected"
# Each worker has a few that it opened with its first connection.
few_fds() {
	[ "$(fds)" -le $((before + 8)) ]
}
until_true few_fds
[ "$(sha256sum <"$tmp/fixed")" = "$sum" ] || fail "what is read-only was written"
lines=$(wc -l <"$tmp/gw.log")
[ "$lines" -lt 1500 ] || fail "the log has $lines lines"
stop "$pid_gw" || fail "the gateway ended with $?"
