#!/usr/bin/env bash
# Each script that a person may start says what it does when asked by --help, and
# starts nothing for an argument that it does not know.
set -euo pipefail
cd "${RNBD_SRCDIR:?}"
bad=0
# As in a shell that meson knows nothing of.
for v in $(compgen -e RNBD_ | grep -v '^RNBD_SRCDIR$' || :); do
	unset "$v"
done
unset RNBD_SRCDIR
mapfile -t scripts < <(
	find config tests/*.sh tests/bench tests/integration tests/sim tests/faults \
		-name '*.sh' -not -name functions.sh -not -name programs.sh
	echo tests/vm/run.sh)
# complain FILE WHAT
complain() {
	echo "$1: $2"
	bad=1
}
for f in "${scripts[@]}"; do
	rc=0
	said=$(timeout 20 "$f" --no-such-argument 2>&1 </dev/null) || rc=$?
	[ $rc = 2 ] || complain "$f" "--no-such-argument: exit code $rc, said: $said"
	[ "$f" != tests/sim/regressions.sh ] || continue # by meson only
	rc=0
	said=$(timeout 20 "$f" --help 2>&1 </dev/null) || rc=$?
	[ $rc = 0 ] && [ -n "$said" ] ||
		complain "$f" "--help: exit code $rc, said: $said"
done
[ ${#scripts[@]} -ge 60 ] || complain tests "only ${#scripts[@]} scripts"
exit $bad
