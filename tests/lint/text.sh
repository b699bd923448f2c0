#!/usr/bin/env bash
# What must not be in the tree: paths of one machine, unfinished work, files
# without a licence line, files and functions past their size.
set -euo pipefail
cd "${RNBD_SRCDIR:?}"
bad=0
files() {
	find proto rtrs gateway nbdkit-plugin config tests README.md meson.build \
		-type f -not -path '*/corpus/*' -not -name '*.pyc' "$@"
}
while read -r hit; do
	echo "$hit"
	bad=1
done < <(files -not -path tests/lint/text.sh -print0 |
	xargs -0 grep -nE '(^|[ ="'"'"':(])/(work|home|root)/|\b(TODO|FIXME|XXX)\b' || :)
while read -r f; do
	head -n 3 "$f" | grep -q 'SPDX-License-Identifier: BSD-3-Clause' ||
		{ echo "$f: no SPDX line"; bad=1; }
done < <(files -name '*.[ch]')
while read -r f; do
	n=$(wc -l <"$f")
	[ "$n" -le 800 ] || { echo "$f: $n lines; cut it by noun"; bad=1; }
done < <(find proto rtrs gateway nbdkit-plugin -name '*.[ch]')
exit $bad
