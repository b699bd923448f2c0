#!/usr/bin/env bash
# vm: guests=2 kernels=6.12 time=150
# What rnbd-security(7) says of isolation: IPsec hides RoCE in software and tcp,
# WireGuard hides tcp, and a session is bound to the address that its key has.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need nbdkit nbdsh wg ip python3
peer=$VM_PEER0 own=$VM_ADDR0
wg_own=10.7.0.${own##*.} wg_peer=10.7.0.${peer##*.}

# The same key on both sides, for it is a test.
ipsec() {
	local key=0x00112233445566778899aabbccddeeff01234567 from to
	for from in "$own" "$peer"; do
		to=$peer
		[ "$from" = "$own" ] || to=$own
		check "ip xfrm state" ip xfrm state add src "$from" dst "$to" \
			proto esp spi "0x10${from##*.}" reqid 1 mode transport \
			aead 'rfc4106(gcm(aes))' "$key" 128
	done
	check "ip xfrm policy" ip xfrm policy add src "$own" dst "$peer" \
		dir out tmpl src "$own" dst "$peer" proto esp reqid 1 mode transport
	check "ip xfrm policy" ip xfrm policy add src "$peer" dst "$own" \
		dir in tmpl src "$peer" dst "$own" proto esp reqid 1 mode transport
}

wireguard() {
	check wireguard ip link add wg0 type wireguard
	check "wg0" ip addr add "$wg_own/24" dev wg0
	(umask 077; wg genkey >"$tmp/key")
	tell "key.$1" "$(wg pubkey <"$tmp/key")"
	check "wg set" wg set wg0 listen-port 51820 private-key "$tmp/key" \
		peer "$(hear "key.$2")" allowed-ips "$wg_peer/32" \
		endpoint "$peer:51820"
	check "wg0 up" ip link set wg0 up
}

if [ "$VM_ROLE" = b ]; then
	cat >"$tmp/conf" <<-END
		[gateway]
		listen = ip:$own:1234
		listen = tcp:$own:1234
		[export]
		name = disk
		backend = memory:16M
		[rule]
		action = bind
		session = tunnel
		address = $wg_peer
		[rule]
		action = allow
	END
	# Listens on the tunnel as well, which must be there for that.
	wireguard b a
	gateway_listen=tcp:$wg_own:1234 start_gateway gw --config "$tmp/conf"
	barrier served
	barrier clear
	ipsec
	barrier ipsec
	barrier end
	stop "$pid_gw" || fail "the daemon ended with $?"
	exit
fi

# A line that is easy to find on the wire.
marker="everybody can read this line"

# sent NAME PATH [SESSION]: it was written and read back by that path, and what
# passed meanwhile is NAME.pcap.
sent() {
	ask_host pcap a 0 "$1"
	start_nbdkit n "$RNBD_PLUGIN" "sessname=${3:-plain}" device_path=disk \
		"path=$2" connect-timeout=30 open-timeout=90
	timeout 120 nbdsh -u "$uri_n" -c "
data = (b'$marker' * 1000)[:16384]
h.pwrite(data, 0)
assert h.pread(16384, 0) == data" || fail "$1: I/O"
	kill "$pid_n"
	wait_gone "$pid_n"
	ask_host pcap-end a 0
}
# seen NAME: how often the line passed; grep -a, for the rest is binary.
seen() {
	grep -aoF "$marker" "/run/vm/$1.pcap" | wc -l
}
readable() {
	[ "$(seen "$1")" -gt 500 ] || fail "$1: only $(seen "$1") of it was recorded"
	say "$1: can be read"
}
hidden() {
	local bytes
	bytes=$(stat -c %s "/run/vm/$1.pcap")
	[ "$bytes" -gt 32768 ] || fail "$1: only $bytes bytes were recorded"
	[ "$(seen "$1")" = 0 ] || fail "$1: passed $(seen "$1") times in the clear"
	say "$1: cannot be read"
}

wireguard a b
barrier served
sent roce "ip:$peer:1234"
readable roce
sent tcp "tcp:$peer:1234"
readable tcp
sent tcp-wireguard "tcp:$wg_peer:1234" tunnel
hidden tcp-wireguard
if run_nbdkit true "$RNBD_PLUGIN" sessname=tunnel device_path=disk \
	"path=tcp:$peer:1234" 2>"$tmp/refused.log"; then
	fail "the name of the tunnel's session was taken from outside"
fi
barrier clear
ipsec
barrier ipsec
sent roce-ipsec "ip:$peer:1234"
hidden roce-ipsec
sent tcp-ipsec "tcp:$peer:1234"
hidden tcp-ipsec
barrier end
