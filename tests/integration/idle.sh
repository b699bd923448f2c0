#!/usr/bin/env bash
# An idle pair wakes up for heartbeats and nothing else, and an idle session
# of default depth costs the daemon little memory.
. "$(dirname "$0")/functions.sh"
requires nbdinfo
[ "${RNBD_SANITIZER:-}" = "" ] || skip "sanitizers have memory and threads of their own"
truncate -s 64M "$tmp/disk"
start_gateway gw --export "disk=file:$tmp/disk"
rss() {
	awk '/^VmRSS/ {print $2}' "/proc/$1/status"
}
# Voluntary switches of all threads of a process: each is a wake-up.
switches() {
	cat /proc/"$1"/task/*/status | awk '/^voluntary/ {n += $2} END {print n}'
}
empty=$(rss "$pid_gw")
start_nbdkit n "$RNBD_PLUGIN" sessname=idle "path=$path_gw" device_path=disk
nbdinfo "$uri_n" >/dev/null
idle=$(rss "$pid_gw")
echo "daemon: $empty KiB without, $idle KiB with an idle session"
[ $((idle - empty)) -lt 4096 ] || fail "an idle session costs $((idle - empty)) KiB"

# Heartbeats: every 5 s one HB_MSG and one HB_ACK each way. Four wake-ups for
# each side and interval would be generous; timers of a spinning loop are not.
g0=$(switches "$pid_gw") n0=$(switches "$pid_n")
timeout 12 tail --pid="$pid_gw" -f /dev/null || :
g=$(($(switches "$pid_gw") - g0)) n=$(($(switches "$pid_n") - n0))
echo "12 s idle: daemon $g wake-ups, nbdkit $n wake-ups"
[ "$g" -le 24 ] || fail "the daemon woke up $g times in 12 s"
[ "$n" -le 24 ] || fail "nbdkit woke up $n times in 12 s"
