#!/usr/bin/env bash
# The NBD server behind the daemon is killed, comes back, stays away, or comes
# back with less: requests are held, sent again, or end with EIO, each once.
. "$(dirname "$0")/functions.sh"
requires nbdkit
requires qemu-nbd
requires fio

sock=$tmp/back.sock

# back ARGS...: the server, as an nbdkit in the background.
back() {
	rm -f "$tmp/back.pid" "$sock"
	nbdkit -U "$sock" -P "$tmp/back.pid" "$@" >>"$tmp/back.log" 2>&1
	until_true test -s "$tmp/back.pid"
}
unback() { # SIGNAL
	local pid
	pid=$(cat "$tmp/back.pid")
	rm "$tmp/back.pid"
	kill "-$1" "$pid"
	until_true gone "$pid"
}
gone() { ! kill -0 "$1" 2>/dev/null; }
lines() { grep -c "$1" "$tmp/gw.log" || :; }
more_lines() { [ "$(lines "$1")" -gt "$2" ]; }

truncate -s 64M "$tmp/disk.img"
back file "$tmp/disk.img"
start_gateway gw --export "disk=nbd+unix:///?socket=$sock" \
	--export "short=nbd+unix:///?socket=$sock,hold=4" \
	--export "none=nbd+unix:///?socket=$sock,hold=0" \
	--export "strict=nbd+unix:///?socket=$sock,lost-writes=fail" \
	--export "mute=nbd+unix:///?socket=$tmp/mute.sock,connect-timeout=300" \
	--control "$tmp/gw.sock"
ctl() { timeout 60 "$RNBD_CTL" --control "$tmp/gw.sock" "$@"; }

front() { # EXPORT
	plugin_args=("$RNBD_PLUGIN" "sessname=outage-$1-$$" "path=$path_gw"
		"device_path=$1")
	start_nbdkit "$1" "${plugin_args[@]}"
}

stop_front() { # PID, without clients
	kill "$1"
	wait_gone "$1"
}

# 1. Killed and restarted under verified load: no error, no difference.
front disk
hold "$uri_disk" # so that the device stays open
holder=${pids[-1]}
fio --name=v --ioengine=nbd --uri="$uri_disk" --rw=randrw --bs=4k \
	--iodepth=32 --size=64M --io_size=96M --fsync=64 --verify=crc32c \
	--verify_fatal=1 --verify_backlog=256 --rate_iops=3000,3000 >"$tmp/fio.log" 2>&1 &
fio=$!
pids+=("$fio")
rounds=0
until_true grep -q 'Starting 1 process' "$tmp/fio.log"
for signal in KILL TERM KILL TERM KILL; do
	back_before=$(lines 'back after')
	lost_before=$(lines ': lost: ')
	kill -0 $fio 2>/dev/null || break
	unback $signal
	until_true more_lines ': lost: ' "$lost_before"
	back file "$tmp/disk.img"
	until_true more_lines 'back after' "$back_before"
	rounds=$((rounds + 1))
done
wait $fio || fail "fio saw an error: $(tail -n 20 "$tmp/fio.log")"
[ $rounds -ge 3 ] || fail "the load ended after $rounds restarts"

kill "$holder"
stop_front "$pid_disk"
unback TERM

# 2. A request that is held is answered when the server is back; while it is
# away longer than the hold time, each gets EIO once, and then it works again.
back file "$tmp/disk.img"
front short
mkfifo "$tmp/in"
nbdsh -u "$uri_short" -c '
import os, subprocess, sys
h.pwrite(b"a" * 4096, 0)
h.flush()
print("ready", flush=True)
sys.stdin.readline()
ends = []
for i in range(8):
    h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b"b" * 4096)), 4096 * i,
                 lambda err, i=i: ends.append((i, err.value)) or 1)
while len(ends) < 8:
    h.poll(-1)
import errno
assert sorted(ends) == [(i, errno.EIO) for i in range(8)], ends
print("failed", flush=True)
sys.stdin.readline()
h.pwrite(b"c" * 4096, 0)
assert h.pread(4096, 0) == b"c" * 4096
print("works", flush=True)
' <"$tmp/in" >"$tmp/short.out" 2>"$tmp/short.log" &
client=$!
pids+=("$client")
exec 9>"$tmp/in"
wait_log "$tmp/short.out" ready
unback KILL
echo >&9
wait_log "$tmp/short.out" failed
wait_log "$tmp/gw.log" 'away for 4 s: [1-8] requests fail'
back file "$tmp/disk.img"
wait_log "$tmp/gw.log" 'back after [0-9]+ ms, with [0-9] connections; 0 requests'
echo >&9
wait $client || fail "after the outage: $(cat "$tmp/short.log")"
exec 9>&-
stop_front "$pid_short"

# 3. hold=0: an error at once.
front none
hold "$uri_none"
unback KILL
wait_log "$tmp/gw.log" 'requests are held for 0 s'
nbdsh -u "$uri_none" -c '
try:
    h.pread(4096, 0)
    raise SystemExit("read without a server")
except nbd.Error as e:
    assert e.errno == "EIO", e' || fail "hold=0"
kill "${pids[-1]}"
stop_front "$pid_none"

# 4. lost-writes=fail: the flush after writes that were acknowledged and not
# flushed fails, once; without such writes it does not.
back file "$tmp/disk.img"
front strict
mkfifo "$tmp/in4"
nbdsh -u "$uri_strict" -c '
import sys
def flush():
    try:
        h.flush()
        return True
    except nbd.Error as e:
        assert e.errno == "EIO", e
        return False
def restarted(word):
    print(word, flush=True)
    sys.stdin.readline()
h.pwrite(b"x" * 4096, 0)
restarted("dirty")
assert not flush()
assert flush()
h.pwrite(b"y" * 4096, 0)
assert flush()
restarted("clean")
assert flush()
h.pwrite(b"z" * 4096, 0, nbd.CMD_FLAG_FUA)
restarted("fua")
assert flush()
print("good", flush=True)
' <"$tmp/in4" >"$tmp/strict.out" 2>"$tmp/strict.log" &
client=$!
pids+=("$client")
exec 9>"$tmp/in4"
for word in dirty clean fua; do
	wait_log "$tmp/strict.out" $word
	n=$(lines 'back after')
	unback KILL
	back file "$tmp/disk.img"
	until_true more_lines 'back after' "$n"
	echo >&9
done
wait $client || fail "lost-writes=fail: $(cat "$tmp/strict.log")"
exec 9>&-
grep -q 'acknowledged 1 writes that were not flushed yet: .*so the next flush fails' \
	"$tmp/gw.log" || fail "lost writes were not logged"
stop_front "$pid_strict"

# 5. Back with less: EIO until it is opened again, in words.
less() { # WORDS NBDKIT-ARGS...
	local words=$1
	shift
	front disk
	hold "$uri_disk"
	unback KILL
	back "$@"
	wait_log "$tmp/gw.log" "it is back, but the export $words"
	nbdsh -u "$uri_disk" -c '
try:
    h.pwrite(b"1" * 4096, 0)
    raise SystemExit("written to something else")
except nbd.Error as e:
    assert e.errno == "EIO", e' || fail "$words"
	kill "${pids[-1]}"
	stop_front "$pid_disk"
	unback KILL
	back file "$tmp/disk.img"
	# Opened again it works.
	front disk
	nbdsh -u "$uri_disk" -c 'h.pwrite(b"1" * 4096, 0)' || fail "$words: again"
	stop_front "$pid_disk"
}
less 'has shrunk from 67108864 to 33554432 bytes' memory 32M
less 'is read-only now' -r file "$tmp/disk.img"
less 'has blocks of 4096 bytes now' --filter=blocksize-policy file \
	"$tmp/disk.img" blocksize-minimum=4096 blocksize-preferred=4096 \
	blocksize-maximum=32M

# 6. A look at a server that lets everybody in and says nothing keeps nobody
# waiting but who asked for it. It is under way until the daemon ends.
python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print("listens", flush=True)
here = []
while True:
    here.append(s.accept())
    print("asked", flush=True)
' "$tmp/mute.sock" >"$tmp/mute.out" &
pids+=($!)
wait_log "$tmp/mute.out" listens
ctl export resize mute >"$tmp/look.out" 2>&1 &
look=$!
pids+=("$look")
wait_log "$tmp/mute.out" asked
begin=$SECONDS
ctl status >"$tmp/status.out" || fail "no status during a look"
truncate -s 96M "$tmp/disk.img"
ctl export resize disk verbose >"$tmp/resize.out" ||
	fail "no other look during a look: $(cat "$tmp/resize.out")"
grep -q '96.0M' "$tmp/resize.out" ||
	fail "a look says: $(cat "$tmp/resize.out")"
[ $((SECONDS - begin)) -le 15 ] || fail "a look kept others waiting"
kill -0 $look || fail "the look has ended: $(cat "$tmp/look.out")"

# 7. The client leaves while its requests are held: nothing waits for the
# server, and the daemon ends, with the next client's requests held.
front disk
hold "$uri_disk"
n=$(lines ': lost: ')
unback KILL
until_true more_lines ': lost: ' "$n"
nbdsh -u "$uri_disk" -c '
import threading
for i in range(4):
    h.aio_pread(nbd.Buffer(4096), 0)
print("sent", flush=True)
threading.Event().wait()' >"$tmp/leaver.out" &
leaver=$!
pids+=("$leaver")
wait_log "$tmp/leaver.out" sent
n=$(lines "closed 'disk'")
begin=$SECONDS
kill -KILL "$pid_disk"
rm "$tmp/disk.pid"
until_true more_lines "closed 'disk'" "$n"
[ $((SECONDS - begin)) -le 15 ] || fail "a session that left was held, too"
kill $leaver "${pids[-2]}" 2>/dev/null || :

back file "$tmp/disk.img"
front disk
hold "$uri_disk"
n=$(lines ': lost: ')
unback KILL
until_true more_lines ': lost: ' "$n"
nbdsh -u "$uri_disk" -c '
import threading
for i in range(4):
    h.aio_pread(nbd.Buffer(4096), 0)
print("sent", flush=True)
threading.Event().wait()' >"$tmp/stay.out" &
pids+=($!)
wait_log "$tmp/stay.out" sent
begin=$SECONDS
stop "$pid_gw" || fail "the daemon ended with $?"
[ $((SECONDS - begin)) -le 15 ] ||
	fail "the daemon took $((SECONDS - begin)) s to end while requests were held"
! wait $look || fail "a look that was cancelled: $(cat "$tmp/look.out")"
kill -KILL "$pid_disk"
rm "$tmp/disk.pid"

# 8. The server hangs, with a write that it has, and the client is killed: the
# daemon waits for the server and lets nobody else write meanwhile, or the old
# write would be executed after newer ones. It is no worse than that.
pause() { # p or r
	python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode())
assert s.recv(1).decode() == sys.argv[2].upper()' "$tmp/pause.sock" "$1"
}
under_way() { [ "$(ctl session list csv noheaders inflights)" = "$1" ]; }
# hanging_write TEXT: sent to the daemon, and from there to the server.
hanging_write() {
	pause p
	rm -f "$tmp/writer.out"
	nbdsh -u "$uri_disk" -c "
import threading
h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b'$1' * 4096)), 0)
print('sent', flush=True)
threading.Event().wait()" >"$tmp/writer.out" &
	writer=$!
	pids+=("$writer")
	wait_log "$tmp/writer.out" sent
	until_true under_way 1
}
back --filter=pause file "$tmp/disk.img" "pause-control=$tmp/pause.sock"
start_gateway gw --export "disk=nbd+unix:///?socket=$sock" \
	--control "$tmp/gw.sock"
front disk
hanging_write 1
n=$(lines "closed 'disk'")
begin=$SECONDS
kill -KILL "$pid_disk" "$writer"
rm "$tmp/disk.pid"
wait_log "$tmp/gw.log" 'the end waits for 1 requests that it has'
while [ $((SECONDS - begin)) -le 7 ]; do
	# shellcheck disable=SC2016
	! run_nbdkit 'nbdsh -u "$uri" -c "h.pwrite(b\"2\" * 4096, 0)"' \
		"${plugin_args[@]}" connect-timeout=1 2>"$tmp/early.log" ||
		fail "written while the server still has an older write"
	grep -q "in use" "$tmp/early.log" ||
		fail "refused for another reason: $(cat "$tmp/early.log")"
done
ctl status >"$tmp/status.out" || fail "no status while the server hangs"
ctl export add other=null:1M || fail "no export is added while the server hangs"
ctl export remove other || fail "no export is removed while the server hangs"
ctl export remove disk || fail "the export cannot be removed"
[ $((SECONDS - begin)) -le 15 ] || fail "the server that hangs keeps others waiting"
[ "$(lines "closed 'disk'")" = "$n" ] || fail "the server was given up"
pause r
until_true more_lines "closed 'disk'" "$n"
cmp -n 4096 "$tmp/disk.img" <(head -c 4096 /dev/zero | tr '\0' 1) ||
	fail "the old write was not executed"
ctl export add "disk=nbd+unix:///?socket=$sock" >"$tmp/add.out"
front disk
nbdsh -u "$uri_disk" -c 'h.pwrite(b"2" * 4096, 0)' || fail "after the wait"
hanging_write 3
kill "$pid_gw"
wait_log "$tmp/gw.log" 'server closes, 1 requests are not answered yet'
kill -0 "$pid_gw" || fail "the daemon did not wait for the server"
pause r
wait "$pid_gw" || fail "the daemon ended with $?"
cmp -n 4096 "$tmp/disk.img" <(head -c 4096 /dev/zero | tr '\0' 3) ||
	fail "the last write was not executed"
kill -KILL "$pid_disk" "$writer"
rm "$tmp/disk.pid"
