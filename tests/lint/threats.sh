#!/usr/bin/env bash
# Each threat of rnbd-security(7) names a test, and each test that is named is in
# the tree: the file, and in it the case.
set -euo pipefail
cd "${RNBD_SRCDIR:?}"
page=config/rnbd-security.7.pod
bad=0 n=0
while read -r name; do
	n=$((n + 1))
	file=${name%%:*}
	if [ ! -f "$file" ]; then
		echo "$page: there is no $file"
		bad=1
	elif [[ $name == *:* ]] && ! grep -qwF -- "${name#*:}" "$file"; then
		echo "$page: $file has no case '${name#*:}'"
		bad=1
	fi
done < <(grep -oE 'C<tests/(unit|integration|vm|sim|fuzz|hostile)[^>]*>' "$page" | sed 's/^C<//; s/>$//')
[ "$n" -ge 60 ] || { echo "$page: only $n tests are named"; bad=1; }
# An item of these sections ends with a line that names one.
awk -v page="$page" '
	/^=head1/ { in_it = /THREATS|KNOWN FAULTS/ }
	!in_it { next }
	/^=(item|back|head)/ {
		if (item != "" && !named) { print page ": no test: " item; bad = 1 }
		item = /^=item/ ? $0 : ""
		named = 0
	}
	/^C<tests\// { named = 1 }
	END { exit bad }' "$page" || bad=1
exit $bad
