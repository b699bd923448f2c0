#!/usr/bin/env bash
# The direction of the include arrows, and the homes of foreign headers.
#
#   proto, rtrs/base, config    include nothing of ours but themselves
#   config/control              rtrs/base
#   rtrs                        proto, rtrs
#   gateway                     proto, config, rtrs/rtrs.h, rtrs/base
#   nbdkit-plugin               proto, config/control, rtrs/rtrs.h, rtrs/base
#   nothing                     tests/
set -euo pipefail
cd "${RNBD_SRCDIR:?}"

bad=0
complain() {
	echo "$1:$2: $3 may not include \"$4\""
	bad=1
}

# Our own headers: written from the root, and along the arrows.
allowed() {
	local from=$1 to=$2
	case $from in
	proto/*) [[ $to == proto/* ]] ;;
	config/control/*) [[ $to == config/control/* || $to == rtrs/base/* ]] ;;
	config/*) [[ $to == config/* && $to != config/control/* ]] ;;
	rtrs/base/*) [[ $to == rtrs/base/* ]] ;;
	rtrs/*) [[ $to == rtrs/* || $to == proto/* ]] ;;
	gateway/*)
		[[ $to == gateway/* || $to == proto/* || $to == config/* ||
			$to == rtrs/rtrs.h || $to == rtrs/base/* ]]
		;;
	nbdkit-plugin/*)
		[[ $to == nbdkit-plugin/* || $to == proto/* || $to == config/control/* ||
			$to == rtrs/rtrs.h || $to == rtrs/base/* ]]
		;;
	*) true ;;
	esac
}
while IFS=: read -r file line to; do
	allowed "$file" "$to" || complain "$file" "$line" "${file%%/*}" "$to"
done < <(grep -rnE '^#include "' --include='*.[ch]' \
	proto rtrs config gateway nbdkit-plugin |
	sed -E 's/^([^:]+):([0-9]+):#include "([^"]+)".*/\1:\2:\3/')

# Foreign headers have one home each.
home() {
	local pattern=$1 where=$2 file line
	while IFS=: read -r file line _; do
		if ! [[ $file =~ ^($where)$ ]]; then
			echo "$file:$line: <$pattern> belongs to $where"
			bad=1
		fi
	done < <(grep -rnE "^#include <($pattern)" --include='*.[ch]' \
		proto rtrs config gateway nbdkit-plugin || :)
}
home 'infiniband/|rdma/' 'rtrs/fabric/verbs[^/]*\.[ch]'
home 'liburing' 'gateway/backend/uring\.c'
home 'libnbd' 'gateway/backend/nbd[^/]*\.[ch]'
home 'event2/' 'config/control/(loop|control)\.c|gateway/http\.c'
home 'nbdkit-plugin|nbdkit-common' 'nbdkit-plugin/plugin[^/]*\.c'
home 'jansson' 'config/control/control[^/]*\.[ch]|gateway/(control[^/]*|ctl/[^/]*)\.[ch]|nbdkit-plugin/control[^/]*\.[ch]'
home 'ini\.h' 'config/conf-file\.c'
home 'seccomp' 'gateway/sandbox\.c'
home 'systemd/' 'gateway/notify\.c'
home 'check\.h' 'tests/.*'

# The engines are passive: no clock, no thread, no random source of their own.
while read -r hit; do
	echo "$hit: the engines are passive"
	bad=1
done < <(grep -rnE '\b(clock_gettime|gettimeofday|time|rand|random|getrandom|pthread_create|sleep|usleep|nanosleep|poll|select)\(' \
	--include='*.c' proto rtrs nbdkit-plugin/rnbd-*.c gateway/server.c gateway/session*.c gateway/io.c gateway/stats.c gateway/throttle*.c |
	grep -vE '(->|\.|_)(poll|time|rand|sleep|select)\(' |
	grep -vE '^[^:]+:[0-9]+:\s*(\*|/\*|//)' || :)

exit $bad
