#!/usr/bin/env bash
# A thousand connections bring garbage to the daemon's port while a verified
# load runs: it does not notice.
. "$(dirname "$0")/functions.sh"
requires fio
truncate -s 64M "$tmp/disk"
start_pair "disk=file:$tmp/disk"
start_nbdkit n "${plugin_args[@]}"
fio --name=v --ioengine=nbd --uri="$uri_n" --rw=randrw --bsrange=512-128k \
	--iodepth=16 --size=64m --verify=crc32c --verify_fatal=1 --do_verify=1 \
	--verify_backlog=512 --loops=3 --minimal >"$tmp/fio.log" 2>&1 &
fio=$!
pids+=("$fio")
python3 - "${path_gw##*:}" <<'EOF'
import random, socket, sys
port = int(sys.argv[1])
r = random.Random(3)
held = []
for i in range(1000):
    s = socket.create_connection(("127.0.0.1", port), timeout=20)
    kind = i % 5
    try:
        if kind == 0:
            s.sendall(r.randbytes(r.randrange(1, 4000)))
        elif kind == 1:
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        elif kind == 2:
            s.sendall(b"\0" * 300)
        elif kind == 3:
            pass  # says nothing and stays
        else:
            s.sendall(b"\xff" * 3)
    except OSError:
        pass
    held.append(s)
    if len(held) > 300:
        held.pop(0).close()
for s in held:
    s.close()
EOF
wait "$fio" || fail "the load saw an error"
# And it still takes new sessions.
args=("$RNBD_PLUGIN" sessname=after "path=$path_gw" device_path=disk access_mode=ro)
# shellcheck disable=SC2016
run_nbdkit 'nbdinfo "$uri" >/dev/null' "${args[@]}"
stop "$pid_gw" || fail "the gateway ended with $?"
