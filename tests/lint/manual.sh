#!/usr/bin/env bash
# Each example of the manual pages and the README is in manual.list, which says
# what runs it, and nothing else is. --print: a line for each, PAGE HOW EXAMPLE
# with tabs between them, where HOW is run, by or section (a new one begins).
set -euo pipefail
cd "${RNBD_SRCDIR:?}"
list=tests/integration/manual.list
pages=(README.md nbdkit-plugin/nbdkit-rnbd-plugin.1.pod
	gateway/rnbd-gatewayd.8.pod gateway/rnbdctl.8.pod
	gateway/rnbd-metrics.7.pod config/rnbd-gatewayd.conf.5.pod
	config/rnbd-security.7.pod)
bad=0

declare -A how_of seen
while read -r mode rest; do
	case $mode in
	run | text) how_of[$rest]=$mode ;;
	by)
		how_of[${rest#* }]=by
		if [ ! -f "${rest%% *}" ]; then
			echo "$list: there is no ${rest%% *}"
			bad=1
		fi
		;;
	'#'* | '') ;;
	*)
		echo "$list: '$mode' is none of run, by, text"
		bad=1
		;;
	esac
done <"$list"

# Lines of verbatim text, one line each for what goes on over several; "=" is a
# new section, "-" a new paragraph.
verbatim() {
	local indent='^ '
	[[ $1 != *.md ]] || indent='^    '
	awk -v indent="$indent" '
		/^(=head1|#+ )/ { print "="; next }
		$0 !~ indent { if (!/^ /) print "-"; next }
		{ sub(/^ +/, ""); line = line $0 }
		/\\$/ { sub(/ *\\$/, " ", line); next }
		/(&&|\|)$/ { line = line " "; next }
		{ print line; line = "" }' "$1"
}

for page in "${pages[@]}"; do
	text=''
	while IFS= read -r line; do
		case $line in
		=)
			[ "${1:-}" != --print ] || printf '%s\tsection\t\n' "$page"
			text=''
			continue
			;;
		-)
			text=''
			continue
			;;
		esac
		[ -z "$text" ] || continue
		how=${how_of[$line]:-}
		if [ -z "$how" ]; then
			echo "$page: $list does not know the example: $line"
			bad=1
			continue
		fi
		seen[$line]=1
		if [ "$how" = text ]; then
			text=1
		elif [ "${1:-}" = --print ]; then
			printf '%s\t%s\t%s\n' "$page" "$how" "$line"
		fi
	done < <(verbatim "$page")
done
for line in "${!how_of[@]}"; do
	[ -z "${seen[$line]:-}" ] || continue
	echo "$list: no page has: $line"
	bad=1
done
exit $bad
