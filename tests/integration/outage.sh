#!/usr/bin/env bash
# A server that is silent, or not there yet, holds nothing up but its I/O.
. "$(dirname "$0")/functions.sh"
requires nbdsh
truncate -s 16M "$tmp/disk"

# Requests are out and will not be answered; nbdkit ends all the same.
start_pair "disk=file:$tmp/disk"
start_nbdkit n "${plugin_args[@]}"
nbdsh -c "$(cat <<-EOF
	h.connect_uri("$uri_n")
	h.pwrite(b"a" * 4096, 0)
	open("$tmp/connected", "w").write("x")
	input()
	errors = []
	buf = nbd.Buffer.from_bytearray(bytearray(65536))
	def done(err):
	    errors.append(err.value)
	    return 1
	for i in range(8):
	    h.aio_pwrite(buf, i * 65536, done)
	for i in range(8):
	    h.aio_pread(buf, i * 65536, done)
	open("$tmp/submitted", "w").write("x")
	try:
	    while len(errors) < 16:
	        h.poll(-1)
	except nbd.Error:
	    pass
	assert not any(e == 0 for e in errors), errors
EOF
)" < <(until_true test -s "$tmp/frozen" && echo) &
client=$!
pids+=("$client")
until_true test -s "$tmp/connected"
kill -STOP "$pid_gw"
echo x >"$tmp/frozen"
until_true test -s "$tmp/submitted"
kill "$pid_n"
timeout 10 tail --pid="$pid_n" -f /dev/null ||
	fail "nbdkit waits for a silent server"
wait "$client" || fail "silent: the NBD client failed"
kill -CONT "$pid_gw"

# The server comes after nbdkit; the first NBD client finds it.
port=$(free_port)
"${san_env[@]}" nbdkit -f -v -U "$tmp/late.sock" "$RNBD_PLUGIN" sessname=late \
	"path=tcp:127.0.0.1:$port" device_path=disk preflight=no \
	>"$tmp/late.log" 2>&1 &
pids+=($!)
wait_log "$tmp/late.log" "connection refused"
gateway_listen=tcp:127.0.0.1:$port
start_gateway late_gw --export "disk=file:$tmp/disk"
unset gateway_listen
until_true test -S "$tmp/late.sock"
nbdsh -u "nbd+unix:///?socket=$tmp/late.sock" -c 'h.pread(512, 0)' ||
	fail "the first client does not find a server that is there"

# What the operation cannot do is done by writing, and nothing is wrong then.
"${san_env[@]}" nbdkit -f -U "$tmp/zero.sock" "$RNBD_PLUGIN" sessname=zero \
	"path=tcp:127.0.0.1:$port" device_path=disk access_mode=migration \
	zero=write >"$tmp/zero.log" 2>&1 &
pids+=($!)
until_true test -S "$tmp/zero.sock"
nbdsh -u "nbd+unix:///?socket=$tmp/zero.sock" -c - <<-'EOF'
	h.pwrite(b"x" * 131072, 0)
	h.zero(65536, 1000)
	assert h.pread(131072, 0) == b"x" * 1000 + bytes(65536) + b"x" * (130072 - 65536)
	try:
	    h.zero(65536, 0, nbd.CMD_FLAG_FAST_ZERO)
	    assert False
	except nbd.Error as e:
	    assert e.errno == "ENOTSUP" or e.errno == "EOPNOTSUPP", e.errno
EOF
if grep -v WARNING "$tmp/zero.log"; then
	fail "zero=write logs errors"
fi
