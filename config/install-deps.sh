#!/usr/bin/env bash
# Installs the Debian packages that a job needs, and only those that are
# missing: a second run asks the network for nothing.
#
#   config/install-deps.sh [run|test|vm]...
#
# run:  to build the two programs and run the quick start
# test: what the test suites need besides
# vm:   what the tests in guests (tests/vm) need besides
set -euo pipefail

run_packages=(
	gcc libc6-dev meson ninja-build pkg-config perl
	libevent-dev liburing-dev libjansson-dev libinih-dev uthash-dev
	libseccomp-dev libsystemd-dev
	nbdkit nbdkit-plugin-dev libnbd-bin libnbd-dev
	librdmacm-dev libibverbs-dev ibverbs-providers
	e2fsprogs
)
test_packages=(
	check libsubunit-dev clang libclang-rt-14-dev python3 python3-libnbd
	python3-prometheus-client curl
	qemu-utils qemu-system-x86 nbd-server gnutls-bin fio strace iproute2 procps man-db shellcheck
	systemd valgrind gcovr
)
vm_packages=(
	busybox-static kmod cpio xz-utils make libelf1 libssl3
	rdma-core ibverbs-utils rdmacm-utils nbd-client fdisk gdisk dmsetup
	xfsprogs grub-pc-bin wireguard-tools
)

packages=("${run_packages[@]}")
for set in "$@"; do
	case $set in
	run) ;;
	test) packages+=("${test_packages[@]}") ;;
	vm) packages+=("${vm_packages[@]}") ;;
	-h | --help)
		sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
		exit 0
		;;
	*)
		echo "install-deps.sh: unknown set '$set': use run, test or vm" >&2
		exit 2
		;;
	esac
done

missing=()
for p in "${packages[@]}"; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || :)
	[ "$status" = installed ] || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "install-deps.sh: these packages are missing and installing" \
			"them needs root or sudo: ${missing[*]}" >&2
		exit 1
	fi
	as_root=(sudo)
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! {
	"${as_root[@]}" apt-get -q update &&
		"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
			apt-get -qy install --no-install-recommends "${missing[@]}"
} >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	echo "install-deps.sh: apt-get failed; its last lines are above" >&2
	exit 1
fi
