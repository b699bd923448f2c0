#!/usr/bin/env bash
# vm: where=host kernels=6.1 time=400
# qemu boots from a disk of the gateway, writes on through restarts, data equal.
# Loader, kernel and root are on that disk; daemon and nbdkit are restarted.
set -euo pipefail
: "${RNBD_SRCDIR:?}" "${RNBD_BUILD:?}" "${VM_RELEASE:?}"
export RNBD_GATEWAYD=$RNBD_BUILD/gateway/rnbd-gatewayd \
	RNBD_CTL=$RNBD_BUILD/gateway/rnbdctl \
	RNBD_PLUGIN=$RNBD_BUILD/nbdkit-plugin/nbdkit-rnbd-plugin.so
. "$RNBD_SRCDIR/tests/integration/functions.sh"
for p in qemu-system-x86_64 qemu-img grub-mkimage sfdisk mke2fs debugfs; do
	requires $p
done

# An emulated machine takes its time.
until_true() {
	local end=$((SECONDS + 180))
	until "$@"; do
		[ $SECONDS -lt $end ] || fail "waited in vain: $*"
		sleep 0.02
	done
}

say() {
	echo "[$SECONDS s] $*"
}

"$RNBD_SRCDIR/tests/vm/boot-image.sh" "$tmp/image" \
	"$("$RNBD_SRCDIR/tests/vm/kernel.sh" "$VM_RELEASE")"
gateway_listen=tcp:127.0.0.1:$(free_port)
gateway_up() {
	start_gateway gw --export "disk=$tmp/disk,create=64M"
}
nbdkit_up() {
	start_nbdkit n "$RNBD_PLUGIN" sessname=boot "path=$path_gw" \
		device_path=disk reconnect-delay=0.1
}
gateway_up
nbdkit_up
qemu-img convert -n -f raw -O raw "$tmp/image" "$uri_n"

# boot ARGUMENT...: a machine with that disk; its console is console.log.
boot() {
	rm -f "$tmp/keys"
	mkfifo "$tmp/keys"
	: >"$tmp/console.log"
	setpriv --pdeathsig KILL qemu-system-x86_64 -machine pc -cpu Nehalem \
		-accel tcg -smp 1 -m 256 -nodefaults -no-user-config \
		-display none -no-reboot -serial stdio "$@" \
		<>"$tmp/keys" >>"$tmp/console.log" 2>&1 &
	qemu=$!
	pids+=("$qemu")
}

# wrote N: so many rounds of it more, from now on.
rounds() {
	grep -c '^guest: round' "$tmp/console.log" || :
}
moved_on() {
	[ "$(rounds)" -ge "$1" ] || ! kill -0 "$qemu" 2>/dev/null
}
wrote() {
	until_true moved_on $(($(rounds) + $1))
	kill -0 "$qemu" 2>/dev/null || fail "the machine ended early"
}

# shut: the machine is told to, and its last words are that all was well.
shut() {
	echo stop >"$tmp/keys"
	wait "$qemu" || fail "QEMU ended with $?"
	grep -q '^guest: done after' "$tmp/console.log" ||
		fail "the machine did not end well"
}

boot -drive "file=nbd:unix:$sock_n,format=raw,if=virtio"
wrote 1
shut
say "booted by -drive, wrote $(rounds) MiB"

boot -blockdev "driver=raw,node-name=disk0,discard=unmap,file.driver=nbd,file.server.type=unix,file.server.path=$sock_n,file.reconnect-delay=60" \
	-device virtio-blk-pci,drive=disk0
wrote 2
for signal in TERM KILL; do
	stop "$pid_gw" $signal || [ $signal = KILL ] ||
		fail "the daemon ended with $?"
	gateway_up
	wrote 2
	say "daemon restarted after SIG$signal"
done
kill -KILL "$pid_n"
wait_gone "$pid_n"
nbdkit_up
wrote 2
say "nbdkit restarted after SIGKILL"
shut
say "booted by -blockdev, wrote $(rounds) MiB"

# On the disk itself, without any of the programs: a clean file system, and the
# sums that the machine took of its files are those of the files.
kill "$pid_n"
wait_gone "$pid_n"
stop "$pid_gw" || fail "the daemon ended with $?"
dd if="$tmp/disk" of="$tmp/root" bs=1M skip=1 status=none
e2fsck -fn "$tmp/root" >"$tmp/fsck.log" 2>&1 || fail "the file system is damaged"
debugfs -R "rdump /data $tmp" "$tmp/root" >"$tmp/debugfs.log" 2>&1
(cd "$tmp/data" && sha256sum --quiet -c sums) || fail "the files have other sums"
say "file system clean, $(wc -l <"$tmp/data/sums") files as the machine wrote them"
