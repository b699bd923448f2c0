#!/usr/bin/env bash
# The metrics: well-formed by Prometheus' own parser, exact under real I/O, as
# documented, and served to whoever behaves; others are sent away.
. "$(dirname "$0")/functions.sh"
requires curl
requires nbdsh
truncate -s 16M "$tmp/disk"
metrics=$(dirname "$0")/metrics.py

# A name that has to be escaped.
bad='b"\q{"le"}'
start_gateway gw --export "disk=file:$tmp/disk" --export "ro=memory:1M,ro" \
	--export "$bad=memory:1M" --metrics 127.0.0.1:0 --workers 2
wait_log "$tmp/gw.log" 'metrics at http://'
uri=$(grep -oE 'http://[^ ]*' "$tmp/gw.log")

get() {
	curl -sf -m 20 "$uri" >"$tmp/page.$1" || fail "no answer to GET"
}
check() {
	python3 "$metrics" "$@" || fail "metrics: $1"
}

# --- what is there before anybody came, and what the documents say of it
get idle
check parse "$tmp/page.idle"
check names "$tmp/page.idle" "$RNBD_SRCDIR"
check exports "$tmp/page.idle" disk ro 'b"\x5Cq{"le"}'

# --- exact counts
start_nbdkit n "$RNBD_PLUGIN" sessname=one "path=$path_gw" device_path=disk
start_nbdkit m "$RNBD_PLUGIN" sessname=two "path=$path_gw" device_path=ro \
	access_mode=ro
hold "$uri_n"
held=${pids[-1]}
hold "$uri_m"
get before
nbdsh -u "$uri_n" -c '
for i in range(7):
    h.pwrite(b"x" * 4096, i * 4096)
for i in range(5):
    h.pread(8192, 0)
h.trim(65536, 0)
h.zero(4096, 0)
h.flush()
h.flush()
'
nbdsh -u "$uri_m" -c 'for i in range(3): h.pread(512, 0)'
get after
check parse "$tmp/page.after"
check io "$tmp/page.before" "$tmp/page.after"

# --- what a client was refused
start_nbdkit twin "$RNBD_PLUGIN" sessname=one "path=$path_gw" \
	device_path=ro access_mode=ro && fail "two sessions of one name"
get refused
check rejected "$tmp/page.after" "$tmp/page.refused" name

# --- the device goes, the export's counters stay
kill "$held" "$pid_n"
closed() {
	get closed
	! grep -q 'rnbd_gateway_device_operations_total{session="one"' \
		"$tmp/page.closed" &&
		grep -q '^rnbd_gateway_export_devices{export="disk"} 0' "$tmp/page.closed"
}
until_true closed
check parse "$tmp/page.closed"
check kept "$tmp/page.after" "$tmp/page.closed"

# --- HTTP
code() {
	curl -s -m 20 -o /dev/null -w '%{http_code}' "$@"
}
[ "$(code -I "$uri")" = 200 ] || fail "HEAD"
[ "$(code "$uri?x=1")" = 200 ] || fail "GET with a query"
[ "$(code "${uri%/metrics}/")" = 404 ] || fail "another page"
[ "$(code -X POST -d x "$uri")" = 405 ] || fail "POST"
[ "$(code -X DELETE "$uri")" = 405 ] || fail "DELETE"
curl -sI "$uri" | grep -qix 'content-type: application/openmetrics-text; version=1.0.0; charset=utf-8.' ||
	fail "content type"

# --- those who do not behave, while others are served and I/O goes on
fds() {
	find "/proc/$pid_gw/fd" -mindepth 1 | wc -l
}
fds_before=$(fds)
python3 "$metrics" abuse "${uri#http://}" || fail "abuse"
nbdsh -u "$uri_m" -c 'h.pread(512, 0)'
get abused
check parse "$tmp/page.abused"
back() {
	[ "$(fds)" -le "$fds_before" ]
}
until_true back

# --- a unix socket, which goes with the daemon
stop "$pid_gw" || fail "ended with $?"
start_gateway un --export "disk=file:$tmp/disk" --metrics "unix:$tmp/http.sock"
[ "$(stat -c %a "$tmp/http.sock")" = 660 ] || fail "mode of the socket"
curl -sf -m 20 --unix-socket "$tmp/http.sock" http://localhost/metrics \
	>"$tmp/page.unix" || fail "no answer on the unix socket"
check parse "$tmp/page.unix"
stop "$pid_un" || fail "ended with $?"
[ ! -e "$tmp/http.sock" ] || fail "the socket stays"

# --- an address that cannot be had
if "$RNBD_GATEWAYD" --foreground --listen tcp:127.0.0.1:0 \
	--export m=memory:1M --metrics 192.0.2.1:1 2>"$tmp/err.log"; then
	fail "started with a foreign address"
fi
grep -q 'metrics at 192.0.2.1 port 1: .*; no interface' "$tmp/err.log" ||
	fail "the message: $(cat "$tmp/err.log")"
