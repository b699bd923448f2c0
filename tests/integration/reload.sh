#!/usr/bin/env bash
# The configuration is read again under load: what stays is not disturbed, what
# goes is closed in less than 5 seconds, and a bad file changes nothing.
. "$(dirname "$0")/functions.sh"
requires fio
requires nbdsh
random_file disk 64
truncate -s 64M "$tmp/goes" "$tmp/moves"

conf=$tmp/gw.conf
mkdir "$tmp/exports.d"
cat >"$conf" <<-EOF
	[gateway]
	include = exports.d
	control = $tmp/ctl
EOF
# export NAME FILE [KEY = VALUE]...
export_conf() {
	local name=$1 backend=$2
	shift 2
	printf '[export]\nname = %s\nbackend = %s\n' "$name" "$backend" \
		>"$tmp/exports.d/$name.conf"
	[ $# = 0 ] || printf '%s\n' "$@" >>"$tmp/exports.d/$name.conf"
}
export_conf disk "$tmp/disk"
export_conf goes "$tmp/goes"
export_conf moves "$tmp/moves"

"$RNBD_GATEWAYD" --config "$conf" --check-config | grep -qx "$conf: ok"
start_gateway gw --config "$conf"
plugin() {
	local name=$1
	shift
	start_nbdkit "$name" "$RNBD_PLUGIN" "sessname=$name-$$" \
		"path=$path_gw" "device_path=$name" "$@"
}
plugin disk io-timeout=60
# Those that lose their device wait that long for it to come back.
plugin goes io-timeout=1
plugin moves io-timeout=1

# How often the log has said it so far, so that the next time can be awaited.
said() {
	grep -cE "$1" "$tmp/gw.log" || :
}
# hup PATTERN: reloads and waits for what the log says to it.
hup() {
	local before
	before=$(said "$1")
	kill -HUP "$pid_gw"
	until_true said_more "$1" "$before"
}
said_more() {
	[ "$(said "$1")" -gt "$2" ]
}

# Verified writes and reads on one export, from before the first reload until
# after the last.
fio --name=load --ioengine=nbd --uri="$uri_disk" --rw=randrw --bs=4k-64k \
	--iodepth=8 --size=64M --io_size=8G --time_based --runtime=600 \
	--verify=crc32c --verify_fatal=1 --verify_backlog=64 \
	--status-interval=1 >"$tmp/fio.out" 2>&1 &
fio=$!
pids+=("$fio")
until_true grep -q 'read:' "$tmp/fio.out"
running() {
	kill -0 "$fio" 2>/dev/null || {
		cat "$tmp/fio.out"
		fail "the load has ended: $1"
	}
}

# watch NAME URI: a client in the background that reads until it gets an error.
watch() {
	nbdsh -u "$2" -c "name = '$tmp/$1'" -c - >"$tmp/$1.watch.log" 2>&1 <<-'EOF' &
		h.pread(512, 0)
		open(name + ".open", "w").write("x")
		try:
		    while True:
		        h.pread(512, 0)
		except nbd.Error as e:
		    open(name + ".gone", "w").write(e.errno or "?")
	EOF
	pids+=($!)
	until_true test -s "$tmp/$1.open"
}
watch goes "$uri_goes"
watch moves "$uri_moves"

# Whether the daemon has the device open.
mapped() {
	"$RNBD_CTL" --control "$tmp/ctl" status --json |
		python3 -c 'import json, sys
name = sys.argv[1]
def find(v):
    if isinstance(v, dict):
        return v.get("name") == name and "session" in v or any(map(find, v.values()))
    return isinstance(v, list) and any(map(find, v))
sys.exit(not find(json.load(sys.stdin)))' "$1"
}
not_mapped() {
	! mapped "$1"
}
# within_5s WHAT COMMAND...: and says how long it was.
within_5s() {
	local what=$1 start ms
	shift
	start=$(date +%s%N)
	until_true "$@"
	ms=$((($(date +%s%N) - start) / 1000000))
	echo "$what: $ms ms"
	[ $ms -lt 5000 ] || fail "$what took $ms ms"
}
for name in disk goes moves; do
	mapped $name || fail "$name is not open"
done

# The same again: nothing happens to anybody.
hup 'reloaded .*: 3 exports'
running "by a reload that changed nothing"

# A bad file: what was in force stays, and the log says why.
echo 'colour = blue' >>"$tmp/exports.d/goes.conf"
hup "goes.conf:4: colour = blue: \[export\] has no such key.*what was in force stays"
if "$RNBD_GATEWAYD" --config "$conf" --check-config 2>"$tmp/err"; then
	fail "--check-config takes a bad file"
fi
grep -q 'goes.conf:4: colour' "$tmp/err"
mapped goes || fail "a bad file closed a mapping"

# One export is removed, another becomes another file.
rm "$tmp/exports.d/goes.conf"
truncate -s 32M "$tmp/moved"
export_conf moves "$tmp/moved"
hup 'reloaded .*: 2 exports'
within_5s "mapping of a removed export" not_mapped goes
within_5s "its client is told" test -s "$tmp/goes.gone"
running "by the removal of another export"

# Who asks now gets the new one, or nothing.
# shellcheck disable=SC2016
run_nbdkit '[ "$(nbdinfo --size "$uri")" = $((32 << 20)) ]' "$RNBD_PLUGIN" \
	"sessname=new-$$" "path=$path_gw" device_path=moves access_mode=ro
if run_nbdkit true "$RNBD_PLUGIN" "sessname=none-$$" "path=$path_gw" \
	device_path=goes 2>"$tmp/err"; then
	fail "a removed export can be opened"
fi
grep -q "no such export 'goes'" "$tmp/err"

# A right is revoked: of one session, not of the other.
export_conf goes "$tmp/goes" "sessions = goes-*"
hup 'reloaded .*: 3 exports'
start_nbdkit again "$RNBD_PLUGIN" "sessname=goes-again-$$" "path=$path_gw" \
	device_path=goes io-timeout=1
watch again "$uri_again"
export_conf goes "$tmp/goes" "sessions = others-*"
hup 'reloaded .*: 3 exports'
within_5s "mapping of a session that lost its right" not_mapped goes
within_5s "its client is told" test -s "$tmp/again.gone"

# The same by a rule: the first one matches, the second lets the load go on.
export_conf goes "$tmp/goes"
hup 'reloaded .*: 3 exports, 0 rules'
start_nbdkit ruled "$RNBD_PLUGIN" "sessname=ruled-$$" "path=$path_gw" \
	device_path=goes io-timeout=1
watch ruled "$uri_ruled"
printf '[rule]\naction = deny\nsession = ruled-*\nexport = goes\n[rule]\naction = allow\n' \
	>"$tmp/exports.d/rules.conf"
hup 'reloaded .*: 3 exports, 2 rules'
within_5s "mapping that a rule denies" not_mapped goes
within_5s "its client is told" test -s "$tmp/ruled.gone"
running "by a rule about another session"

# Values that need a restart are named, the rest of the file holds.
printf 'workers = 7\nqueue-depth = 64\n[export]\nname = late\nbackend = null:1M\n' >>"$conf"
hup 'need a restart.*: queue-depth, workers'
# shellcheck disable=SC2016
run_nbdkit 'nbdinfo "$uri" >/dev/null' "$RNBD_PLUGIN" "sessname=late-$$" \
	"path=$path_gw" device_path=late

# Many in a row, while the load goes on.
for _ in {1..50}; do
	kill -HUP "$pid_gw"
done
hup 'reloaded .*: 4 exports'
running "by many reloads"
kill -INT "$fio"
rc=0
wait "$fio" || rc=$?
# 128: ended by a signal, with nothing to complain about.
[ $rc = 128 ] && ! grep -qE 'verify:|err= *[1-9]' "$tmp/fio.out" || {
	cat "$tmp/fio.out"
	fail "the load saw an error"
}
stop "$pid_gw" || fail "the daemon did not end in order"
