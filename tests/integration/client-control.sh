#!/usr/bin/env bash
# The control socket of a client, by rnbdctl client: paths added, removed,
# disconnected and reconnected and the policy changed under verified load that
# sees no error; a device that grows; numbers equal to what was done; refusals,
# abuse, and an end while a command is under way.
. "$(dirname "$0")/functions.sh"
requires fio
requires nbdsh
requires nbdinfo

mkdir "$tmp/clients"
export RNBD_CLIENT_DIR=$tmp/clients
truncate -s 64M "$tmp/disk"
second=tcp:127.0.0.2:$(free_port)
start_gateway gw --listen "$second" --export "disk=file:$tmp/disk" \
	--export mem=memory:32M --control "$tmp/gw.sock"
a=("$RNBD_PLUGIN" sessname=alpha "path=$path_gw" device_path=disk
	reconnect-delay=0.1 io-timeout=60)
start_nbdkit a "${a[@]}" "control=$tmp/clients/alpha.ctl"

client() {
	"$RNBD_CTL" client "$@"
}
# expect CODE PATTERN WORDS...: its exit code and what it says; "": nothing.
expect() {
	local code=$1 pattern=$2 rc=0
	shift 2
	client "$@" >"$tmp/said" 2>&1 || rc=$?
	[ $rc = "$code" ] || fail "client $*: exit code $rc, not $code: $(cat "$tmp/said")"
	if [ -z "$pattern" ]; then
		[ ! -s "$tmp/said" ] || fail "client $*: says $(cat "$tmp/said")"
		return
	fi
	grep -qE -- "$pattern" "$tmp/said" ||
		fail "client $*: '$pattern' is not in: $(cat "$tmp/said")"
}
# rows NOUN FIELDS: without headers, a line each.
rows() {
	client "$1" list "$2" csv noheaders
}

# --- the socket
[ "$(stat -c %a "$tmp/clients/alpha.ctl")" = 660 ] || fail "the socket has another mode"
expect 0 '^nbdkit-rnbd-plugin [0-9.]+, session alpha, pid '"$pid_a" version
refused() { # PATTERN PARAMETER...
	local rc=0
	"${san_env[@]}" nbdkit -f -U "$tmp/no.sock" \
		"${a[@]/sessname=alpha/sessname=other}" preflight=no "${@:2}" \
		>"$tmp/said" 2>&1 || rc=$?
	rm -f "$tmp/no.sock"
	[ $rc -ne 0 ] || fail "nbdkit starts with ${*:2}"
	grep -q "$1" "$tmp/said" || fail "${*:2}: '$1' is not in: $(cat "$tmp/said")"
}
refused 'another process answers on it' "control=$tmp/clients/alpha.ctl"
refused 'is not a socket' "control=$tmp/disk"
refused 'No such file or directory' "control=$tmp/nothing/x"
refused 'is not the path of a unix socket' "control=/$(printf 'x%.0s' {1..200})"
expect 0 '^alpha$' session list sessname csv noheaders
rc=0
"$RNBD_CTL" --control "$tmp/clients/alpha.ctl" session list >"$tmp/said" 2>&1 || rc=$?
[ $rc = 2 ] && grep -q 'say .client. before the command' "$tmp/said" ||
	fail "a client was asked as if it were the server: $rc, $(cat "$tmp/said")"
# One that nobody answers on is passed over.
python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('$tmp/clients/dead.ctl')"
[ "$(rows session sessname)" = alpha ] || fail "a dead socket is in the way"
# So is one that ends while it is asked who it is.
python3 - "$tmp/clients/ending.ctl" <<-'PY' &
	import socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.bind(sys.argv[1])
	s.listen()
	while True:
	    s.accept()[0].close()
PY
ending=$!
pids+=("$ending")
# Listed as a socket that listens: state 01.
until_true grep -q " 00010000 0001 01 .*$tmp/clients/ending.ctl" /proc/net/unix
[ "$(rows session sessname)" = alpha ] || fail "an ending client is in the way"
expect 3 'no answer: Connection reset' --socket "$tmp/clients/ending.ctl" session list
kill "$ending"
rm "$tmp/clients/ending.ctl"

# --- under load
fio --name=v --ioengine=nbd --uri="$uri_a" --rw=randrw --bsrange=512-64k \
	--iodepth=8 --size=16m --verify=crc32c --verify_fatal=1 \
	--do_verify=1 --verify_backlog=128 --time_based --runtime=12 \
	--status-interval=1 --minimal >"$tmp/fio.out" 2>"$tmp/fio.log" &
load=$!
pids+=("$load")
until_true test -s "$tmp/fio.out"
moved() { # id of a path, what it had done: it does more
	[ "$(rows path id,rd_cnt | sed -n "s/^$1,//p")" != "$2" ]
}
rounds=0
while kill -0 "$load" 2>/dev/null && [ $rounds -lt 6 ]; do
	expect 0 '^path .* of session alpha: connected$' path add "$second" verbose
	expect 1 'the session has this path already' path add "$second"
	[ "$(rows session path_uu,act_path_cnt)" = UU,2 ] || fail "$(client session list)"
	for policy in rr min-latency mi; do
		expect 0 '' session policy alpha $policy
	done
	expect 0 '^min-inflight$' session policy alpha
	expect 0 'disconnected$' path disconnect "$path_gw" verbose
	[ "$(rows path state,held_down | xargs)" = "closed,yes connected,no" ] ||
		fail "$(client path list all)"
	expect 0 'connected$' path reconnect "$path_gw" verbose
	[ "$(rows session path_uu)" = UU ] || fail "$(client session list)"
	expect 0 '' path reconnect "$second"
	expect 0 '' device remap disk
	expect 0 '' device resize disk
	# The one that the load began on goes, and comes back under a new number.
	expect 0 '' path remove "$path_gw"
	expect 0 '' path add "$path_gw"
	expect 0 '' path delete "$second"
	[ "$(rows path dst_addr,state)" = tcp:127.0.0.1,connected ] ||
		fail "$(client path list all)"
	client metrics >"$tmp/page"
	rounds=$((rounds + 1))
done
[ $rounds -gt 0 ] || fail "the load ended before anything was done"
echo "rounds under load: $rounds"

# --- abuse, while the load goes on
python3 - "$tmp/clients/alpha.ctl" <<'PY'
import json, random, socket, sys, threading

path = sys.argv[1]
r = random.Random(5)


def dial():
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    s.settimeout(30)
    return s


def call(method, **params):
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method,
                       "params": params}).encode() + b"\n"


def ask(data):
    s = dial()
    try:
        s.sendall(data)
    except OSError:
        pass
    ans = s.makefile("rb").readline()
    s.close()
    return json.loads(ans)


def code(data):
    return ask(data)["error"]["code"]


assert code(b"x" * 70000) == -32600
assert code(b"\xff\xfe\n") == -32700
assert code(call("path.add")) == -32602
assert code(call("path.add", path=7)) == -32602
assert code(call("path.remove", path="x" * 60000)) == -32001
assert code(call("device.remap", device="\u20ac" * 3000)) == -32001
assert code(call("session.show", session="\n\x1b[2J")) == -32001
assert code(call("nothing")) == -32601
metrics = call("metrics")
# Answers that nobody waits for, and calls that are cut.
for i in range(150):
    s = dial()
    s.sendall(metrics * r.randrange(1, 30) if i % 2 else metrics[:r.randrange(len(metrics))])
    s.close()
# All at once, some of them over the limit: each is answered, or told so.
causes = []


def one(i):
    method = ("stats", "session.list", "device.list", "path.list")[i % 4]
    ans = ask(call(method))
    causes.append(ans.get("error", {}).get("data", {}).get("cause", "done"))


threads = [threading.Thread(target=one, args=(i,)) for i in range(60)]
for t in threads:
    t.start()
for t in threads:
    t.join()
assert set(causes) <= {"done", "busy"} and "done" in causes, causes
# Commands that are left alone: who asked is gone when they end.
for _ in range(5):
    s = dial()
    s.sendall(call("path.reconnect", path="tcp:127.0.0.1") + call("device.remap", device="disk"))
    s.close()
PY
wait "$load" || fail "the load saw an error: $(cat "$tmp/fio.log")"

# --- numbers are those of what was done
cat >"$tmp/io.py" <<-EOF
	import json, subprocess

	def rnbdctl(*words):
	    return subprocess.run(["$RNBD_CTL", "client", *words], check=True,
	                          stdout=subprocess.PIPE).stdout

	h.pread(512, 0)
	rnbdctl("stats", "reset")
	for i in range(5):
	    h.pread(8192, i << 20)
	for i in range(7):
	    h.pwrite(b"x" * 4096, i << 20)
	for i in range(2):
	    h.flush()
	h.trim(65536, 1 << 20)
	h.zero(4096, 2 << 20)
	want = {"read": (5, 40960), "write": (7, 28672), "flush": (2, 0),
	        "discard": (1, 65536), "write_zeroes": (1, 4096)}
	d, = json.loads(rnbdctl("--json", "device", "list", "all"))
	got = (d["reads"], d["writes"], d["flushes"], d["discards"], d["zeroes"])
	assert got == (5, 7, 2, 1, 1), d
	assert (d["rx_bytes"], d["tx_bytes"], d["users"]) == (40960, 28672, 1), d
	assert d["state"] == "open" and d["size"] == 64 << 20, d
	st, = json.loads(rnbdctl("--json", "stats"))
	for op, (n, size) in want.items():
	    assert st["ops"][op] == {"ops": n, "bytes": size, "errors": 0}, (op, st)
	    assert st["latency"][op]["count"] == n, (op, st)
	    assert 0 < st["latency"][op]["p50_ns"] <= st["latency"][op]["max_ns"], (op, st)
	p, = json.loads(rnbdctl("--json", "path", "list"))
	rd, rd_bytes, wr, wr_bytes, inflight, failovers = map(int, p["rdma"].split())
	# FLUSH counts as a read; each has its message.
	assert (rd, wr, inflight, failovers) == (7, 9, 0, 0), p
	assert (rd_bytes - 40960) / 7 == (wr_bytes - 28672) / 9 > 0, p
	open("$tmp/page", "wb").write(rnbdctl("metrics"))
EOF
nbdsh -u "$uri_a" -c "exec(open('$tmp/io.py').read())"
python3 "$RNBD_SRCDIR/tests/integration/metrics.py" parse "$tmp/page" 20
python3 "$RNBD_SRCDIR/tests/integration/metrics.py" client_names "$tmp/page" "$RNBD_SRCDIR"
# The metrics were not reset, and say what is true now.
python3 - "$tmp/page" <<-'PY'
	import sys
	from prometheus_client.openmetrics.parser import text_string_to_metric_families
	page = {}
	for fam in text_string_to_metric_families(open(sys.argv[1]).read()):
	    for s in fam.samples:
	        page.setdefault(s.name, []).append((s.labels, s.value))
	(labels, up), = page["rnbd_client_session_up"]
	assert (labels, up) == ({"session": "alpha"}, 1), labels
	ops = {l["operation"]: v for l, v in page["rnbd_client_device_operations_total"]}
	assert ops["read"] > 100 and ops["write"] > 100 and ops["discard"] == 1, ops
	(labels, reads), = page["rnbd_client_path_reads_total"]
	assert reads > 7, reads
PY

# --- a device that grows
hold "$uri_a"
size_of() {
	nbdinfo --size "$uri_a"
}
[ "$(size_of)" = 67108864 ]
for verb in resize remap; do
	truncate -s +32M "$tmp/disk"
	"$RNBD_CTL" --control "$tmp/gw.sock" export resize disk
	now=$(stat -c %s "$tmp/disk")
	[ "$(size_of)" != "$now" ] || fail "the new size was seen without $verb"
	expect 0 "for NBD clients that come from now on" device $verb disk verbose
	[ "$(size_of)" = "$now" ] || fail "the size after $verb is $(size_of), not $now"
	[ "$(rows device size)" = "$now" ]
done
expect 4 "there is no device 'nix'" device resize nix

# --- the examples of the manual page
sed -n '/^=head1 EXAMPLES/,/^=head1 FIELDS/s/^ rnbdctl client //p' \
	"$RNBD_SRCDIR/gateway/rnbdctl.8.pod" |
	sed "s/tcp:192.0.2.2/$second/; s/ > .*//" >"$tmp/examples"
[ "$(wc -l <"$tmp/examples")" -ge 3 ]
while read -r words; do
	# shellcheck disable=SC2086
	expect 0 "$([ "${words#path add}" != "$words" ] || echo .)" $words
done <"$tmp/examples"
expect 0 '' path remove "$second"

# --- completion
offers() {
	"$RNBD_CTL" __complete "$@" | xargs
}
[ "$(offers cl)" = client ]
[ "$(offers client pa)" = path ]
[ "$(offers client path re)" = "remove reconnect" ]
[ "$(offers client session policy '')" = alpha ]
[ "$(offers client session policy alpha min)" = "min-inflight min-latency" ]
[ "$(offers client device remap '')" = disk ]
[ "$(offers client path remove tcp)" = tcp:127.0.0.1@tcp:127.0.0.1 ]
[ "$(offers --sock)" = --socket ]

# --- two clients
start_nbdkit b "$RNBD_PLUGIN" sessname=beta "path=$path_gw" device_path=mem \
	"control=$tmp/clients/beta.ctl"
[ "$(rows session sessname | xargs)" = "alpha beta" ]
expect 2 'name the session .alpha, beta' path add "$second"
expect 2 'in several sessions' path disconnect tcp:127.0.0.1
expect 2 'name the session' metrics
expect 0 '^session beta: paths 1' stats show beta
expect 0 '' path add "$second" beta
[ "$("$RNBD_CTL" --socket "$tmp/clients/alpha.ctl" client session list \
	sessname,path_cnt csv noheaders)" = alpha,1 ]
[ "$(rows session sessname,path_cnt | xargs)" = "alpha,1 beta,2" ]
expect 0 '' path remove "$second" beta
expect 4 "no session 'gamma'" session show gamma
expect 4 "no session 'gamma'" path add "$second" gamma

# --- refusals, each with its code
expect 2 'does not name its fabric' path add 127.0.0.1 alpha
expect 2 'the port must be a number' path add tcp:127.0.0.1:x alpha
expect 1 'cannot resolve' path add tcp:no.such.host.invalid alpha
expect 1 'connection refused' path add "tcp:127.0.0.1:$(free_port)" alpha
expect 4 "there is no path 'tcp:192.0.2.1'" path remove tcp:192.0.2.1
expect 2 'none of round-robin' session policy alpha fastest
expect 2 'one of list, show, add, remove' path turn
expect 2 'one of list, show, policy' session nothing
expect 3 'no client answers there' --socket "$tmp/nothing" session list
(
	export RNBD_CLIENT_DIR=$tmp/nowhere
	expect 3 'no client answers there; start nbdkit' session list
)

# --- the last path goes: I/O waits for another, and sees no error
expect 0 '' path remove "$path_gw" beta
[ "$(rows session sessname,state | grep beta)" = beta,disconnected ]
nbdsh -u "$uri_a" -c 'h.pread(512, 0)'
expect 0 '' path add "$second" beta
nbdsh -u "$uri_b" -c 'h.pwrite(b"y" * 4096, 0)' -c 'assert h.pread(1, 0) == b"y"'

# --- the end of the process while a path is being added
python3 - >"$tmp/silent" <<-'PY' &
	import socket, sys, threading
	s = socket.create_server(("127.0.0.1", 0))
	print(s.getsockname()[1], flush=True)
	held = []
	while True:
	    held.append(s.accept())
	    print("came", flush=True)
PY
pids+=($!)
until_true test -s "$tmp/silent"
client path add "tcp:127.0.0.1:$(head -n 1 "$tmp/silent")" beta >"$tmp/said" 2>&1 &
adding=$!
until_true grep -q came "$tmp/silent"
begin=${EPOCHREALTIME/./}
ended() { # whether or not its parent has heard of it
	! grep -qs ') [^ZX] ' "/proc/$pid_b/stat"
}
kill "$pid_b"
until_true ended
took=$((${EPOCHREALTIME/./} - begin))
! wait "$adding" || fail "the path was added to a client that is gone"
echo "ended in $((took / 1000)) ms"
[ -n "${RNBD_SANITIZER:-}" ] || [ $took -lt 2000000 ] || fail "it took $took us to end"
[ ! -e "$tmp/clients/beta.ctl" ] || fail "the socket is left behind"
[ "$(rows session sessname)" = alpha ]
