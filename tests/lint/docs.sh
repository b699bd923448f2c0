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

# Commands of rnbdctl with their arguments, and the fields of what they list.
"$RNBD_CTL" --help | sed -n '/^Commands:/,/^$/s/^  \(.*[^ ]\)  .*/\1/p' |
	sed 's/  .*//; s/ *$//' | sort >"$TMPDIR/help"
sed -n '/^=head1 COMMANDS/,/^=head1 CLIENT COMMANDS/s/^=item //p' \
	gateway/rnbdctl.8.pod | sed 's/B<//; s/>//' | sort >"$TMPDIR/man"
same "gateway/rnbdctl.8.pod, commands" "$TMPDIR/help" "$TMPDIR/man"
"$RNBD_CTL" --help | sed -n '/^Commands after .client/,/^$/s/^  \(.*[^ ]\)  .*/\1/p' |
	sed 's/  .*//; s/ *$//' | sort >"$TMPDIR/help"
sed -n '/^=head1 CLIENT COMMANDS/,/^=head1 WORDS/s/^=item //p' \
	gateway/rnbdctl.8.pod | sed 's/B<//; s/>//' | sort >"$TMPDIR/man"
[ "$(wc -l <"$TMPDIR/help")" -gt 10 ] || { echo "--help lists no client commands"; bad=1; }
same "gateway/rnbdctl.8.pod, commands of clients" "$TMPDIR/help" "$TMPDIR/man"
for noun in session device path; do
	"$RNBD_CTL" client "$noun" list help | sed -n '/^Fields/,/^By default/p' |
		sed -n 's/^  \([a-z_0-9]*\) .*/\1/p' | sort >"$TMPDIR/help"
	sed -n "/^=head2 Of a client's $noun/,/^=back/p" gateway/rnbdctl.8.pod |
		grep '^=item' | grep -oE 'B<[a-z_0-9]+>' | tr -d 'B<>' | sort \
		>"$TMPDIR/man"
	same "gateway/rnbdctl.8.pod, fields of a client's $noun" \
		"$TMPDIR/help" "$TMPDIR/man"
done
for noun in session device path export; do
	"$RNBD_CTL" "$noun" list help | sed -n '/^Fields/,/^By default/p' |
		sed -n 's/^  \([a-z_]*\) .*/\1/p' | sort >"$TMPDIR/help"
	sed -n "/^=head2 Of an* $noun/,/^=back/p" gateway/rnbdctl.8.pod |
		grep '^=item' | grep -oE 'B<[a-z_]+>' | tr -d 'B<>' | sort \
		>"$TMPDIR/man"
	same "gateway/rnbdctl.8.pod, fields of a $noun" "$TMPDIR/help" \
		"$TMPDIR/man"
done
"$RNBD_CTL" client map list help | sed -n '/^Fields/,/^By default/p' |
	sed -n 's/^  \([a-z_]*\) .*/\1/p' | sort >"$TMPDIR/help"
sed -n "/^=head2 Of a mapped device/,/^=back/p" gateway/rnbdctl.8.pod |
	grep '^=item' | grep -oE 'B<[a-z_]+>' | tr -d 'B<>' | sort >"$TMPDIR/man"
same "gateway/rnbdctl.8.pod, fields of a map" "$TMPDIR/help" "$TMPDIR/man"
# Methods of the control socket, by their table.
grep -oE '^	\{"[a-z_.]+", control_' gateway/control-daemon.c |
	grep -oE '[a-z_]+(\.[a-z_]+)?"' | tr -d '"' | sort >"$TMPDIR/help"
sed -n '/^=head1 PROTOCOL/,/^A client speaks/p' gateway/rnbdctl.8.pod |
	grep '^=item' | grep -oE 'C<[a-z_.]+>' | tr -d 'C<>' | sort \
	>"$TMPDIR/man"
same "gateway/rnbdctl.8.pod, methods" "$TMPDIR/help" "$TMPDIR/man"
sed -n '/^static const struct control_method methods/,/^}/p' \
	nbdkit-plugin/control.c | grep -oE '^	\{"[a-z_.]+"' |
	grep -oE '[a-z_]+[a-z_.]*' | sort >"$TMPDIR/help"
sed -n '/^A client speaks/,/^=head1 ENV/p' gateway/rnbdctl.8.pod |
	grep '^=item' | grep -oE 'C<[a-z_.]+>' | tr -d 'C<>' | sort \
	>"$TMPDIR/man"
same "gateway/rnbdctl.8.pod, methods of a client" "$TMPDIR/help" \
	"$TMPDIR/man"

# Parameters of the plugin.
nbdkit "$RNBD_PLUGIN" --help | grep -oE '^ *[a-z][a-z_-]*=' | tr -d ' =' |
	sort -u >"$TMPDIR/help"
grep -E '^=item (B<\[?B?<?)?[a-z]' nbdkit-plugin/nbdkit-rnbd-plugin.1.pod |
	grep -oE '[a-z][a-z_-]*=' | tr -d '=' | sort -u >"$TMPDIR/man"
page=nbdkit-plugin/nbdkit-rnbd-plugin.1.pod
same $page "$TMPDIR/help" "$TMPDIR/man"
sed -n '/^=head1 SYNOPSIS/,/^=head1 DESC/p' $page |
	grep -oE '[a-z][a-z_-]*=' | tr -d '=' | grep -vx device_path |
	sort -u >"$TMPDIR/man"
same "$page, synopsis" "$TMPDIR/help" "$TMPDIR/man"
# What it adds to --dump-plugin, and its debug flags.
nbdkit --dump-plugin "$RNBD_PLUGIN" | grep -oE '^rnbd_[a-z_]+' | sort \
	>"$TMPDIR/help"
grep -oE '^=item C<rnbd_[a-z_]+' $page | grep -o 'rnbd_.*' | sort >"$TMPDIR/man"
same "$page, --dump-plugin" "$TMPDIR/help" "$TMPDIR/man"
grep -hoE '\brnbd_debug_[a-z]+' nbdkit-plugin/*.c | sort -u |
	sed 's/rnbd_debug_/-D rnbd./' >"$TMPDIR/help"
grep -oE -- '^=item B<-D rnbd\.[a-z]+' $page | grep -o -- '-D .*' | sort \
	>"$TMPDIR/man"
same "$page, debug flags" "$TMPDIR/help" "$TMPDIR/man"
exit $bad
