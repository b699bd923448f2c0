#!/usr/bin/env bash
# Fetches a kernel of Debian's, builds its rtrs and rnbd modules, which Debian
# ships as source only, and prints the directory that then holds
#
#   vmlinuz  initrd  release  modules/lib/modules/RELEASE/  tsc-khz
#
#   tests/vm/kernel.sh 6.1|6.12
#
# Nothing is installed and root is not needed. The directory is kept in
# ${RNBD_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rnbd-vm}; remove it to get
# the release of today.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
cache=${RNBD_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rnbd-vm}
layout=1 # of a cached kernel; another number makes everybody build anew
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

die() {
	echo "kernel.sh: $*" >&2
	exit 1
}

case ${1:-} in
6.1) meta=linux-image-amd64 ;;
6.12) meta=linux-image-6.12-amd64 ;;
*)
	echo "usage: kernel.sh 6.1|6.12" >&2
	exit 2
	;;
esac
series=$1
entry=$cache/$series.$layout

mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] ||
	die "cannot write to $cache: set RNBD_VM_CACHE to a directory with 2 GB for two kernels"

# The packages are several releases apart in a pool that drops the superseded
# ones: only the meta package knows the names of today.
resolve() {
	image=$(apt-cache depends "$meta" 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	[ -n "$image" ] || return 1
	release=${image#linux-image-}
	version=$(apt-cache policy "$image" | sed -n 's/^ *Candidate: //p')
	headers=linux-headers-$release
	local depends
	depends=$(apt-cache depends "$headers" | sed -n 's/^[ |]*Depends: //p')
	common=$(grep -- '-common$' <<<"$depends") || return 1
	kbuild=$(grep '^linux-kbuild-' <<<"$depends") || return 1
	[ -n "$version" ] && [ "$version" != "(none)" ]
}

download() {
	local p wanted=()
	for p in "$image" "$headers" "$common" "$kbuild" "linux-source-$series"; do
		wanted+=("$p=$version")
	done
	mkdir -p debs
	(cd debs && apt-get -q -o APT::Sandbox::User=root download "${wanted[@]}") \
		>download.log 2>&1
}

# Lists that were never fetched, or are of last month: root can help that.
fetch() {
	if resolve && download; then
		return
	fi
	if [ "$(id -u)" = 0 ]; then
		apt-get -q update >/dev/null 2>&1 || :
	fi
	resolve || die "apt knows no kernel $series ($meta): run apt-get update," \
		"with bookworm and bookworm-security in sources.list"
	download || {
		tail -n 5 download.log >&2
		die "cannot download the packages of $image $version (above):" \
			"run apt-get update, and see that 1 GB is free in $cache"
	}
}

unpack() {
	local p
	for p in "$image" "$headers" "$common" "$kbuild"; do
		dpkg-deb -x "debs/${p}_"*.deb x
	done
	# The one absolute path in there.
	sed -i "s|/usr/src/|$PWD/x/usr/src/|" \
		"x/usr/src/linux-headers-$release/Makefile"
	mkdir src
	dpkg-deb --fsys-tarfile "debs/linux-source-${series}_"*.deb |
		tar -xO "./usr/src/linux-source-$series.tar.xz" | xz -dc -T2 |
		tar -x -C src --strip-components=1 \
			"linux-source-$series/drivers/infiniband/ulp/rtrs" \
			"linux-source-$series/drivers/block/rnbd"
	rm -r debs
}

build() {
	local src=$PWD/src
	echo 'obj-m += drivers/infiniband/ulp/rtrs/ drivers/block/rnbd/' >"$src/Kbuild"
	# Without debug information for BTF, which would need pahole.
	make -C "x/usr/src/linux-headers-$release" "M=$src" -j2 \
		CONFIG_INFINIBAND_RTRS=m CONFIG_INFINIBAND_RTRS_CLIENT=m \
		CONFIG_INFINIBAND_RTRS_SERVER=m CONFIG_BLK_DEV_RNBD=y \
		CONFIG_BLK_DEV_RNBD_CLIENT=m CONFIG_BLK_DEV_RNBD_SERVER=m \
		CONFIG_DEBUG_INFO_BTF_MODULES= \
		"KCFLAGS=-I$src/drivers/infiniband/ulp/rtrs" modules >make.log 2>&1 || {
		tail -n 20 make.log >&2
		die "the modules of $release do not build (above)"
	}
}

# The image's modules without those of hardware that no guest has, unpacked:
# decompressing in an emulated guest is slow.
assemble() {
	local from=x/lib/modules/$release to=modules/lib/modules/$release
	[ -d "$from" ] || from=x/usr/lib/modules/$release
	rm -rf "$from"/kernel/{sound,drivers/{gpu,media,usb,staging,iio,input,hwmon,bluetooth,isdn,net/wireless,platform}}
	mkdir -p modules/lib/modules
	mv "$from" "$to"
	find "$to" -name '*.ko.xz' -print0 | xargs -0r -P2 -n 100 xz -d
	mkdir "$to/extra"
	find src -name '*.ko' -exec cp -t "$to/extra" {} +
	strip -g "$to"/extra/*.ko
	depmod -b modules "$release"
	cp "x/boot/vmlinuz-$release" vmlinuz
	echo "$release" >release
	rm -rf x src
}

# What the guest needs to mount the machine's root: a shell, our init, and the
# modules in the order of their loading.
initrd() {
	local m path done=" "
	rm -rf initrd.d
	mkdir -p initrd.d/{bin,dev,proc,sys,host,share,upper,new,modules}
	cp "$(command -v busybox)" initrd.d/bin/busybox
	cp "$here/init" initrd.d/init
	chmod 755 initrd.d/init
	for m in virtio_pci 9p 9pnet_virtio overlay; do
		while read -r _ path _; do
			[[ $done != *" $path "* ]] || continue
			done+="$path "
			cp "$path" initrd.d/modules/
			echo "${path##*/}" >>initrd.d/modules/order
		done < <(modprobe -d "$PWD/modules" -S "$(cat release)" \
			--show-depends "$m" | grep ^insmod)
	done
	(cd initrd.d && find . | cpio -o -H newc -R 0:0 --quiet) >initrd.new
	rm -r initrd.d
	mv initrd.new initrd
}

for p in busybox cpio dpkg-deb gcc make modprobe xz; do
	command -v $p >/dev/null ||
		die "needs the program $p: run config/install-deps.sh run test vm"
done

exec 8>"$entry.lock"
flock 8
if [ ! -d "$entry" ]; then
	echo "kernel.sh: fetching and building Linux $series, once (a minute)" >&2
	# Debris of an interrupted build; the lock says that nobody works on it.
	rm -rf "$entry.new"
	free=$(df --output=avail -k "$cache" | tail -n 1)
	[ "$free" -gt 1000000 ] ||
		die "$cache has $((free / 1024)) MB free, a build takes 1000:" \
			"make room, or set RNBD_VM_CACHE to another place"
	mkdir "$entry.new"
	trap 'rm -rf "$entry.new"' EXIT
	cd "$entry.new"
	fetch
	unpack
	build
	assemble
	cd /
	mv "$entry.new" "$entry"
	trap - EXIT
fi
cd "$entry"
if [ ! -e initrd ] || [ "$here/init" -nt initrd ]; then
	initrd
fi
if [ ! -e tsc-khz ] || [ "$here/tsc-khz.c" -nt tsc-khz ]; then
	gcc -O2 -o tsc-khz.new "$here/tsc-khz.c"
	mv tsc-khz.new tsc-khz
fi
echo "$entry"
