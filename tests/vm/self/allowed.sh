#!/usr/bin/env bash
# vm: build=no time=20
. "$RNBD_SRCDIR/tests/vm/functions.sh"
allow_dmesg 'at nowhere\.c' "the test of the harness says it"
{
	echo "------------[ cut here ]------------"
	echo "WARNING: CPU: 0 PID: 1 at nowhere.c:1 nothing+0x0/0x1"
	echo "Call Trace:"
	echo "---[ end trace 0 ]---"
} >"$tmp/lines"
while read -r line; do
	echo "$line" >/dev/kmsg
done <"$tmp/lines"
expect_dmesg 'end trace 0'
