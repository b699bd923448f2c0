#!/usr/bin/env bash
# Where log lines go, and what a client's words can do to them.
. "$(dirname "$0")/functions.sh"
start_gateway plain --export m=memory:1M
wait_log "$tmp/plain.log" "^rnbd-gatewayd: info: listening on "
stop "$pid_plain"

# The journal is what JOURNAL_STREAM says, if it is the standard error.
: >"$tmp/j.log"
export JOURNAL_STREAM
JOURNAL_STREAM=$(stat -c %d:%i "$tmp/j.log")
start_gateway j --export m=memory:1M
wait_log "$tmp/j.log" "^<6>listening on tcp:"
start_nbdkit n "$RNBD_PLUGIN" sessname="$(printf 'a\033[2J\n<0>b')" \
	"path=$path_j" device_path=m
nbdinfo "$uri_n" >/dev/null
wait_log "$tmp/j.log" '^<6>session .*a\\x1b\[2J\\x0a<0>b.*: up$'
! grep -q '^<0>' "$tmp/j.log" || fail "a client wrote a line of its own"
! grep -q "$(printf '\033')" "$tmp/j.log" || fail "a client's escape sequence"
stop "$pid_j"
# Somebody else's.
start_gateway other --export m=memory:1M
wait_log "$tmp/other.log" "^rnbd-gatewayd: info: listening on "
stop "$pid_other"
start_gateway forced --export m=memory:1M --log-target journal
wait_log "$tmp/forced.log" "^<6>listening on "
stop "$pid_forced"

# A standard error that nobody reads: the daemon serves on, and counts.
mkfifo "$tmp/stuck.log"
exec 7<>"$tmp/stuck.log"
start_gateway stuck --export m=memory:1M
dd if=/dev/zero of="$tmp/stuck.log" bs=4096 oflag=nonblock 2>"$tmp/dd.log" || :
start_nbdkit s "$RNBD_PLUGIN" sessname=stuck "path=$path_stuck" device_path=m
nbdinfo "$uri_s" >"$tmp/info" || fail "a log that is stuck stops the service"
head -c 32768 <&7 >"$tmp/dd.log"
start_nbdkit t "$RNBD_PLUGIN" sessname=read "path=$path_stuck" device_path=m \
	access_mode=ro
timeout 60 grep -a -m 1 "log lines were lost" <&7 >"$tmp/lost" ||
	fail "nothing says that lines were lost"
stop "$pid_stuck"
