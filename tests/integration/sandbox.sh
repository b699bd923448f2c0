#!/usr/bin/env bash
# The daemon is in its sandbox with every thread, unless told not to be, and
# leaves no core dump, unless told to.
. "$(dirname "$0")/functions.sh"

# Filters of all threads of a process, a line per kind of answer.
seccomp() {
	sed -n 's/^Seccomp:[^0-9]*//p' /proc/"$1"/task/*/status | sort -u
}
# Whether the end by a signal left a core dump, as the kernel says to wait().
dumps_core() {
	python3 - "$RNBD_GATEWAYD" "$@" <<-'EOF'
		import os, resource, signal, subprocess, sys
		hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
		resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
		p = subprocess.Popen(sys.argv[1:] + ["--foreground", "--listen",
		                     "tcp:127.0.0.1:0", "--export", "m=memory:1M"],
		                     stdout=subprocess.PIPE)
		p.stdout.readline()
		p.send_signal(signal.SIGABRT)
		status = os.waitpid(p.pid, 0)[1]
		assert os.WTERMSIG(status) == signal.SIGABRT, status
		sys.exit(0 if os.WCOREDUMP(status) else 1)
	EOF
}

start_gateway gw --export m=memory:1M --export n=null:1G
[ "$(seccomp "$pid_gw")" = 2 ] || fail "threads without a filter: $(seccomp "$pid_gw")"
# New threads are inside, too: the pool's, which start when they are needed.
start_nbdkit n "$RNBD_PLUGIN" sessname=sandbox "path=$path_gw" device_path=m
nbdcopy "$uri_n" "$tmp/back"
[ "$(seccomp "$pid_gw")" = 2 ] || fail "new threads without a filter"
stop "$pid_gw" || fail "ended with $?"

start_gateway open --export m=memory:1M --sandbox no
[ "$(seccomp "$pid_open")" = 0 ] || fail "a filter with --sandbox no"

! dumps_core || fail "a core dump by default"
# Only where this system would write one at all.
if [ "$(ulimit -H -c)" != 0 ] && grep -q '^[^|/]' /proc/sys/kernel/core_pattern; then
	dumps_core --core-dumps yes || fail "no core dump with --core-dumps yes"
	rm -f "$tmp"/core*
fi
