#!/usr/bin/env bash
# vm: build=no time=1
. "$RNBD_SRCDIR/tests/vm/functions.sh"
ask_host pause a
