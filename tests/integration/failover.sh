#!/usr/bin/env bash
# Two paths that are cut, fall silent, and deliver late what the client has sent
# again on the other one: under each policy nothing is lost, comes back or takes
# turns, and nobody sees an error. $1: how many seconds for each step.
export takes=1
. "$(dirname "$0")/links/functions.sh"
requires fio
requires ss
seconds=${1:-3}
two_addresses
truncate -s 16M "$tmp/checked" "$tmp/fio"
start_gateway gw "${gateway_more[@]}" --control "$tmp/control" \
	--export "checked=file:$tmp/checked" --export "fio=file:$tmp/fio"

# serve PATH...: nbdkit with these paths.
serve() {
	local args=() p
	for p in "$@"; do
		args+=("path=tcp:$p")
	done
	start_nbdkit n "$RNBD_PLUGIN" sessname=failover "${args[@]}" \
		exports=checked exports=fio heartbeat-interval=0.2 \
		heartbeat-missed=2 "mp_policy=$policy" reconnect-delay=0.3
	uri_checked="nbd+unix:///checked?socket=$sock_n"
	uri_fio="nbd+unix:///fio?socket=$sock_n"
}

# Concurrent writers of the same blocks, and fio beside them.
start_load() {
	# The checker begins with zeroes.
	dd if=/dev/zero of="$tmp/checked" bs=1M count=16 conv=notrunc status=none
	"$RNBD_NBD_CHECK" --disk "$uri_checked" --connections 4 --depth 8 \
		--seconds "$seconds" --seed "$1" --ready "$tmp/ready" \
		>"$tmp/check.log" 2>&1 &
	checker=$!
	fio --name=v --ioengine=nbd --uri="$uri_fio" --rw=randwrite \
		--bsrange=4k-64k --iodepth=8 --size=16m --verify=crc32c \
		--verify_fatal=1 --do_verify=1 --verify_backlog=64 \
		--time_based --runtime="$seconds" --minimal \
		>"$tmp/fio.log" 2>&1 &
	fio=$!
	pids+=("$checker" "$fio")
	until_true ready_or_over
}
ready_or_over() {
	[ -s "$tmp/ready" ] || ! kill -0 "$checker" 2>/dev/null
}
end_load() { # WHAT
	wait "$checker" || fail "$1: the checker: $(grep -m 5 -E 'WRONG|error' "$tmp/check.log")"
	wait "$fio" || fail "$1: fio"
	rm -f "$tmp/ready"
	echo "$1: $(tail -n 1 "$tmp/check.log")"
	kill "$pid_n"
	wait_gone "$pid_n"
}

seed=0
for policy in round-robin min-inflight min-latency; do
	for kinds in c l csuol; do
		seed=$((seed + 1))
		start_relay "${addresses[@]}"
		serve "$link_0" "$link_1"
		start_load $seed
		relay flap 400 500 $seed $kinds
		wait "$checker" || fail "$policy, faults $kinds: the checker: $(grep -m 5 -E 'WRONG|error' "$tmp/check.log")"
		relay count
		faults=${relay_said#faults }
		[ "$faults" -gt 3 ] || fail "$policy, $kinds: $faults faults only"
		relay flap 0 0 0
		end_load "$policy, $faults faults of $kinds"
		stop "$pid_relay" || :
	done
done

# Without anything between the two ends: the kernel ends connections.
policy=min-inflight
serve "${addresses[@]}"
start_load 99
if ss -K dst "${addresses[0]}" >"$tmp/ss.log" 2>&1 && grep -q ESTAB "$tmp/ss.log"; then
	cuts=0
	while kill -0 "$checker" 2>/dev/null; do
		# Both ends of it, the server's only, by turns.
		ss -K dst "${addresses[$((cuts % 2))]}" >/dev/null 2>&1
		[ $((cuts % 3)) != 0 ] ||
			ss -K src "${addresses[$((cuts % 2))]}" >/dev/null 2>&1
		cuts=$((cuts + 1))
		both_up() {
			[ "$(paths)" = 2 ] || ! kill -0 "$checker" 2>/dev/null
		}
		paths() {
			"$RNBD_CTL" --control "$tmp/control" path list csv noheaders |
				grep -c '^failover,' || :
		}
		until_true both_up
	done
	[ "$cuts" -gt 2 ] || fail "connections were ended $cuts times only"
	end_load "ended by the kernel $cuts times"
else
	end_load "not ended by the kernel (needs root and INET_DIAG_DESTROY)"
fi
