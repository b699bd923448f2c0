#!/usr/bin/env bash
# Two paths over two links between two network namespaces: taken down at either
# end, packets dropped in silence one way and both ways, everything slow; each
# policy, under concurrent writers and fio. $1: how many seconds for each.
export takes=1
. "$(dirname "$0")/links/functions.sh"
requires fio
requires ip
seconds=${1:-6}
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
a=rnbd-a-$$ b=rnbd-b-$$
ip netns add "$a" 2>"$tmp/ip.log" || skip "no network namespaces: $(cat "$tmp/ip.log")"
ip netns add "$b"
drop_netns() {
	ip netns del "$a"
	ip netns del "$b"
}
at_exit+=(drop_netns)
port=1234
for i in 0 1; do
	ip -n "$a" link add "v$i" type veth peer name "w$i" netns "$b" ||
		skip "no veth devices"
	ip -n "$a" addr add "192.0.2.$((16 * i + 1))/28" dev "v$i"
	ip -n "$b" addr add "192.0.2.$((16 * i + 2))/28" dev "w$i"
	ip -n "$a" link set "v$i" up
	ip -n "$b" link set "w$i" up
done

mkfifo "$tmp/listening"
truncate -s 16M "$tmp/checked" "$tmp/fio"
ip netns exec "$b" "$RNBD_GATEWAYD" --foreground --control "$tmp/control" \
	--listen "tcp:192.0.2.2:$port" --listen "tcp:192.0.2.18:$port" \
	--export "checked=file:$tmp/checked" --export "fio=file:$tmp/fio" \
	>"$tmp/listening" 2>>"$tmp/gw.log" &
pids+=($!)
read -r -t 60 _ <"$tmp/listening" || fail "the gateway did not come up"

mac() { # NAMESPACE DEVICE
	ip -n "$1" -br link show "$2" | tr -s ' ' | cut -d' ' -f3
}
# Packets to the other end go to an address that nobody has, or go right again.
lead_astray() { # NAMESPACE DEVICE PEER
	ip -n "$1" neigh replace "$3" lladdr 02:00:00:00:00:99 dev "$2" nud permanent
}
lead_back() { # NAMESPACE DEVICE PEER MAC
	ip -n "$1" neigh replace "$3" lladdr "$4" dev "$2" nud reachable
}
break_link() { # I HOW
	case $2 in
	near) ip -n "$a" link set "v$1" down ;;
	far) ip -n "$b" link set "w$1" down ;;
	up | silent) lead_astray "$a" "v$1" "192.0.2.$((16 * $1 + 2))" ;;&
	down | silent) lead_astray "$b" "w$1" "192.0.2.$((16 * $1 + 1))" ;;
	esac
}
mend_link() {
	case $2 in
	near) ip -n "$a" link set "v$1" up ;;
	far) ip -n "$b" link set "w$1" up ;;
	up | silent) lead_back "$a" "v$1" "192.0.2.$((16 * $1 + 2))" "$(mac "$b" "w$1")" ;;&
	down | silent) lead_back "$b" "w$1" "192.0.2.$((16 * $1 + 1))" "$(mac "$a" "v$1")" ;;
	esac
}

# Late packets, if the kernel can do that; else few at a time.
slow_down() { # NAMESPACE DEVICE
	ip netns exec "$1" tc qdisc replace dev "$2" root netem delay 20ms 10ms 2>/dev/null && slow=netem && return
	ip netns exec "$1" tc qdisc replace dev "$2" root tbf rate 200mbit burst 64k latency 50ms 2>/dev/null && slow=tbf && return
	slow=no
}
speed_up() {
	ip netns exec "$1" tc qdisc del dev "$2" root 2>/dev/null || :
}

over() {
	! kill -0 "$checker" 2>/dev/null
}
# As the client has it. The server may keep a path that the client has lost: it
# is asked to give it up only if something was under way there.
path_states() {
	"$RNBD_CTL" --control "$tmp/c.ctl" client path list all csv noheaders || :
}
is_lost() {
	over || path_states | grep "tcp:192.0.2.$((16 * link + 2)):$port," |
		grep -qv ',connected,'
}
both_up() {
	over || [ "$(path_states | grep -c ',connected,')" = 2 ]
}

round=0
for policy in round-robin min-inflight min-latency; do
	dd if=/dev/zero of="$tmp/checked" bs=1M count=16 conv=notrunc status=none
	rm -f "$tmp/n.sock" "$tmp/n.pid" "$tmp/ready"
	ip netns exec "$a" "${san_env[@]}" nbdkit -f -U "$tmp/n.sock" \
		-P "$tmp/n.pid" "$RNBD_PLUGIN" sessname=netns \
		"path=tcp:192.0.2.2:$port" "path=tcp:192.0.2.18:$port" \
		exports=checked exports=fio heartbeat-interval=0.2 \
		heartbeat-missed=2 "mp_policy=$policy" reconnect-delay=0.2 \
		"control=$tmp/c.ctl" \
		connect-timeout=1 >>"$tmp/n.log" 2>&1 &
	nbdkit=$!
	pids+=("$nbdkit")
	until_true test -s "$tmp/n.pid"
	"$RNBD_NBD_CHECK" --disk "nbd+unix:///checked?socket=$tmp/n.sock" \
		--connections 4 --depth 8 --seconds "$seconds" --seed $((++round)) \
		--ready "$tmp/ready" >"$tmp/check.log" 2>&1 &
	checker=$!
	fio --name=v --ioengine=nbd --uri="nbd+unix:///fio?socket=$tmp/n.sock" \
		--rw=randwrite --bsrange=4k-64k --iodepth=8 --size=16m \
		--verify=crc32c --verify_fatal=1 --do_verify=1 \
		--verify_backlog=64 --time_based --runtime="$seconds" --minimal \
		>"$tmp/fio.log" 2>&1 &
	fio=$!
	pids+=("$checker" "$fio")
	until_true test -s "$tmp/ready"
	slow_down "$a" v1
	n=0
	while ! over; do
		for how in far silent near up down; do
			link=$((n % 2))
			break_link $link $how
			until_true is_lost
			mend_link $link $how
			over && break
			n=$((n + 1))
			until_true both_up
		done
	done
	speed_up "$a" v1
	wait "$checker" || fail "$policy: the checker: $(grep -m 5 -E 'WRONG|error' "$tmp/check.log")"
	wait "$fio" || fail "$policy: fio"
	[ "$n" -ge 2 ] || fail "$policy: $n faults only"
	echo "$policy, $n faults, slow by $slow: $(tail -n 1 "$tmp/check.log")"
	stop "$nbdkit" || :
done
