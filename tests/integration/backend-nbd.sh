#!/usr/bin/env bash
# NBD servers behind the daemon: NBD client -> plugin -> daemon -> NBD server.
# What each of them can and says arrives at the far end, and so do data.
# shellcheck disable=SC2016 # $uri is expanded by nbdkit --run
. "$(dirname "$0")/functions.sh"
requires nbdkit
requires qemu-nbd
requires qemu-io
requires nbdcopy
requires nbd-server
requires psktool
requires certtool

# serve NAME ARGS...: an nbdkit behind the daemon. Sets back_NAME.
serve() {
	local name=$1
	shift
	rm -f "$tmp/$name.sock" "$tmp/$name.pid"
	nbdkit -U "$tmp/$name.sock" -P "$tmp/$name.pid" "$@" \
		>>"$tmp/$name.log" 2>&1
	until_true test -s "$tmp/$name.pid"
	declare -g "back_$name=nbd+unix:///?socket=$tmp/$name.sock"
}

# front EXPORT: arguments of the plugin for that export of the one daemon.
front() {
	plugin_args=("$RNBD_PLUGIN" "sessname=backend-nbd-$1-$$" "path=$path_gw"
		"device_path=$1" "access_mode=${mode:-rw}")
}

# through EXPORT COMMAND: an NBD client of the plugin; $uri is its URI.
through() {
	front "$1"
	run_nbdkit "$2" "${plugin_args[@]}"
}

random_file data 24
truncate -s 48M "$tmp/file.img" "$tmp/slow.img"
serve file file "$tmp/file.img"
serve memory memory 48M
serve data data data='1 2 3 @0x100000 4*4096' size=4M
serve fullsize --filter=blocksize-policy memory 32M blocksize-minimum=4096 \
	blocksize-preferred=64K blocksize-maximum=64K blocksize-error-policy=error
serve noext --filter=noextents --filter=nozero memory 32M
serve slow --filter=delay file "$tmp/slow.img" delay-read=2ms delay-write=2ms
serve single --filter=multi-conn memory 32M multi-conn-mode=disable
serve nofua --filter=fua memory 32M
serve odd memory 1000001
serve big --filter=blocksize-policy memory 32M blocksize-minimum=8192 \
	blocksize-preferred=8192 blocksize-maximum=64K
serve tiny memory 100
serve ro -r memory 4M
serve full full 4M
serve bad --filter=error memory 32M error-pread=EIO error-pread-rate=100% \
	error-pwrite=ENOSPC error-pwrite-rate=100% "error-file=$tmp/bad"

qemu-img create -q -f qcow2 "$tmp/q.qcow2" 64M
qemu-nbd --persistent --shared=4 -f qcow2 --discard=unmap \
	-k "$tmp/qcow2.sock" --pid-file="$tmp/qcow2.pid" "$tmp/q.qcow2" \
	>"$tmp/qcow2.log" 2>&1 &
pids+=($!)
until_true test -S "$tmp/qcow2.sock"

head -c 32M /dev/zero >"$tmp/srv.img"
port=$(free_port)
printf '[generic]\nlistenaddr = 127.0.0.1\nport = %s\n[exp]\nexportname = %s\nflush = true\nfua = true\ntrim = true\n' \
	"$port" "$tmp/srv.img" >"$tmp/srv.conf"
nbd-server -C "$tmp/srv.conf" -p "$tmp/nbd-server.pid" 2>"$tmp/nbd-server.log"
until_true nbdinfo --size "nbd://127.0.0.1:$port/exp" >/dev/null 2>&1

# TLS, by pre-shared key and by certificates.
psktool -u alice -p "$tmp/keys.psk" >/dev/null 2>&1
mkdir "$tmp/pki"
(
	cd "$tmp/pki" || exit
	printf 'cn = ca\nca\ncert_signing_key\n' >ca.info
	printf 'cn = localhost\ndns_name = localhost\nip_address = 127.0.0.1\ntls_www_server\nencryption_key\nsigning_key\n' >server.info
	certtool --generate-privkey --outfile ca-key.pem
	certtool --generate-self-signed --load-privkey ca-key.pem --template ca.info --outfile ca-cert.pem
	certtool --generate-privkey --outfile server-key.pem
	certtool --generate-certificate --load-ca-certificate ca-cert.pem \
		--load-ca-privkey ca-key.pem --load-privkey server-key.pem \
		--template server.info --outfile server-cert.pem
) >/dev/null 2>&1
mkdir "$tmp/ca-only"
cp "$tmp/pki/ca-cert.pem" "$tmp/ca-only/"
serve psk --tls=require --tls-psk="$tmp/keys.psk" memory 16M
tls_port=$(free_port)
nbdkit -i 127.0.0.1 -p "$tls_port" -P "$tmp/cert.pid" --tls=require \
	--tls-certificates="$tmp/pki" memory 16M >>"$tmp/cert.log" 2>&1
until_true test -s "$tmp/cert.pid"

start_gateway gw --workers 2 \
	--export "file=$back_file" --export "memory=$back_memory,connections=2" \
	--export "data=$back_data,ro" --export "limits=$back_fullsize" \
	--export "noext=$back_noext" --export "slow=$back_slow,connections=1" \
	--export "single=$back_single" --export "nofua=$back_nofua" \
	--export "odd=$back_odd" --export "big=$back_big" \
	--export "tiny=$back_tiny" --export "rosrv=$back_ro" \
	--export "full=$back_full" --export "bad=$back_bad" \
	--export "twice=$back_file" \
	--export "qcow2=nbd+unix:///?socket=$tmp/qcow2.sock" \
	--export "srv=nbd://127.0.0.1:$port/exp" \
	--export "srvno=nbd://127.0.0.1:$port/nope" \
	--export "psk=nbds+unix://alice@/?socket=$tmp/psk.sock&tls-psk-file=$tmp/keys.psk" \
	--export "cert=nbds://localhost:$tls_port/?tls-certificates=$tmp/ca-only" \
	--export "plain=nbd+unix:///?socket=$tmp/psk.sock" \
	--export "absent=nbd+unix:///?socket=$tmp/absent.sock" \
	--export "refused=nbd://127.0.0.1:1/x"

# Data there and back, through each kind of server.
for e in file memory limits noext slow single nofua qcow2 srv; do
	through $e "nbdcopy $tmp/data \$uri && nbdcopy \$uri - 2>/dev/null | head -c 24M | cmp - $tmp/data" ||
		fail "$e: data differ"
	through $e "qemu-io -f raw -c 'write -P 9 0 1M' -c 'write -f -P 10 1M 64k' \
		-c flush -c 'discard 2M 1M' -c 'write -z 4M 1M' -c 'write -z -u 5M 1M' \
		-c 'read -P 9 0 1M' -c 'read -P 10 1M 64k' -c 'read -P 0 4M 2M' \$uri" \
		>"$tmp/qemu-io.out" || fail "$e: qemu-io: $(cat "$tmp/qemu-io.out")"
	! grep -i fail "$tmp/qemu-io.out" || fail "$e: qemu-io found a difference"
done
# What was written lies where the server keeps it.
cmp -s -n 1048576 "$tmp/file.img" <(head -c 1M /dev/zero | tr '\0' '\11') ||
	fail "the server's file has other bytes"
for e in psk cert; do
	through $e "qemu-io -f raw -c 'write -P 5 0 8M' -c 'read -P 5 0 8M' -c flush \$uri" |
		grep -q 'read 8388608' || fail "$e: no data by TLS"
done

# Many small requests at random places, checked.
for e in memory limits psk; do
	through $e "fio --name=v --ioengine=nbd --uri=\$uri --rw=randrw --bsrange=4k-128k --blockalign=4k \
		--iodepth=32 --size=12M --verify=crc32c --verify_fatal=1" >"$tmp/fio.out" 2>&1 ||
		fail "$e: fio: $(cat "$tmp/fio.out")"
done

# What clients are told.
expect() { # EXPORT FIELD VALUE
	local got
	got=$(through "$1" 'nbdinfo --json $uri' | python3 -c '
import json, sys
print(json.load(sys.stdin)["exports"][0]["'"$2"'"])')
	[ "$got" = "$3" ] || fail "$1: $2 is $got, and not $3"
}
expect limits block_size_preferred 32768
expect memory block_size_preferred 4096
expect odd export-size 999936
expect memory is_read_only False
mode=ro expect data is_read_only True
expect memory can_trim True
expect noext export-size 33554432

# Errors are those of the server.
through full "! qemu-io -f raw -c 'write 0 64k' \$uri" 2>&1 |
	grep -q 'No space left' || fail "ENOSPC is lost on the way"
touch "$tmp/bad"
through bad "nbdsh -u \$uri -c '
import os
def errno_of(fn, *args):
    try:
        fn(*args)
    except nbd.Error as e:
        return e.errno
assert errno_of(h.pread, 4096, 0) == \"EIO\"
assert errno_of(h.pwrite, b\"x\" * 4096, 0) == \"ENOSPC\"
os.unlink(\"$tmp/bad\")
h.pwrite(b\"x\" * 4096, 0)
assert h.pread(4096, 0) == b\"x\" * 4096'" || fail "errors are not passed on as they are"
mode=ro through data "nbdsh -u \$uri -c '
assert h.pread(3, 0) == b\"\\1\\2\\3\"
assert h.pread(4096, 0x100000) == b\"\\4\" * 4096'" || fail "data differ"

# What cannot be opened, and why.
refused() { # EXPORT WORDS
	local err
	front "$1"
	err=$(run_nbdkit 'nbdinfo $uri' "${plugin_args[@]}" 2>&1) &&
		fail "$1 was opened"
	grep -q "$2" <<<"$err" || fail "$1: no word of '$2': $err"
}
refused absent 'absent.sock: connect: No such file'
refused refused '127.0.0.1:1: .*Connection refused'
refused plain 'NBD server .*psk.sock: '
refused srvno '127.0.0.1:'
refused big 'blocks have 8192 bytes'
refused tiny '100 bytes, less than a block'
refused rosrv 'is read-only: open it with access_mode=ro'

# A server that accepts and says nothing is given up in time.
python3 - "$tmp/mute.sock" <<-'EOP' &
	import socket, sys, threading
	s = socket.socket(socket.AF_UNIX)
	s.bind(sys.argv[1])
	s.listen()
	conns = []
	while True:
	    conns.append(s.accept())
EOP
pids+=($!)
until_true test -S "$tmp/mute.sock"
start_gateway mute --export "mute=nbd+unix:///?socket=$tmp/mute.sock,connect-timeout=1"
path_gw=$path_mute refused mute 'no answer within 1 s'

# Two names of one export are one: one writer.
start_nbdkit one "$RNBD_PLUGIN" "sessname=one-$$" "path=$path_gw" device_path=file
hold "$uri_one"
refused twice 'busy'
