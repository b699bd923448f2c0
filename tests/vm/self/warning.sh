#!/usr/bin/env bash
# vm: build=no time=20
. "$RNBD_SRCDIR/tests/vm/functions.sh"
echo "WARNING: CPU: 0 PID: 1 at nowhere.c:1 nothing+0x0/0x1" >/dev/kmsg
