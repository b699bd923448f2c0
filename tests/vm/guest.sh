#!/usr/bin/env bash
# Process 1 of a guest, run by init in the root of the machine: sets up network
# and soft-RoCE, runs the scenario, and says its exit status on the console.
# /run/vm is a directory on the host, shared by all guests of this run.
set -u
PATH=/usr/sbin:/usr/bin:/sbin:/bin

exec </dev/null >/dev/ttyS1 2>&1
stty -F /dev/ttyS1 raw -echo

# Ends the guest at once. stty returns when everything is transmitted.
end() {
	stty -F /dev/ttyS1 raw
	: >"/run/vm/ended.$VM_ROLE"
	echo "rnbd-vm: exit=$1" >/dev/kmsg
	echo b >/proc/sysrq-trigger
	sleep 60
}

die() {
	echo "guest.sh: $*"
	end 99
}

# The host's orders: variables of run.sh's.
# shellcheck source=/dev/null
. /run/vm/env
VM_ROLE=$(sed -n 's/.*rnbd_vm_role=\([ab]\).*/\1/p' /proc/cmdline)
export VM_ROLE

mkdir -p /dev/pts /dev/shm /run/lock /run/tmp
chmod 1777 /dev/shm /run/lock /run/tmp
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
export TMPDIR=/run/tmp HOME=/run/tmp LC_ALL=C.UTF-8 TERM=${TERM:-dumb}
ulimit -l unlimited
ulimit -n 65536
ulimit -c 0

release=$(uname -r)
mkdir -p "/lib/modules/$release"
mount --bind "$VM_KERNEL/modules/lib/modules/$release" "/lib/modules/$release" ||
	die "cannot see the modules in $VM_KERNEL"

hostname "guest-$VM_ROLE"
ip link set lo up
if [ "$VM_ROLE" = a ]; then own=1 peer=2; else own=2 peer=1; fi
[ "$VM_GUESTS" = 2 ] || peer=$own
modprobe -a virtio_net crc32_generic ib_uverbs rdma_ucm rdma_rxe ||
	die "cannot load the modules of soft-RoCE"
for ((i = 0; i < VM_NICS; i++)); do
	net=$((71 + i))
	echo 1 >"/proc/sys/net/ipv6/conf/eth$i/keep_addr_on_down"
	echo 0 >"/proc/sys/net/ipv6/conf/eth$i/accept_dad"
	ip link set "eth$i" mtu "$VM_MTU" &&
		ip addr add "192.168.$net.$own/24" dev "eth$i" &&
		ip -6 addr add "fd$net::$own/64" dev "eth$i" nodad &&
		ip link set "eth$i" up || die "cannot set up eth$i"
	rdma link add "rxe$i" type rxe netdev "eth$i" || die "no rxe$i"
	export "VM_ADDR$i=192.168.$net.$own" "VM_PEER$i=192.168.$net.$peer"
	export "VM_ADDR6_$i=fd$net::$own" "VM_PEER6_$i=fd$net::$peer"
done

echo "rnbd-vm: ready" >/dev/kmsg
if [ -n "$VM_SHELL" ] && [ "$VM_ROLE" = b ]; then
	# At hand for the shell in guest a.
	until [ -e /run/vm/ended.a ]; do sleep 1; done
	end 0
elif [ -n "$VM_SHELL" ]; then
	echo "guest $VM_ROLE, Linux $release; the scenario: bash -e $VM_SCENARIO"
	stty -F /dev/ttyS1 sane
	cd "$RNBD_SRCDIR" || :
	setsid -c bash -i </dev/ttyS1 >/dev/ttyS1 2>&1
	end 0
fi

# Without the end, so that a scenario's leftovers cannot keep the output.
timeout -k 10 "$VM_TIME" bash -e "$VM_SCENARIO"
rc=$?
if [ $rc = 124 ] || [ $rc = 137 ]; then
	echo "$VM_SCENARIO: not done after $VM_TIME s"
	echo "rnbd-vm: blocked tasks:" >/dev/kmsg
	echo w >/proc/sysrq-trigger
fi
end $rc
