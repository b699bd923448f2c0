#!/usr/bin/env bash
# vm: build=no time=20
. "$RNBD_SRCDIR/tests/vm/functions.sh"
echo "traps: PANIC: double fault, error_code: 0x0" >/dev/kmsg
echo "RSP: 0018:ffffcf6740c87c40 EFLAGS: 03ce6202" >/dev/kmsg
exit 1
