#!/usr/bin/env bash
# Shell scripts pass shellcheck and are executable.
set -euo pipefail
cd "${RNBD_SRCDIR:?}"
bad=0
while read -r f; do
	case $f in
	*/functions.sh | *.bash | */monitor.sh | */kclient.sh) ;; # sourced
	*) [ -x "$f" ] || { echo "$f: not executable"; bad=1; } ;;
	esac
	shellcheck -x -P SCRIPTDIR -s bash "$f" || bad=1
done < <(find config tests .ci -name '*.sh' -o -name '*.bash' -o -path '.ci/run' -o -path tests/vm/init)
exit $bad
