#!/usr/bin/env bash
# vm: mem=2048 time=900 kernels=6.12
# Not in the suite, for it judges nothing and takes two minutes.
# The plugin by number of threads, over tcp; judges no figure (--icount: not moved by other work).
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need fio nbdkit python3
"$RNBD_SRCDIR/tests/bench/bench-threads.sh" --build "$RNBD_BUILD" --size 48 \
	--rounds "${VM_ARG_ROUNDS:-1}" --seconds "${VM_ARG_SECONDS:-0.3}"
