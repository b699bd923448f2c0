#!/usr/bin/env bash
# vm: build=no time=2
. "$RNBD_SRCDIR/tests/vm/functions.sh"
sleep 1000
