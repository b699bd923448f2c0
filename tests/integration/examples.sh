#!/usr/bin/env bash
# Each example of a configuration, in config/examples and in the manual pages,
# is one: its paths moved below a temporary directory, it passes --check-config,
# and a daemon serves it. Commands of rnbd-gatewayd(8) are checked the same way.
. "$(dirname "$0")/functions.sh"
requires nbdkit
requires nbdinfo

mkdir -p "$tmp/srv/rnbd/tenants" "$tmp/srv/images" "$tmp/run/rnbd" "$tmp/dev/vg0"
truncate -s 4M "$tmp/dev/vg0/db" "$tmp/dev/ram0" "$tmp/srv/disk.img" \
	"$tmp/srv/rnbd/debian-12.img" "$tmp/disk.qcow2"
# The NBD servers behind the gateway.
for name in run/rnbd/vm1 run/rnbd/vm2 run/qcow2 tls; do
	nbdkit -U "$tmp/$name.sock" -P "$tmp/${name##*/}.pid" memory 4M
	until_true test -s "$tmp/${name##*/}.pid"
done

# Paths of a real machine below $tmp; what is on another machine is here.
move() {
	sed -E "s#(/srv/|/run/|/dev/(vg0|ram0))#$tmp\\1#g
		s#nbds://ceph-gw.example.com/#nbd+unix:///vm3?socket=$tmp/tls.sock\\&x=#
		s#\\&x=.*##; s#^(backend = memory:)64G#\\164M#"
}

# check WHERE FILE: what --check-config says to it.
check() {
	"$RNBD_GATEWAYD" --config "$2" --check-config >"$tmp/out" 2>&1 ||
		fail "$1: $(cat "$tmp/out")"
	grep -qx "$2: ok" "$tmp/out" || fail "$1: $(cat "$tmp/out")"
}

n=0
for conf in "$RNBD_SRCDIR"/config/examples/*.conf; do
	name=$(basename "$conf" .conf)
	move <"$conf" >"$tmp/$name.conf"
	n=$((n + 1))
	check "config/examples/$name.conf" "$tmp/$name.conf"
	# Served for real, but on a port that is free here.
	sed -Ei '/^(listen|metrics) = /d' "$tmp/$name.conf"
	start_gateway "g$n" --config "$tmp/$name.conf" --queue-depth 8
	pid=pid_g$n
	"$RNBD_CTL" --control "$tmp/run/rnbd/gatewayd.sock" status >/dev/null
	stop "${!pid}" || fail "$name.conf: the daemon did not end in order"
done
[ $n -ge 4 ] || fail "only $n examples in config/examples"
[ -s "$tmp/srv/rnbd/disk.img" ] || fail "minimal.conf did not create its disk"

# Verbatim paragraphs of a page, NUL after each, without their indentation.
verbatim() {
	awk 'BEGIN { RS = ""; ORS = "\0" } /^ / { gsub(/(^|\n) /, "\n"); print substr($0, 2) }' "$1"
}
n=0
while IFS= read -r -d '' text; do
	[ "${text:0:1}" = '[' ] || continue
	n=$((n + 1))
	{
		move <<<"$text"
		# A part of a file is made whole.
		grep -qE '^(export|backend|search-path) = .*[/:]' <<<"$text" &&
			! grep -q '^\[rule\]' <<<"$text" ||
			printf '[export]\nname = x\nbackend = null:1M\n'
	} >"$tmp/page$n.conf"
	check "rnbd-gatewayd.conf(5), example $n" "$tmp/page$n.conf"
done < <(verbatim "$RNBD_SRCDIR/config/rnbd-gatewayd.conf.5.pod")
[ $n -ge 2 ] || fail "only $n examples in rnbd-gatewayd.conf(5)"

# Messages that the page quotes are those of the program.
printf '[gateway]\nexport = a=null:1M\n\nworkers = 0\n' >"$tmp/quoted"
grep -q ":4: workers = 0: $("$RNBD_GATEWAYD" --config "$tmp/quoted" --check-config 2>&1 |
	sed 's/.*workers = 0: //')" "$RNBD_SRCDIR/config/rnbd-gatewayd.conf.5.pod" ||
	fail "the page quotes another message"

# --list-keys is a configuration file, of comments.
"$RNBD_GATEWAYD" --list-keys >"$tmp/keys.conf"
"$RNBD_GATEWAYD" --config "$tmp/keys.conf" --check-config --export a=null:1M >/dev/null

# Commands: what follows a line that begins with rnbd-gatewayd and ends with \.
n=0
while read -r line; do
	n=$((n + 1))
	read -ra args <<<"$(move <<<"${line#rnbd-gatewayd }")"
	"$RNBD_GATEWAYD" "${args[@]}" --check-config >"$tmp/out" 2>&1 ||
		fail "rnbd-gatewayd(8): $line: $(cat "$tmp/out")"
done < <(sed -n '/^=head1 EXAMPLES/,/^=head1 SEE/p' \
	"$RNBD_SRCDIR/gateway/rnbd-gatewayd.8.pod" |
	sed -e ':a' -e '/\\$/N; s/\\\n *//; ta' | grep -oE '^ rnbd-gatewayd .*')
[ $n -ge 3 ] || fail "only $n commands in rnbd-gatewayd(8)"
