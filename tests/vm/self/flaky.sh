#!/usr/bin/env bash
# vm: where=host kernels=6.12 build=no
# Fails the first time.
[ -e "$RNBD_VM_LOGS/was-here" ] && exit
: >"$RNBD_VM_LOGS/was-here"
echo "the first time"
exit 1
