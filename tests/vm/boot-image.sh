#!/usr/bin/env bash
# Makes the disk of a small machine: a boot loader, a kernel and a root file
# system whose only program is busybox. Root is not needed.
#
#   tests/vm/boot-image.sh IMAGE KERNEL_DIRECTORY
#
# The second is what kernel.sh prints. Everything that the machine reads, from
# the first sector on, is in the image: 64 MiB, one partition from 1 MiB on.
set -euo pipefail

[ $# = 2 ] || { sed -n '5p' "$0" >&2; exit 2; }
here=$(dirname "$(realpath "$0")")
image=$1 kernel=$2
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
work=$(mktemp -d "${TMPDIR:-/tmp}/rnbd-boot.XXXXXX")
trap 'rm -rf "$work"' EXIT
grub=/usr/lib/grub/i386-pc
release=$(cat "$kernel/release")

# copy_modules: what the root needs, in the order of loading, with the list.
copy_modules() {
	local m path seen=" "
	for m in virtio_pci virtio_blk crc32c_generic ext4; do
		while read -r _ path _; do
			[[ $seen != *" $path "* ]] || continue
			seen+="$path "
			cp "$path" "$work/initrd/modules/"
			echo "${path##*/}" >>"$work/initrd/modules/order"
		done < <(modprobe -d "$kernel/modules" -S "$release" \
			--show-depends "$m" | grep ^insmod)
	done
}

mkdir -p "$work/initrd"/{bin,dev,proc,new,modules} \
	"$work/root"/{bin,boot/grub,dev,proc,sys,data}
copy_modules
cp "$(command -v busybox)" "$work/initrd/bin/busybox"
cp "$(command -v busybox)" "$work/root/bin/busybox"
cat >"$work/initrd/init" <<'END'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
cd /modules || exit
while read -r m; do
	$b insmod "$m"
done <order
$b mount -t ext4 -o ro /dev/vda1 /new || exit
$b mount -o move /dev /new/dev || exit
exec $b switch_root /new /init
END
chmod 755 "$work/initrd/init"
(cd "$work/initrd" && find . | cpio -o -H newc -R 0:0 --quiet) \
	>"$work/root/boot/initrd"
cp "$kernel/vmlinuz" "$work/root/boot/vmlinuz"
cp "$here/boot-init" "$work/root/init"
chmod 755 "$work/root/init"
# The clock as in run.sh.
cat >"$work/root/boot/grub/grub.cfg" <<END
linux /boot/vmlinuz console=ttyS0 panic=-1 mitigations=off quiet \
	tsc=reliable tsc_early_khz=$("$kernel/tsc-khz")
initrd /boot/initrd
boot
END

rm -f "$image"
truncate -s 64M "$image"
echo '2048,,L,*' | sfdisk -q --label dos "$image"
mke2fs -q -t ext4 -d "$work/root" -E offset=1048576 "$image" 63M
# The loader goes before the partition, its table stays.
grub-mkimage -O i386-pc -o "$work/core" -p '(hd0,msdos1)/boot/grub' \
	biosdisk part_msdos ext2 linux normal
dd if="$grub/boot.img" of="$image" bs=440 count=1 conv=notrunc status=none
dd if="$work/core" of="$image" bs=512 seek=1 conv=notrunc status=none
