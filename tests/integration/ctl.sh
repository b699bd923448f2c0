#!/usr/bin/env bash
# rnbdctl against a living daemon with real sessions: what it lists, closes,
# adds and removes, while verified load runs on two sessions and sees nothing
# of it but, where a device is taken away, that it has to open it again.
. "$(dirname "$0")/functions.sh"
requires fio
requires nbdsh
sock=$tmp/control
truncate -s 64M "$tmp/disk"
start_pair "disk=file:$tmp/disk" --export mem=memory:32M --control "$sock"
start_nbdkit a "$RNBD_PLUGIN" sessname=alpha "path=$path_gw" device_path=disk \
	reconnect-delay=0.1 io-timeout=60
start_nbdkit b "$RNBD_PLUGIN" sessname=beta "path=$path_gw" device_path=mem \
	reconnect-delay=0.1 io-timeout=60

ctl() {
	"$RNBD_CTL" --control "$sock" "$@"
}
# expect CODE PATTERN WORDS...: its exit code and what it says; "": nothing.
expect() {
	local code=$1 pattern=$2 rc=0
	shift 2
	ctl "$@" >"$tmp/said" 2>&1 || rc=$?
	[ $rc = "$code" ] || fail "rnbdctl $*: exit code $rc, not $code: $(cat "$tmp/said")"
	if [ -z "$pattern" ]; then
		[ ! -s "$tmp/said" ] || fail "rnbdctl $*: says $(cat "$tmp/said")"
		return
	fi
	grep -qE -- "$pattern" "$tmp/said" ||
		fail "rnbdctl $*: '$pattern' is not in: $(cat "$tmp/said")"
}

load() { # uri
	fio --name=v --ioengine=nbd --uri="$1" --rw=randrw --bsrange=512-64k \
		--iodepth=8 --size=16m --verify=crc32c --verify_fatal=1 \
		--do_verify=1 --verify_backlog=128 --time_based --runtime=300 \
		--status-interval=1 --minimal >"$2" 2>&1 &
	load=$!
	pids+=("$load")
	until_true test -s "$2"
}
load "$uri_a" "$tmp/fio.a"
fio_a=$load
load "$uri_b" "$tmp/fio.b"
fio_b=$load

# --- what there is
[ "$(ctl session list sessname csv noheaders | sort | xargs)" = "alpha beta" ]
[ "$(ctl server devices list sessname,mapping_path,access_mode csv noheaders | sort | xargs)" = \
	"alpha,disk,rw beta,mem,rw" ]
expect 0 '^ *tcp:127.0.0.1@tcp:127.0.0.1 CONNECTED' sess l
expect 0 '<session sessname="alpha" path_cnt="1"' session list xml
expect 0 '^Mapping Path +disk$' device show disk
expect 0 '^  "sessname": "alpha",' session show alpha json
expect 0 'under way' status
expect 0 '^write ' stats
expect 0 '^alpha +disk ' top -n 2 -d 0.2
# stats/rdma has its four numbers, and they are those of the columns.
ctl --json path list alpha >"$tmp/paths"
python3 - "$tmp/paths" <<'PY'
import json, sys
p, = json.load(open(sys.argv[1]))
rd, rd_bytes, wr, wr_bytes = map(int, p["rdma"].split())
assert rd > 0 and wr > 0, p
assert (rd_bytes, wr_bytes) == (p["rx_bytes"], p["tx_bytes"]), p
assert p["pathname"] == p["src_addr"] + "@" + p["dst_addr"], p
PY

# --- refusals, each with its code
expect 2 'one of list, show, close, disconnect' session
expect 2 'one of' s
expect 2 'no field of a session' session list nothing,at,all
expect 2 'too many' session list nothing
expect 2 'is not for this command' status --csv
expect 4 "no session 'gamma'" session show gamma
expect 4 "no session 'gamma'" session close gamma
expect 4 "no open device 'nix'" device close nix
expect 4 "no path 'tcp:192.0.2.1'" path disconnect tcp:192.0.2.1
expect 1 'name the session' path disconnect tcp:127.0.0.1
expect 1 "one of that name" export add mem=memory:1M
expect 4 "none of that name" export remove nix
expect 2 'give error, warning' log-level loud
expect 3 'no client answers there' --control "$tmp/nothing" client session list
expect 3 'is rnbd-gatewayd running' --control "$tmp/nothing" status

expect 2 'a directory; name the socket in it' --control "$tmp" status
expect 2 'no socket; name the socket' --control "$tmp/disk" status
expect 2 'leave out the word .client.' --socket "$sock" client session list

# --- disconnecting: the clients come back, and their load sees no error
up() { # session
	[ "$(ctl session list sessname,state csv noheaders | grep -c "^$1,connected")" = 1 ]
}
opened() { # session, how often so far
	[ "$(grep -c "session '$1': opened" "$tmp/gw.log")" -gt "$2" ]
}
for verb in "session close alpha" "session disconnect alpha" \
	"path disconnect tcp:127.0.0.1@tcp:127.0.0.1 alpha"; do
	n=$(grep -c "session 'alpha': opened" "$tmp/gw.log")
	# shellcheck disable=SC2086
	expect 0 'disconnected' $verb verbose
	until_true opened alpha "$n"
	until_true up alpha
done
kill -0 "$fio_a" || fail "the load saw that its session was closed"
wait_log "$tmp/gw.log" "control: session.close '.*alpha.*' by uid $(id -u), pid [0-9]+: done"

# --- a device taken away: opened again by the client, as by the kernel's
n=$(grep -c "session 'beta': opened" "$tmp/gw.log")
expect 0 'closed for session beta' device close mem beta verbose
until_true opened beta "$n"
kill -0 "$fio_b" || fail "the load saw that its device was closed"

# --- exports
expect 0 'offered, 8.0M' export add extra=memory:8M verbose
start_nbdkit c "$RNBD_PLUGIN" sessname=gamma "path=$path_gw" device_path=extra \
	io-timeout=1
[ "$(nbdinfo --size "$uri_c")" = 8388608 ]
expect 0 'iops 50' export limits extra iops=50 verbose
expect 0 '"iops": 50' export list json
expect 2 'give iops=N' export limits extra speed=1
# Larger: those who open it from now on see it.
expect 0 '16.0M, for clients' export resize extra 16M verbose
grown() {
	[ "$(nbdinfo --size "$uri_c")" = 16777216 ]
}
until_true grown
expect 2 '.' export resize extra 1M
expect 2 'K, M, G or T' export resize extra much
truncate -s 96M "$tmp/disk"
expect 0 '96.0M, for clients' export resize disk verbose
expect 4 'none of that name' export resize nix 1M
expect 0 '^rules 0; held by 1 address: sessions 3, ' access stats
hold "$uri_c"
expect 0 'offered no more' export remove extra verbose
no_device() {
	! ctl device list mapping_path csv noheaders | grep -q extra
}
until_true no_device
expect 0 '' log-level debug
expect 0 '^debug$' log-level
expect 0 '' log-level info

# --- reading the configuration again; this daemon has none, another one has
expect 1 'what was in force stays' reload
cat >"$tmp/gw.conf" <<-'EOC'
	[export]
	name = one
	backend = memory:1M
EOC
start_gateway conf --config "$tmp/gw.conf" --control "$tmp/conf.sock"
printf '[export]\nname = two\nbackend = memory:2M\n' >>"$tmp/gw.conf"
expect 0 'was read again' --control "$tmp/conf.sock" reload verbose
expect 0 '^two,2097152$' --control "$tmp/conf.sock" export list name,size csv
# What it did not take over is told here too.
printf '[gateway]\nworkers = 77\nqueue-depth = 64\n' >>"$tmp/gw.conf"
expect 0 'warning: .* restart, .*: queue-depth, workers$' --control "$tmp/conf.sock" reload
echo 'colour = green' >>"$tmp/gw.conf"
expect 1 'gw.conf:10: colour' --control "$tmp/conf.sock" reload
expect 0 '^two,2097152$' --control "$tmp/conf.sock" export list name,size csv
expect 0 '' --control "$tmp/conf.sock" drain wait
wait "$pid_conf" || fail "told to drain, it ended with $?"

# --- reset: paths begin at zero
ctl stats reset
python3 - "$(ctl --json stats)" <<'PY'
import json, sys
s = json.loads(sys.argv[1])
assert s["since_s"] <= 5 and s["opens"] == 0, s
PY

# --- abuse, while the load goes on
python3 - "$sock" <<'PY'
import json, os, random, socket, sys, threading

path = sys.argv[1]
r = random.Random(11)

def dial():
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    s.settimeout(30)
    return s

def line(s):
    data = b""
    while not data.endswith(b"\n"):
        part = s.recv(65536)
        if not part:
            break
        data += part
    return data

def ask(data):
    s = dial()
    try:
        s.sendall(data)
    except OSError:
        pass
    ans = line(s)
    s.close()
    return ans

def call(method, **params):
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method,
                       "params": params}).encode() + b"\n"

def code(ans):
    return json.loads(ans)["error"]["code"]

status = call("status")
# Lines: too long, not UTF-8, nested, cut.
assert code(ask(b"x" * 70000)) == -32600
assert code(ask(b"\xff\xfe\n")) == -32700
assert code(ask(b"[" * 60000 + b"\n")) == -32700
assert code(ask(call("session.show", session="\ud800".encode(
    "utf-8", "surrogatepass").decode("latin-1")))) == -32001
assert code(ask(b'{"jsonrpc":"2.0","method":"session.show","id":1,'
                b'"params":{"session":"\xc3("}}\n')) == -32700
for n in range(0, len(status), 7):
    s = dial()
    s.sendall(status[:n])
    s.close()
# Answers that nobody waits for, or reads half of.
for i in range(100):
    s = dial()
    s.sendall(status * r.randrange(1, 40))
    if i % 2:
        s.recv(r.randrange(1, 200))
    s.close()
# More clients than there is room for: told so, and room again afterwards.
held = [dial() for _ in range(16)]
for s in held:
    s.sendall(call("version"))
    assert b"result" in line(s)
assert code(line(dial())) == -32000
for s in held:
    s.close()
# Many at once, each with a batch that waits for the workers.
def batch():
    for _ in range(10):
        ans = json.loads(ask(b"[" + b",".join([status.strip()] * 8) + b"]\n"))
        if isinstance(ans, dict):
            assert ans["error"]["code"] == -32000, ans
            continue
        assert len(ans) == 8 and all("result" in a for a in ans)
threads = [threading.Thread(target=batch) for _ in range(24)]
for t in threads:
    t.start()
for t in threads:
    t.join()
# Random bytes, of JSON's alphabet.
for _ in range(300):
    s = dial()
    s.sendall(bytes(r.choices(b'{}[]":,\\ut0123e-.nl \n', k=r.randrange(1, 500))))
    s.close()
assert b"result" in ask(call("version"))
PY
kill -0 "$fio_a" || fail "the load on alpha ended: $(tail -n 3 "$tmp/fio.a")"
kill -0 "$fio_b" || fail "the load on beta ended: $(tail -n 3 "$tmp/fio.b")"

# --- completion, by bash itself
cat >"$tmp/complete.bash" <<'EOS'
. "$RNBD_SRCDIR/config/completion/rnbdctl.bash"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_rnbdctl
printf '%s\n' "${COMPREPLY[@]}"
EOS
offers() { # words, the last one begun; prints what is offered
	bash "$tmp/complete.bash" "$RNBD_CTL" --control "$sock" "$@" | sort | xargs
}
[ "$(offers sess)" = session ]
[ "$(offers session '')" = "close disconnect list show" ]
[[ $(offers session show '') == *alpha*beta* ]]
[ "$(offers export remove m)" = mem ]
[ "$(offers log-level d)" = debug ]
[ "$(offers session list noh)" = noheaders ]
[ "$(offers device list mapp)" = mapping_path ]
[ "$(offers --js)" = --json ]
[ "$(offers nonsense '')" = "" ]

# --- the examples of the manual page do what they say; the last one ends it.
# Those of clients are run by client-control.
sed -n '/^=head1 EXAMPLES/,/^=head1 FIELDS/s/^ rnbdctl //p' \
	"$RNBD_SRCDIR/gateway/rnbdctl.8.pod" | grep -v '^client ' >"$tmp/examples"
[ "$(wc -l <"$tmp/examples")" -ge 5 ]
kill "$fio_a" "$fio_b"
wait "$fio_a" "$fio_b" || :
while read -r words; do
	# shellcheck disable=SC2086
	ctl $words >"$tmp/said" 2>&1 </dev/null ||
		fail "rnbdctl $words: $(cat "$tmp/said")"
done <"$tmp/examples"
wait "$pid_gw" || fail "drained, it ended with $?"
