#!/usr/bin/env bash
# memcheck over what fits it: codecs, engines, the tcp fabric, the plugin's
# session, and a daemon at work.
#
#   tests/valgrind.sh BUILDDIR
set -euo pipefail
case ${1:-} in
-h | --help)
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
	exit 0
	;;
esac
if [ $# != 1 ] || [ ! -f "$1/build.ninja" ]; then
	echo "valgrind.sh: needs one argument, the folder of a build (see --help)" >&2
	exit 2
fi
dir=$(realpath "$1")
valgrind="valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite"

# Not those that look at time, system calls or sandboxes, and not thousands of
# cases of what others show already.
mapfile -t tests < <(meson test -C "$dir" --no-rebuild --list --suite unit 2>/dev/null |
	sed -n 's|^rnbd:[^ ]* / ||p' |
	grep -E '^(proto|clt|srv|rnbd)/|^base/(dues|hist)$|^config/conf$|^fabric/(tcp-(wire|io)|sim-net)$|^gateway/(io|session|revoke|match|throttle)$|^backend/(spec|pool)$|^plugin/(params|exports)$' |
	grep -vE '^(srv/many|proto/vectors|proto/captured)$')
if [ ${#tests[@]} -lt 20 ]; then
	echo "valgrind.sh: found no tests" >&2
	exit 1
fi
bad=0
meson test -C "$dir" --no-rebuild --print-errorlogs -t 10 \
	--wrapper "$valgrind" "${tests[@]}" || bad=1
meson test -C "$dir" --no-rebuild --print-errorlogs --suite memcheck || bad=1
exit $bad
