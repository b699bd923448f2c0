#!/usr/bin/env bash
# Each example of the manual pages and the README is run as it stands there, with
# other addresses and paths. One that manual.list does not know is an error, and
# so is one that the list knows and no page has.
. "$(dirname "$0")/functions.sh"
for p in nbdinfo qemu-img qemu-nbd qemu-system-x86_64 curl; do
	requires $p
done
nbd_port=$(free_port)
metrics_port=$(free_port)
gw_port=''

# The map: what stands in a page, and what stands for it here. Names of devices
# stay; the gateway that was started last is who is meant by an address.
here() {
	local to=tcp:127.0.0.1:$gw_port
	sed -E "s#--listen (ip:10\\.50\\.100\\.66|tcp:(10\\.50\\.100\\.66|192\\.0\\.2\\.1|0\\.0\\.0\\.0))#--listen tcp:127.0.0.1:0#g
		s#path=tcp:2001:db8::1,tcp:\\[2001:db8::2\\]:1234#path=tcp:::1,tcp:[::1]:$gw_port#
		s#(path=|@)(ip:10\\.50\\.10[01]\\.66|tcp:(server\\.example|SERVER|127\\.0\\.0\\.1|192\\.0\\.2\\.1))#\\1$to#g
		s#path add tcp:192\\.0\\.2\\.2#path add tcp:[::1]:$gw_port#
		s#ip:10\\.50\\.100\\.1@#tcp:127.0.0.1@#; s#ip:10\\.50\\.101\\.1@#tcp:127.0.0.2@#
		s#(^|[ =:'])/(run|tmp|srv|etc|var)/#\\1$tmp/\\2/#g
		s#/dev/ram0=/dev/ram0#/dev/ram0=$tmp/dev/ram0#
		s#(nbd://localhost)#\\1:$nbd_port#
		s#127\\.0\\.0\\.1:11234#127.0.0.1:$metrics_port#
		s#build/gateway/rnbd-gatewayd#rnbd-gatewayd#
		s#build/nbdkit-plugin/nbdkit-rnbd-plugin.so#rnbd#
		s# \\.\\.\\.\$# --export x=null:1M#"
}

# The programs by the names that the pages have for them.
nbdkit() {
	local args=() a
	for a in "$@"; do
		[ "$a" != rnbd ] || a=$RNBD_PLUGIN
		args+=("$a")
	done
	if [[ " $* " != *" --run "* ]]; then
		# One at a time: examples have the same names of sessions.
		if [ -s "$tmp/nbdkit.pid" ]; then
			kill "$(cat "$tmp/nbdkit.pid")"
			wait_gone "$(cat "$tmp/nbdkit.pid")"
			rm "$tmp/nbdkit.pid"
		fi
		args+=(-P "$tmp/nbdkit.pid")
	fi
	[[ " $* " == *" -U "* ]] || args+=(-i 127.0.0.1 -p "$nbd_port")
	command nbdkit "${args[@]}" || return
	[[ " $* " != *" --run "* ]] || return 0
	until_true test -s "$tmp/nbdkit.pid"
}

gateways=0
rnbd-gatewayd() {
	local args=("$@") out line
	if [[ " $* " == *" --check-config "* ]]; then
		"$RNBD_GATEWAYD" "$@"
		return
	fi
	gateways=$((gateways + 1))
	out=$tmp/gateway$gateways.out
	if [[ " $* " != *" --config "* ]]; then
		[[ " $* " == *" --listen "* ]] || args+=(--listen tcp:127.0.0.1:0)
		[[ " $* " == *" --pid-file "* ]] ||
			args+=(--pid-file "$tmp/gateway$gateways.pid")
	else
		# Its pid file is that of an example before it.
		end_daemons
		until_true test ! -e "$tmp/run/rnbd/gatewayd.pid"
	fi
	if [[ " $* " == *" --foreground "* ]]; then
		"$RNBD_GATEWAYD" "${args[@]}" >"$out" 2>>"$tmp/gw.log" &
		pids+=($!)
		until_true grep -q '^listening on' "$out"
	else
		"$RNBD_GATEWAYD" "${args[@]}" >"$out" 2>>"$tmp/gw.log" || return
	fi
	line=$(grep -m1 '^listening on' "$out") || return
	gw_port=${line##*:}
}

client_is_connected() {
	RNBD_CLIENT_DIR=$tmp/run/rnbd/client "$RNBD_CTL" client session list \
		state csv noheaders 2>/dev/null | grep -qx connected
}

rnbdctl() {
	if [ "$1" = client ]; then
		[ -S "$tmp/run/rnbd/client/blya.ctl" ] ||
			nbdkit rnbd disk sessname=blya \
				"path=tcp:127.0.0.1:$gw_port" \
				"control=$tmp/run/rnbd/client/blya.ctl"
		# Nobody types so fast that it is not connected yet.
		until_true client_is_connected
		RNBD_CLIENT_DIR=$tmp/run/rnbd/client "$RNBD_CTL" "$@"
		return
	fi
	"$RNBD_CTL" --control "$tmp/run/rnbd/base.sock" "$@"
}

qemu-nbd() {
	command qemu-nbd "$@" &
	if [[ " $* " == *" --persistent "* ]]; then
		pids+=($!)
		until_true test -S "$tmp/run/qcow2.sock"
	else
		wait $!
	fi
}

# The machine is not started; it has its disk.
qemu-system-x86_64() {
	printf 'info block\nquit\n' | command qemu-system-x86_64 -S -accel tcg \
		-nodefaults -display none -monitor stdio "$@" >"$tmp/block" || return
	grep -qE '(nbd\+?|nbd:)unix:.*|"driver": "nbd"' "$tmp/block" ||
		fail "no NBD disk: $(cat "$tmp/block")"
}

mkdir -p "$tmp"/{run/rnbd/client,var/lib/node_exporter,tmp,srv/images/me,etc,dev}
truncate -s 4M "$tmp/srv/disk.img" "$tmp/dev/ram0"
qemu-img create -q -f qcow2 disk.qcow2 4M
cat >"$tmp/etc/rnbd-gatewayd.conf" <<END
[gateway]
listen = tcp:127.0.0.1:0
export = disk=null:1M
pid-file = $tmp/run/rnbd/gatewayd.pid
END

# Daemons whose pid file an example puts elsewhere.
# shellcheck disable=SC2317  # called at the end
end_daemons() {
	local f
	for f in "$tmp"/run/*.pid "$tmp"/run/rnbd/*.pid; do
		[ ! -s "$f" ] || kill "$(cat "$f")" 2>/dev/null || :
	done
}
at_exit+=(end_daemons)

# The gateway of those examples that speak of a server without starting one.
base() {
	if [ -s "$tmp/base.pid" ] && kill -0 "$(cat "$tmp/base.pid")" 2>/dev/null; then
		gw_port=$base_port
		return
	fi
	base_port=$(free_port)
	rnbd-gatewayd --listen "tcp:127.0.0.1:$base_port" \
		--listen "tcp:[::1]:$base_port" --pid-file "$tmp/base.pid" \
		--control "$tmp/run/rnbd/base.sock" --export disk0=memory:1M --export disk=memory:1M \
		--export /dev/ram0=memory:1M --export vm/disk1=memory:1M \
		--export vm/disk2=memory:1M --export /dev/vg/root=memory:1M \
		--export "$tmp/srv/install.iso=memory:1M"
}

# What is to be done with each.
"$RNBD_SRCDIR/tests/lint/manual.sh" --print >"$tmp/examples" ||
	fail "$(cat "$tmp/examples")"
base
ran=0
while IFS=$'\t' read -r page how line; do
	case $how in
	section) base ;;
	run)
		ran=$((ran + 1))
		line=$(here <<<"$line")
		eval "$line" >"$tmp/out" 2>&1 </dev/null ||
			fail "$page: $line: ended with $?: $(cat "$tmp/out")"
		;;
	esac
done <"$tmp/examples"
[ "$ran" -ge 40 ] || fail "only $ran examples ran"
echo "$ran examples ran"
