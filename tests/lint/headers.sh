#!/usr/bin/env bash
# Each header compiles alone, by both compilers.
set -euo pipefail
cd "${RNBD_SRCDIR:?}"
flags=$(pkg-config --cflags libevent jansson liburing nbdkit)
bad=0
for h in $(git ls-files 2>/dev/null '*.h' || find . -name '*.h'); do
	case $h in tests/* | build*) continue ;; esac
	for cc in gcc clang; do
		# shellcheck disable=SC2086 # flags are words
		if ! echo "#include \"$h\"" | $cc -D_GNU_SOURCE -std=gnu11 \
			-Wall -Wextra -Werror -Wno-unused-parameter -I. $flags \
			-x c -fsyntax-only -; then
			echo "$h: does not compile alone with $cc"
			bad=1
		fi
	done
done
exit $bad
