#!/usr/bin/env bash
# vm: time=300 suite=6.12
# Every form of an RDMA address, at the gateway and at the plugin.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need nbdkit nbdinfo ip

ip address add 192.168.99.1/24 dev eth0
link_local=$(ip -6 -o address show dev eth0 scope link |
	sed -n 's/.*inet6 \([^/]*\).*/\1/p')%eth0

# listens ADDRESS LINE...: what a daemon on that address prints.
listens() {
	local addr=$1 line
	shift
	gateway_listen=$addr start_gateway g --export d=memory:1M \
		--listen tcp:127.0.0.1:0
	# The last listener's line is in the log when all are up.
	until_true grep -q "listening on tcp:" "$tmp/g.log"
	for line in "$@"; do
		grep -qF "listening on $line" "$tmp/g.log" ||
			fail "$addr: no listener $line"
	done
	[ "$(grep -c 'listening on ip:' "$tmp/g.log")" = $# ] ||
		fail "$addr: other listeners too"
	stop "$pid_g" || fail "$addr: exit code $?"
	rm "$tmp/g.log"
}
listens "ip:$VM_ADDR0" "ip:$VM_ADDR0:1234"
listens "ip:$VM_ADDR0:1400" "ip:$VM_ADDR0:1400"
listens ip:0.0.0.0 ip:0.0.0.0:1234
listens ip::: 'ip:[::]:1234'
listens 'ip:[::]:1401' 'ip:[::]:1401'
listens "ip:$link_local" "ip:[$link_local]:1234"
listens dev:rxe0:1402 "ip:$VM_ADDR0:1402" ip:192.168.99.1:1402 \
	"ip:[$VM_ADDR6_0]:1402" "ip:[$link_local]:1402"

# complains ADDRESS WORDS: one line, and none of a listener.
complains() {
	local out
	! out=$(timeout 20 "$RNBD_GATEWAYD" --foreground --listen "$1" \
		--export d=memory:1M 2>&1) || fail "$1: it runs"
	[[ $out == "rnbd-gatewayd: error: --listen $1: "*"$2"* ]] ||
		fail "$1: $out"
	[ "$(wc -l <<<"$out")" = 1 ] || fail "$1: more than a line: $out"
}
complains dev:nope "there is no RDMA device 'nope'; there is: rxe0"
complains ip:192.0.2.1 "no interface of this machine has that address"
complains "gid:$VM_ADDR6_0" "no InfiniBand port has that GID"
complains ip:fe80::1 "needs its interface"
say "listeners are right"

gateway_listen=ip::: start_gateway g --export d=memory:1M \
	--control "$tmp/ctl" --listen "tcp:$VM_ADDR0"
# attaches PATH SHOWN: the device is there, and the daemon saw that peer.
attaches() {
	local out
	out=$(timeout 60 nbdkit -U - "$RNBD_PLUGIN" sessname=s "path=$1" d \
		--run "nbdinfo --size \"\$uri\"
		$RNBD_CTL --control $tmp/ctl --json status") ||
		fail "$1: $out"
	[[ $out == 1048576$'\n'* ]] || fail "$1: no device: $out"
	grep -qF "\"local\": \"$2" <<<"$out" || fail "$1: not $2: $out"
	[[ $2 != ip:* ]] || grep -qE '"chunk_pages": "(plain|transparent)"' \
		<<<"$out" || fail "$1: kind of memory: $out"
	say "$1"
}
attaches "ip:$VM_ADDR0" "ip:$VM_ADDR0:1234"
attaches "ip:$VM_ADDR0:1234" "ip:$VM_ADDR0:1234"
attaches "ip:$VM_ADDR0@ip:$VM_ADDR0" "ip:$VM_ADDR0:1234"
attaches "ip:$VM_ADDR0,ip:192.168.99.1" "ip:192.168.99.1:1234"
attaches "ip:$VM_ADDR6_0" "ip:[$VM_ADDR6_0]:1234"
attaches "ip:[$VM_ADDR6_0]:1234" "ip:[$VM_ADDR6_0]:1234"
# A listener on every address sees link-local ones without their interface.
attaches "ip:$link_local" "ip:[${link_local%\%*}"
attaches "$VM_ADDR0" "ip:$VM_ADDR0:1234"
attaches "tcp:$VM_ADDR0" "tcp:$VM_ADDR0:1234"

# does_not PATH WORDS
does_not() {
	local out
	! out=$(timeout 60 nbdkit -U - "$RNBD_PLUGIN" sessname=s "path=$1" d \
		--run true 2>&1) || fail "$1: it works"
	[[ $out == *"$2"* ]] || fail "$1: $out"
}
does_not 127.0.0.1 \
	"no RDMA device of this machine leads to '127.0.0.1'; write tcp:127.0.0.1:1234"
does_not "ip:$VM_ADDR0@tcp:$VM_ADDR0" "of the same kind"
does_not "ip:$VM_ADDR0@ip:$VM_ADDR6_0" "different address families"
stop "$pid_g" || fail "gateway: exit code $?"

# Chunks from the pool of huge pages, and back.
echo 40 >/proc/sys/vm/nr_hugepages
free_pages() {
	sed -n 's/^HugePages_Free: *//p' /proc/meminfo
}
pool=$(free_pages)
[ "$pool" -ge 34 ] || fail "no pool of huge pages: $pool"
gateway_listen=ip:$VM_ADDR0 start_gateway g --export d=memory:1M \
	--control "$tmp/ctl"
out=$(timeout 60 nbdkit -U - "$RNBD_PLUGIN" queue-depth=1 sessname=s \
	"path=ip:$VM_ADDR0" d --run "nbdinfo --size \"\$uri\"
	$RNBD_CTL --control $tmp/ctl --json status
	grep HugePages_Free /proc/meminfo") || fail "from the pool: $out"
grep -q '"chunk_pages": "hugetlb"' <<<"$out" || fail "not hugetlb: $out"
grep -qE "HugePages_Free: +$((pool - 32))" <<<"$out" || fail "pool: $out"
stop "$pid_g" || fail "gateway: exit code $?"
[ "$(free_pages)" = "$pool" ] || fail "pages of the pool are lost"

rdma link delete rxe0
complains "ip:$VM_ADDR0" "this machine has no RDMA device; load a driver"
does_not "ip:$VM_ADDR0" "this machine has no RDMA device; load a driver"
