#!/usr/bin/env bash
# vm: where=host time=700 suite=6.12
# Kernel's client, our daemon on a disk whose writes are recorded: each prefix of
# the record keeps what flushes and FUA promised; ext4 recovers at each of 200.
set -euo pipefail
: "${RNBD_SRCDIR:?}" "${RNBD_BUILD:?}" "${VM_RELEASE:?}"
points=${VM_ARG_POINTS:-200}
replay=$RNBD_BUILD/tests/powercut/cut-replay
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
# In memory: e2fsck waits for the disk after each image.
tmp=$(mktemp -d /dev/shm/rnbd-cut.XXXXXX)
trap 'rm -rf "$tmp"' EXIT

fail() {
	echo "FAIL: $*"
	exit 1
}

# What e2fsck mends by itself, the journal above all (1), it may mend.
mends() { # IMAGE
	local rc=0
	e2fsck -fp "$1" >"$tmp/fsck.log" 2>&1 || rc=$?
	[ $rc -le 1 ]
}

RNBD_VM_PCAPS=$tmp "$RNBD_SRCDIR/tests/vm/run.sh" \
	"$RNBD_SRCDIR/tests/powercut/record.sh" --kernel "$VM_RELEASE" ||
	fail "no record"
log=$tmp/record.pcap size=$(cat "$tmp/size.pcap")

"$replay" judge "$log" "$size" "$tmp/plan.pcap" | tee "$tmp/judged"
cuts=$(cut -d' ' -f1 "$tmp/judged")
[ "$cuts" -ge "${VM_ARG_CUTS:-10000}" ] || fail "only $cuts cut points"

# From the first block of the file system that is whole: mkfs itself is not safe.
read -r first last <<<"$("$replay" count "$log")"
"$replay" image "$log" "$size" "$tmp/end" "$last" 0
e2fsck -fn "$tmp/end" >"$tmp/fsck.log" 2>&1 ||
	{ cat "$tmp/fsck.log"; fail "the file system at the end"; }
made=$first
for ((low = first, high = last; low < high;)); do
	made=$(((low + high) / 2))
	"$replay" image "$log" "$size" "$tmp/cut" "$made" 0
	if mends "$tmp/cut"; then
		high=$made
	else
		low=$((made + 1))
	fi
done
made=$high
recovered=0
for ((i = 0; i < points; i++)); do
	point=$((made + (last - made) * i / points))
	# Every second point has some of what may or may not have arrived.
	seed=$((i % 2 ? i : 0))
	"$replay" image "$log" "$size" "$tmp/cut" "$point" "$seed"
	if ! mends "$tmp/cut" || ! e2fsck -fn "$tmp/cut" >>"$tmp/fsck.log" 2>&1; then
		cat "$tmp/fsck.log"
		fail "cut after entry $point of $last, seed $seed"
	fi
	! grep -q 'recovering journal' "$tmp/fsck.log" || recovered=$((recovered + 1))
done
[ "$recovered" -gt 0 ] || fail "there was never a journal to be played"
echo "ext4: $points cuts of entries $made to $last, each recovers ($recovered by" \
	"the journal)"
