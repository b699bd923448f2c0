#!/usr/bin/env bash
# Storage that misbehaves: a file that shrinks while open, a full disk, EIO.
# Each is an error of that request, with its own errno; the daemon goes on.
. "$(dirname "$0")/functions.sh"
requires nbdsh

# A file that shrinks.
random_file disk 8
start_pair "disk=file:$tmp/disk"
start_nbdkit n "${plugin_args[@]}"
nbdsh -u "$uri_n" -c "disk = '$tmp/disk'" -c - <<'EOF'
import os
assert len(h.pread(4096, 0)) == 4096
os.truncate(disk, 4 << 20)
try:
    h.pread(4096, 6 << 20)
    raise SystemExit("read beyond the end of a shrunk file")
except nbd.Error as e:
    assert e.errno == "EIO", e
assert len(h.pread(4096, 0)) == 4096
EOF
kill "$pid_n"
wait_gone "$pid_n"
stop "$pid_gw"

# A full disk.
if mkdir "$tmp/small" && mount -t tmpfs -o size=2m none "$tmp/small" 2>/dev/null; then
	unmount() {
		umount -l "$tmp/small"
	}
	at_exit+=(unmount)
	truncate -s 8M "$tmp/small/disk"
	start_pair "disk=file:$tmp/small/disk"
	start_nbdkit n "${plugin_args[@]}"
	nbdsh -u "$uri_n" -c - <<-'EOF'
		import errno
		h.pwrite(b"a" * 65536, 0)
		try:
		    for i in range(1, 7):
		        h.pwrite(b"b" * (1 << 20), i << 20)
		    raise SystemExit("6 MiB fit on a disk of 2 MiB")
		except nbd.Error as e:
		    assert e.errno == "ENOSPC", e
		assert h.pread(65536, 0) == b"a" * 65536
		h.trim(7 << 20, 1 << 20)
		h.pwrite(b"c" * 65536, 1 << 20)
		assert h.pread(65536, 1 << 20) == b"c" * 65536
	EOF
	kill "$pid_n"
	wait_gone "$pid_n"
	stop "$pid_gw" || fail "the gateway ended with $?"
else
	fail "cannot mount a small tmpfs: run as root"
fi

# EIO from the disk, at a place of our choice.
[ "${RNBD_SANITIZER:-}" = "" ] || exit 0 # the preload shim and ASan collide
random_file disk 8
mkfifo "$tmp/fifo"
LD_PRELOAD=${RNBD_EIO_SHIM:?} EIO_FROM=$((4 << 20)) EIO_TO=$((5 << 20)) \
	"$RNBD_GATEWAYD" --foreground --no-io-uring --listen tcp:127.0.0.1:0 \
	--export "disk=file:$tmp/disk" >"$tmp/fifo" 2>"$tmp/gw.log" &
pids+=($!)
read -r -t 60 line <"$tmp/fifo"
start_nbdkit n "$RNBD_PLUGIN" sessname=eio "path=${line#listening on }" device_path=disk
nbdsh -u "$uri_n" -c - <<'EOF'
assert len(h.pread(4096, 0)) == 4096
for f in (lambda: h.pread(4096, 4 << 20), lambda: h.pwrite(b"x" * 4096, 4 << 20),
          lambda: h.pread(2 << 20, 3 << 20)):
    try:
        f()
        raise SystemExit("an I/O error was swallowed")
    except nbd.Error as e:
        assert e.errno == "EIO", e
assert len(h.pread(4096, 5 << 20)) == 4096
EOF
