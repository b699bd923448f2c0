#!/usr/bin/env bash
# Shell scripts pass shellcheck and are executable.
set -euo pipefail
cd "${RNBD_SRCDIR:?}"
bad=0
mapfile -t scripts < <(find config tests .ci -name '*.sh' -o -name '*.bash' \
	-o -path '.ci/run' -o -path tests/vm/init -o -path tests/vm/boot-init)
for f in "${scripts[@]}"; do
	case $f in
	*/functions.sh | */programs.sh | *.bash | */monitor.sh | */kclient.sh) ;; # sourced
	*) [ -x "$f" ] || { echo "$f: not executable"; bad=1; } ;;
	esac
done
printf '%s\0' "${scripts[@]}" |
	xargs -0 -n 4 -P "$(nproc)" shellcheck -x -P SCRIPTDIR -s bash || bad=1
exit $bad
