#!/usr/bin/env bash
# qemu-io patterns: odd offsets and lengths, and requests of 32 MiB.
. "$(dirname "$0")/functions.sh"
requires qemu-io
truncate -s 160M "$tmp/disk"
start_pair "disk=file:$tmp/disk"

round() {
	qemu-io -f raw "$1" >"$tmp/out" 2>&1 <<-'EOF'
		write -P 0xa5 0 32M
		read -P 0xa5 0 32M
		write -P 0x11 33554431 3
		read -P 0xa5 33554000 431
		read -P 0x11 33554431 3
		write -P 0x22 4095 4098
		read -P 0xa5 0 4095
		read -P 0x22 4095 4098
		read -P 0xa5 8193 4000
		write -P 0x33 40000001 1000001
		read -P 0x33 40000001 1000001
		write -z 40000100 500
		read -P 0 40000100 500
		read -P 0x33 40000600 1000
		write -f -P 0x44 64M 32M
		read -P 0x44 64M 32M
		write -P 0x55 167772159 1
		read -P 0x55 167772159 1
		discard 64M 32M
		flush
		aio_write -P 0x66 100M 1M
		aio_write -P 0x77 101M 1M
		aio_write -P 0x88 102M 777
		aio_flush
		read -P 0x66 100M 1M
		read -P 0x77 101M 1M
		read -P 0x88 102M 777
	EOF
	if grep -Eiq 'fail|error|mismatch|differ' "$tmp/out"; then
		cat "$tmp/out"
		fail "qemu-io found a difference"
	fi
	[ "$(grep -c 'read .* bytes at offset' "$tmp/out")" -ge 13 ] || {
		cat "$tmp/out"
		fail "qemu-io did not read all it should"
	}
}
start_nbdkit n "${plugin_args[@]}"
round "nbd+unix:///?socket=$sock_n"
kill "$pid_n"
wait_gone "$pid_n"
start_nbdkit_tcp t "${plugin_args[@]}"
round "$uri_t"
