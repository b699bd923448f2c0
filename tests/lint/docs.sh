#!/usr/bin/env bash
# The manual pages are well-formed, and name exactly the options that the
# programs have.
set -euo pipefail
cd "${RNBD_SRCDIR:?}"
: "${RNBD_GATEWAYD:?}" "${RNBD_CTL:?}" "${RNBD_PLUGIN:?}"
bad=0

while read -r pod; do
	podchecker -warnings -warnings "$pod" >/dev/null 2>"$TMPDIR/podchecker" ||
		{ cat "$TMPDIR/podchecker"; bad=1; }
done < <(find . -name '*.pod' -not -path './build*')

same() {
	if ! diff "$2" "$3" >"$TMPDIR/diff"; then
		echo "$1: help (<) and manual (>) differ:"
		cat "$TMPDIR/diff"
		bad=1
	fi
}

# Long options of a program against the =item lines of its page.
options() {
	"$1" --help | grep -oE -- '--[a-z][a-z-]*' | sort -u >"$TMPDIR/help"
	grep -E '^=item' "$2" | grep -oE -- '--[a-z][a-z-]*' | sort -u \
		>"$TMPDIR/man"
	same "$2" "$TMPDIR/help" "$TMPDIR/man"
}
options "$RNBD_GATEWAYD" gateway/rnbd-gatewayd.8.pod
options "$RNBD_CTL" gateway/rnbdctl.8.pod

# Keys of the configuration file, as "[section] key", against its page.
"$RNBD_GATEWAYD" --list-keys |
	sed -nE 's/^#(\[[a-z]+\]).*/\1/p; s/^#([a-z-]+) = .*/\1/p' |
	awk '/^\[/ { section = $0; next } { print section, $0 }' | sort >"$TMPDIR/help"
sed -nE 's/^=head1 SECTION (\[[a-z]+\])$/\1/p; s/^=head1 [A-Z ]+$/[]/p
	s/^=item B<([a-z-]+)> = .*/\1/p' config/rnbd-gatewayd.conf.5.pod |
	awk '/^\[/ { section = $0 == "[]" ? "" : $0; next } { print section, $0 }' |
	sort >"$TMPDIR/man"
[ "$(wc -l <"$TMPDIR/help")" -gt 20 ] || { echo "--list-keys lists no keys"; bad=1; }
same config/rnbd-gatewayd.conf.5.pod "$TMPDIR/help" "$TMPDIR/man"

# Parameters of the plugin.
nbdkit "$RNBD_PLUGIN" --help | grep -oE '^ *[a-z][a-z_-]*=' | tr -d ' =' |
	sort -u >"$TMPDIR/help"
grep -E '^=item (B<\[?B?<?)?[a-z]' nbdkit-plugin/nbdkit-rnbd-plugin.1.pod |
	grep -oE '[a-z][a-z_-]*=' | tr -d '=' | sort -u >"$TMPDIR/man"
same nbdkit-plugin/nbdkit-rnbd-plugin.1.pod "$TMPDIR/help" "$TMPDIR/man"
exit $bad
