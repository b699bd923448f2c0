#!/usr/bin/env bash
# vm: build=no time=20
. "$RNBD_SRCDIR/tests/vm/functions.sh"
exit 33
