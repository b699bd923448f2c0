#!/usr/bin/env bash
# rnbdctl map and unmap with nbdkit, plugin and daemon; only nbd-client and the
# kernel's part of it are stood for by a program of the test. Errors in words,
# several at once, rnbdctl killed at each step, nbdkit killed.
. "$(dirname "$0")/functions.sh"
requires nbdsh
export RNBD_ROOT=$tmp/root
run=$RNBD_ROOT/run/rnbd/client
mkdir -p "$RNBD_ROOT/sys/module/nbd" "$RNBD_ROOT/dev" "$tmp/bin"
ln -s "$RNBD_SRCDIR/tests/integration/fake-nbd-client.py" "$tmp/bin/nbd-client"
# As in functions.sh: nbdkit of a sanitized build, and not what starts it.
if [ ${#san_env[@]} -gt 0 ]; then
	cat >"$tmp/bin/nbdkit" <<-EOF
		#!/bin/bash
		${san_env[1]%%=*}="${san_env[1]#*=}" exec -a @nbdkit /usr/bin/nbdkit "\$@"
	EOF
	chmod +x "$tmp/bin/nbdkit"
fi
PATH=$tmp/bin:$PATH
# shellcheck disable=SC2317 # at_exit
end_all() {
	local f
	for f in "$RNBD_ROOT"/sys/block/*/keeper; do
		[ ! -s "$f" ] || kill "$(cat "$f")" 2>/dev/null || :
	done
	for f in "$run"/*.json; do
		[ ! -s "$f" ] || kill "$(nbdkit_of "$f")" 2>/dev/null || :
	done
}
at_exit+=(end_all)
nbdkit_of() { # FILE: pid of the session's
	python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["nbdkit"]["pid"])' "$1"
}
ctl() {
	timeout 60 "$RNBD_CTL" "$@" 2>"$tmp/ctl.err"
}
map() {
	ctl map "$@" || fail "map $*: $(cat "$tmp/ctl.err")"
}
unmap() {
	ctl unmap "$@" || fail "unmap $*: $(cat "$tmp/ctl.err")"
}
# says CODE WORDS COMMAND...: refused with this exit code, in one line.
says() {
	local code=$1 words=$2 rc=0
	shift 2
	ctl "$@" >"$tmp/ctl.out" || rc=$?
	[ $rc = "$code" ] || fail "exit code $rc, not $code: $* ($(cat "$tmp/ctl.err"))"
	grep -qF -- "$words" "$tmp/ctl.err" ||
		fail "'$words' is not in: $(cat "$tmp/ctl.err") ($*)"
	[ "$(wc -l <"$tmp/ctl.err")" = 1 ] || fail "more than a line: $(cat "$tmp/ctl.err")"
}
list() {
	ctl client map list device,mapping_path,access_mode,size,state csv noheaders | sort
}
devices() {
	RNBD_CLIENT_DIR=$run ctl client device list \
		sessname,mapping_path,nbd,access_mode,state csv noheaders | sort | xargs
}
is_list() {
	[ "$(list)" = "$(printf '%s\n' "$@")" ] || fail "the list is: $(list)"
}
clean() {
	[ -z "$(ls "$run")" ] || fail "left: $(ls "$run")"
	! ls "$RNBD_ROOT"/sys/block/*/pid 2>/dev/null || fail "still connected"
}

# --- without what it takes
if [ "$(id -u)" != 0 ]; then
	(unset RNBD_ROOT; says 5 "only root" map sessname=s device_path=d)
fi
rmdir "$RNBD_ROOT/sys/module/nbd"
says 1 "modprobe nbd" map sessname=s path=tcp:127.0.0.1 device_path=d
mkdir "$RNBD_ROOT/sys/module/nbd"
[ ! -e "$run" ] || clean

start_gateway gw --export disk=memory:8M --export other=memory:4M,ro
s=(sessname=s:1 "path=$path_gw")
says 2 "sessname=NAME is missing" map
says 2 "device_path=NAME is missing" map "${s[@]}"
says 2 "path=ADDRESS is missing" map sessname=s:1 device_path=disk
says 2 "DEVICE is missing" unmap
says 2 "one device, as in /dev/nbd0" unmap /dev/sda
says 4 "/dev/nbd0 is not mapped" unmap nbd0
says 4 "has no disk mapped" unmap sessname=s:1 device_path=disk
says 1 "no such export 'nix'" map "${s[@]}" device_path=nix
says 1 "unknown parameter 'colour'" map "${s[@]}" \
	device_path=disk colour=green
says 1 "connection refused" map sessname=s:1 path=tcp:127.0.0.1:1 device_path=disk
clean

# --- two devices of a session, each in its mode, by one nbdkit
[ "$(map "${s[@]}" device_path=disk)" = /dev/nbd0 ] || fail "not nbd0"
[ "$(map sessname=s:1 device_path=other access_mode=ro)" = /dev/nbd1 ] || fail "not nbd1"
is_list /dev/nbd0,disk,rw,8388608,mapped /dev/nbd1,other,ro,4194304,mapped
[ "$(cat "$RNBD_ROOT"/sys/block/nbd[01]/ro | xargs)" = "0 1" ] || fail "which is read-only"
[ "$(ls "$run")" = "$(printf '%s\n' s%3A1.{ctl,json,lock,log,nbd})" ] || fail "files: $(ls "$run")"
pid=$(nbdkit_of "$run/s%3A1.json")
[ "$(head -c 7 "/proc/$pid/cmdline")" = @nbdkit ] || fail "systemd would end it too early"
# Its client answers, and is asked where it is looked for.
[ "$(devices)" = "s:1,disk,/dev/nbd0,rw,open s:1,other,/dev/nbd1,ro,open" ] ||
	fail "client device list: $(devices)"
says 1 "mapped already, rw as /dev/nbd0" map "${s[@]}" device_path=disk
says 1 "give the same" map sessname=s:1 path=tcp:192.0.2.1 device_path=x
says 1 "no such export 'x'" map sessname=s:1 device_path=x
says 1 "busy: 'disk' is already open" map sessname=t "path=$path_gw" device_path=disk
# The file of a unit says what has to be there.
printf '# %s\n%s\n  %s\n' "a map" "${s[*]}" device_path=disk >"$tmp/disk.conf"
[ "$(map --file "$tmp/disk.conf")" = /dev/nbd0 ] || fail "--file of what is mapped"
says 2 "one word too many" map --file "$tmp/disk.conf" x=y
says 2 "nix.conf: No such file" map --file "$tmp/nix.conf"
[ "$(unmap nbd0 verbose)" = "/dev/nbd0 is unmapped" ] || fail "what unmap says"
is_list /dev/nbd1,other,ro,4194304,mapped
unmap --file "$tmp/disk.conf"
kill -0 "$pid" || fail "nbdkit has ended with the first device"
unmap sessname=s:1 device_path=other
wait_gone "$pid"
clean

# --- many at once: of one session and of several, each gets one
for i in 1 2 3 4; do
	map "sessname=many$((i % 2))" "path=$path_gw" "device_path=d$i" \
		>"$tmp/many.$i" 2>"$tmp/many.err.$i" || : &
	jobs[i]=$!
done
wait "${jobs[@]}" || :
for i in 1 2 3 4; do
	[ ! -s "$tmp/many.$i" ] || fail "there is no d$i, and yet it is mapped"
done
clean
for i in 1 2 3 4; do
	start_gateway "g$i" --export disk=memory:1M
	path=path_g$i
	"$RNBD_CTL" map "sessname=g$i" "path=${!path}" device_path=disk \
		>"$tmp/many.$i" 2>"$tmp/many.err.$i" &
	jobs[i]=$!
done
for i in 1 2 3 4; do
	wait "${jobs[i]}" || fail "map $i of 4: $(cat "$tmp/many.err.$i")"
done
[ "$(sort -u "$tmp"/many.[1-4] | wc -l)" = 4 ] || fail "not four devices: $(cat "$tmp"/many.[1-4])"
for i in 1 2 3 4; do
	unmap "$(cat "$tmp/many.$i")"
done
clean

# --- rnbdctl killed in the middle: the next one takes back what it began
for when in before after; do
	touch "$RNBD_ROOT/crash-$when"
	! ctl map "${s[@]}" device_path=disk >/dev/null || fail "not killed"
	rm "$RNBD_ROOT/crash-$when"
	[ -e "$run/s%3A1.json" ] || fail "nothing is written down of what was begun"
	pid=$(nbdkit_of "$run/s%3A1.json")
	says 4 "is not mapped" unmap nbd7
	wait_gone "$pid"
	clean
	# The same session, which may be another one now, and the same device.
	touch "$RNBD_ROOT/crash-$when"
	! ctl map "${s[@]}" device_path=disk >/dev/null || fail "not killed"
	! ctl map "${s[@]}" device_path=disk io-timeout=77 >/dev/null || fail "not killed"
	rm "$RNBD_ROOT/crash-$when"
	[ "$(map "${s[@]}" device_path=disk io-timeout=78)" = /dev/nbd0 ] || fail "not nbd0"
	unmap nbd0
	touch "$RNBD_ROOT/crash-$when"
	! ctl map "${s[@]}" device_path=disk >/dev/null || fail "not killed"
	rm "$RNBD_ROOT/crash-$when"
	[ "$(unmap nbd0 verbose)" = "/dev/nbd0 is unmapped" ] || fail "unmap of what was begun"
	clean
done

# --- no room to write down that it is mapped: it is not
touch "$RNBD_ROOT/no-more-state"
! ctl map "${s[@]}" device_path=disk >/dev/null || fail "mapped, and not written down"
grep -qF "cannot write $run/s%3A1.json" "$tmp/ctl.err" || fail "not said: $(cat "$tmp/ctl.err")"
rm "$RNBD_ROOT/no-more-state"
rmdir "$run/s%3A1.json.new"
clean

# --- one that cannot be taken back is in nobody's way but its own
touch "$RNBD_ROOT/crash-after"
! ctl map "${s[@]}" device_path=disk >/dev/null || fail "not killed"
rm "$RNBD_ROOT/crash-after"
mv "$RNBD_ROOT/sys/block/nbd0/keeper" "$tmp/keeper"
[ "$(map sessname=t "path=$path_gw" device_path=other access_mode=ro)" = /dev/nbd1 ] ||
	fail "not nbd1"
grep -q "session 's:1': what was begun there" "$tmp/ctl.err" || fail "not said: $(cat "$tmp/ctl.err")"
unmap nbd1
grep -q "session 's:1': what was begun there" "$tmp/ctl.err" || fail "not said: $(cat "$tmp/ctl.err")"
says 1 "nbd-client cannot disconnect it" map "${s[@]}" device_path=disk
says 1 "nbd-client cannot disconnect it" unmap nbd0
is_list /dev/nbd0,disk,rw,8388608,half
mv "$tmp/keeper" "$RNBD_ROOT/sys/block/nbd0/keeper"
unmap nbd0
clean

# --- the same, but it is mounted before the next one comes: that leaves it
in_use() { # DEVICE: by its numbers, which are those of what is mounted on /
	awk '$5 == "/" { print $3 }' /proc/self/mountinfo | tail -n 1 \
		>"$RNBD_ROOT/sys/block/$1/dev"
}
for next in "map sessname=t path=$path_gw device_path=other access_mode=ro" \
	"unmap nbd7" "map --file $tmp/disk.conf" "unmap nbd0"; do
	touch "$RNBD_ROOT/crash-after"
	! ctl map "${s[@]}" device_path=disk >/dev/null || fail "not killed"
	rm "$RNBD_ROOT/crash-after"
	is_list /dev/nbd0,disk,rw,8388608,half
	pid=$(nbdkit_of "$run/s%3A1.json")
	in_use nbd0
	read -ra words <<<"$next"
	case $next in
	unmap\ nbd7) says 4 "is not mapped" "${words[@]}" ;;
	unmap*) says 1 "/dev/nbd0 is mounted on /" "${words[@]}" ;;
	*other*) [ "$(ctl "${words[@]}")" = /dev/nbd1 ] || fail "$next" ;;
	*) [ "$(ctl "${words[@]}")" = /dev/nbd0 ] || fail "$next" ;;
	esac
	[ ! -e "$run/t.json" ] || unmap nbd1
	is_list /dev/nbd0,disk,rw,8388608,mapped
	kill -0 "$pid" || fail "what is mounted is served no more"
	says 1 "/dev/nbd0 is mounted on /" unmap nbd0
	rm "$RNBD_ROOT/sys/block/nbd0/dev"
	unmap nbd0
	wait_gone "$pid"
	clean
done

# --- what rnbdctl was started with is not held open by what it leaves
exec 9>"$tmp/flock"
flock 9
map "${s[@]}" device_path=disk >/dev/null
exec 9>&-
flock -n "$tmp/flock" true || fail "a lock is held by what goes on"
unmap nbd0
clean

# --- nbdkit killed
map "${s[@]}" device_path=disk >/dev/null
map sessname=s:1 device_path=other access_mode=ro >/dev/null
kill -KILL "$(nbdkit_of "$run/s%3A1.json")"
is_dead() {
	[ "$(list | grep -c dead)" = 2 ]
}
until_true is_dead
[ "$(devices)" = "s:1,disk,/dev/nbd0,rw,dead s:1,other,/dev/nbd1,ro,dead" ] ||
	fail "client device list without a client: $(devices)"
[ "$(map sessname=s:1 device_path=disk)" = /dev/nbd0 ] || fail "mapped again as another"
is_list /dev/nbd0,disk,rw,8388608,mapped /dev/nbd1,other,ro,4194304,dead
unmap /dev/nbd1
unmap /dev/nbd0
clean

# --- somebody else disconnects it, and its number is another's of the session
map "${s[@]}" device_path=disk >/dev/null
nbd-client -d /dev/nbd0
[ "$(map sessname=s:1 device_path=other access_mode=ro)" = /dev/nbd0 ] || fail "not nbd0"
unmap nbd0
is_list /dev/nbd0,disk,rw,0,detached
[ ! -e "$RNBD_ROOT/sys/block/nbd0/pid" ] || fail "unmapped, and still connected"
unmap nbd0
clean

# --- somebody else takes the nbd device
map "${s[@]}" device_path=disk >/dev/null
nbd-client -d /dev/nbd0
echo 1 >"$RNBD_ROOT/sys/block/nbd0/pid"
is_list /dev/nbd0,disk,rw,0,detached
[ "$(map sessname=s:1 device_path=disk)" = /dev/nbd1 ] || fail "took what is another's"
unmap nbd1
[ "$(cat "$RNBD_ROOT/sys/block/nbd0/pid")" = 1 ] || fail "disconnected what is another's"
rm "$RNBD_ROOT/sys/block/nbd0/pid"
clean
stop "$pid_gw" || fail "the gateway ended with $?"
