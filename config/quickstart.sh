#!/usr/bin/env bash
# From a bare Debian 12 to a disk image that travelled from a stock NBD client
# through nbdkit, the rnbd plugin and rnbd-gatewayd to a file and back.
#
#   config/quickstart.sh                 do it, compare, clean up
#   config/quickstart.sh --serve IMAGE   offer IMAGE over NBD until stopped
set -euo pipefail

usage() {
	sed -n '2,7s/^# \{0,1\}//p' "$0"
}

serve=
while [ $# -gt 0 ]; do
	case $1 in
	--serve)
		if [ $# -lt 2 ]; then
			echo "quickstart.sh: --serve needs the name of an image file" >&2
			exit 2
		fi
		serve=$2
		shift 2
		;;
	-h | --help)
		usage
		exit 0
		;;
	*)
		echo "quickstart.sh: unknown argument '$1' (see --help)" >&2
		exit 2
		;;
	esac
done
if [ -n "$serve" ]; then
	if [ ! -f "$serve" ] && [ ! -b "$serve" ]; then
		echo "quickstart.sh: --serve: '$serve' is no file and no block device" >&2
		exit 2
	fi
	serve=$(realpath "$serve")
fi

here=$(dirname "$(realpath "$0")")
top=$(dirname "$here")
build=${RNBD_BUILDDIR:-$top/build}
start=$SECONDS

say() {
	printf '[%3ds] %s\n' $((SECONDS - start)) "$*"
}

say "packages"
"$here/install-deps.sh" run

say "build in ${build#"$top"/}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! {
	# The tests need more packages than were installed.
	{ [ -f "$build/build.ninja" ] ||
		meson setup "$build" "$top" -Dtests=false; } &&
		ninja -C "$build"
} >"$log" 2>&1; then
	tail -n 30 "$log" >&2
	echo "quickstart.sh: the build failed; its last lines are above" >&2
	exit 1
fi
gatewayd=$build/gateway/rnbd-gatewayd
plugin=$build/nbdkit-plugin/nbdkit-rnbd-plugin.so

tmp=$(mktemp -d "${TMPDIR:-/tmp}/rnbd-quickstart.XXXXXX")
gateway_pid=
nbdkit_pid=
cleanup() {
	trap - EXIT INT TERM
	for pid in $nbdkit_pid $gateway_pid; do
		kill "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	rm -rf "$tmp" "$log"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Starts the daemon on a port of its own choice; sets gateway_pid and path.
start_gateway() {
	local line

	mkfifo "$tmp/listening"
	"$gatewayd" --foreground --log-level error --listen tcp:127.0.0.1:0 \
		--export "disk=file:$1" >"$tmp/listening" &
	gateway_pid=$!
	if ! read -r -t 20 line <"$tmp/listening"; then
		echo "quickstart.sh: rnbd-gatewayd did not come up" >&2
		exit 1
	fi
	path=${line#listening on }
	rm "$tmp/listening"
}

plugin_args=("$plugin" sessname=quickstart device_path=disk)

if [ -n "$serve" ]; then
	start_gateway "$serve"
	nbdkit --foreground --exit-with-parent --unix "$tmp/nbd.sock" \
		--pidfile "$tmp/nbdkit.pid" "${plugin_args[@]}" "path=$path" &
	nbdkit_pid=$!
	until [ -s "$tmp/nbdkit.pid" ]; do
		if ! kill -0 "$nbdkit_pid" 2>/dev/null; then
			echo "quickstart.sh: nbdkit did not come up" >&2
			exit 1
		fi
		sleep 0.05
	done
	cat <<EOF

$serve is served by rnbd-gatewayd at $path and attached by nbdkit.
NBD URI:
    nbd+unix:///?socket=$tmp/nbd.sock
Try:
    nbdinfo 'nbd+unix:///?socket=$tmp/nbd.sock'
    qemu-img info 'nbd+unix:///?socket=$tmp/nbd.sock'
    nbd-client -unix $tmp/nbd.sock /dev/nbd0
Stop with Ctrl-C.
EOF
	wait "$nbdkit_pid" || :
	exit 0
fi

say "make an image with a file system and real files"
size_mib=320
mkdir "$tmp/files"
# Real files of this machine, up to 200 MiB of them. find is cut off when there
# is enough, and complains of what it may not read: neither matters.
{
	find /usr/bin /usr/lib /usr/share/doc -xdev -type f -size -8192k \
		-readable -printf '%s %p\0' 2>/dev/null || :
} | awk 'BEGIN { RS = ORS = "\0" }
	{ sum += $1; sub(/^[0-9]+ \//, "") }
	sum > 200 * 1048576 { exit }
	{ print }' >"$tmp/list" || :
tar -C / --null --files-from="$tmp/list" --create --file=- |
	tar -C "$tmp/files" --extract --file=-
n_files=$(find "$tmp/files" -type f | wc -l)
PATH=$PATH:/sbin:/usr/sbin mke2fs -q -t ext4 -d "$tmp/files" \
	"$tmp/image" ${size_mib}M >/dev/null
rm -rf "$tmp/files"
truncate -s ${size_mib}M "$tmp/disk"

start_gateway "$tmp/disk"
say "rnbd-gatewayd serves a file at $path"

# $1: what to run with $uri set by nbdkit.
with_nbdkit() {
	nbdkit -U - "${plugin_args[@]}" "path=$path" --run "$1"
}

say "nbdcopy: image -> nbdkit -> gateway -> file"
export image=$tmp/image back=$tmp/back
# shellcheck disable=SC2016 # $uri and the files are for nbdkit's shell
with_nbdkit 'nbdcopy --flush "$image" "$uri"'
say "nbdcopy: file -> gateway -> nbdkit -> copy"
# shellcheck disable=SC2016
with_nbdkit 'nbdcopy "$uri" "$back"'

say "compare"
cmp "$tmp/image" "$tmp/disk"
cmp "$tmp/image" "$tmp/back"
PATH=$PATH:/sbin:/usr/sbin e2fsck -fn "$tmp/back" >"$log" 2>&1 || {
	cat "$log" >&2
	echo "quickstart.sh: the copied file system is damaged" >&2
	exit 1
}
say "identical: $size_mib MiB, ext4 with $n_files files, clean"
cat <<EOF

It works. To keep an image attached:

    config/quickstart.sh --serve IMAGE

or by hand, on the machine with the disk:

    ${gatewayd#"$top"/} --listen tcp:0.0.0.0 --export disk=file:IMAGE

and on the machine that wants it:

    nbdkit -U /run/disk.sock ${plugin#"$top"/} \\
        sessname=\$(hostname -s) path=tcp:SERVER device_path=disk
    nbd-client -unix /run/disk.sock /dev/nbd0                 # /dev/nbd0
    qemu-system-x86_64 -drive file=nbd:unix:/run/disk.sock,format=raw
EOF
