#!/usr/bin/env bash
# vm: time=900
# A client that breaks each rule meets the gateway, with static and with renewed
# keys: each has its answer, and nobody else notices.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
head -c 1M /dev/urandom >"$tmp/fixed"
sum=$(sha256sum <"$tmp/fixed")

# Two gateways, and two such clients at once, for most of a case is waiting.
declare -A port=([no]=1234 [yes]=1235) before before_ids client

# soft-RoCE of 6.1 loses a queue pair with a bound window when a request that is
# under way meets its end: both sides are in error, and no completion says so.
hostile() { # KEYS CASE...
	local keys=$1 without=()
	shift
	if [ "$VM_RELEASE" = 6.1 ] && [ "$keys" = yes ]; then
		without=(--without changed-behind)
	fi
	timeout 850 "$RNBD_BUILD/tests/vm/hostile-client" \
		--port "${port[$keys]}" "${without[@]}" \
		"$VM_ADDR0" calm disk fixed "$@"
}
fds() { # PID
	find "/proc/$1/fd" -mindepth 1 | wc -l
}
# Each worker has a few that it opened with its first connection.
few_fds() { # PID BEFORE
	[ "$(fds "$1")" -le $(($2 + 8)) ]
}
# So with what the kernel has of it for connecting: what a client can leave there
# would be hundreds.
cm_ids() { # PID
	rdma resource show cm_id | grep -c " pid $1 comm "
}
few_cm_ids() { # PID BEFORE
	[ "$(cm_ids "$1")" -le $(($2 + 8)) ]
}

modes=(no yes)
for keys in "${modes[@]}"; do
	truncate -s 16M "$tmp/calm.$keys"
	truncate -s 4M "$tmp/disk.$keys"
	# A depth that is no power of two: there are chunks that do not exist.
	gateway_listen=ip:$VM_ADDR0:${port[$keys]} start_gateway "gw_$keys" \
		--queue-depth 48 --workers 2 --always-invalidate "$keys" \
		--export "calm=file:$tmp/calm.$keys" \
		--export "disk=file:$tmp/disk.$keys" \
		--export "fixed=file:$tmp/fixed,ro"
	hostile "$keys" rnbd-kernel-flush >/dev/null ||
		fail "always-invalidate $keys: the gateway does not work at all"
	pid=pid_gw_$keys
	before[$keys]=$(fds "${!pid}")
	before_ids[$keys]=$(cm_ids "${!pid}")
done
for keys in "${modes[@]}"; do
	# shellcheck disable=SC2086  # words are meant
	hostile "$keys" ${VM_ARG_CASES:-} >"$tmp/$keys.tap" &
	client[$keys]=$!
	pids+=("$!")
done
for keys in "${modes[@]}"; do
	rc=0
	wait "${client[$keys]}" || rc=$?
	say "always-invalidate $keys:"
	cat "$tmp/$keys.tap"
	[ $rc = 0 ] || fail "always-invalidate $keys: an answer was not as expected"
	pid=pid_gw_$keys
	until_true few_fds "${!pid}" "${before[$keys]}"
	say "ids of the connection manager: $(cm_ids "${!pid}"), before" \
		"${before_ids[$keys]}"
	until_true few_cm_ids "${!pid}" "${before_ids[$keys]}"
	# A slow machine gives the rate limit of the log more time.
	lines=$(wc -l <"$tmp/gw_$keys.log")
	[ "$lines" -lt $((1000 + 5 * SECONDS)) ] ||
		fail "the log has $lines lines after $SECONDS s"
done
for keys in "${modes[@]}"; do
	pid=pid_gw_$keys
	stop "${!pid}" || fail "the gateway ended with $?"
done
[ "$(sha256sum <"$tmp/fixed")" = "$sum" ] || fail "what is read-only was written"
