#!/usr/bin/env bash
# vm: time=900
# A server that is wrong in one thing at a time meets the plugin: it says so, and goes on if it can.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need nbdsh
mock=$RNBD_BUILD/tests/vm/mock-server

cat >"$tmp/client.py" <<'EOP'
import os, sys, time
# OUTCOME: what is to be seen, HOOK: where the server is wrong.
outcome, hook = os.environ["OUTCOME"], os.environ["HOOK"]
data = bytes(i * 7 % 251 for i in range(300 * 512))
def rounds():
    h.pwrite(data, 512 * 3)
    h.flush()
    assert outcome == "lives" or h.pread(len(data), 512 * 3) == data
    h.pread(512, 0)
def fails():
    start = time.monotonic()
    try:
        rounds()
    except nbd.Error as e:
        assert e.errno == "EIO", e
        return time.monotonic() - start
    sys.exit("a request succeeded that cannot")
if outcome == "error":
    fails()
    rounds()
elif outcome == "fails":
    took = fails()
    assert took < 30, took
elif outcome == "waits":
    # Twice the time after which it would fail if it did.
    done = []
    h.aio_pread(nbd.Buffer(512), 0, lambda err: done.append(1) or 1)
    end = time.monotonic() + 6
    while time.monotonic() < end and not done:
        h.poll(200)
    assert not done
    os._exit(0)
else:
    rounds()
    rounds()
EOP

start_mock() { # CASE
	rm -f "$tmp/fifo" "$tmp/mock.log"
	mkfifo "$tmp/fifo"
	port=$((port + 1))
	"$mock" "$VM_ADDR0" $port "$1" >"$tmp/fifo" 2>"$tmp/mock.log" &
	server=$!
	pids+=("$server")
	read -r -t 60 _ <"$tmp/fifo" || fail "the mock server does not listen"
}

# One case; prints what is wrong with it.
run_case() {
	local name=$1 outcome=$2 args=() rc=0 nbdkit
	[ "$4" = - ] || read -r -a args <<<"$4"
	args=("$RNBD_PLUGIN" sessname=h "path=ip:$VM_ADDR0:$port"
		device_path=disk connections=3 reconnect-delay=0.05
		io-timeout=3 connect-timeout=2 open-timeout=4 "${args[@]}")
	rm -f "$tmp/n.log" "$tmp/n.sock"
	if [ "$outcome" = refused ]; then
		timeout 60 "${san_env[@]}" nbdkit -U - "${args[@]}" --run true \
			>"$tmp/n.log" 2>&1 || rc=$?
		[ $rc != 0 ] || echo "it started"
		[ $rc -lt 124 ] || echo "nbdkit ended with $rc"
	else
		"${san_env[@]}" nbdkit -f -U "$tmp/n.sock" "${args[@]}" \
			preflight=no >"$tmp/n.log" 2>&1 &
		nbdkit=$!
		pids+=("$nbdkit")
		until_true test -S "$tmp/n.sock"
		OUTCOME=$outcome HOOK=$3 timeout 60 nbdsh \
			-u "nbd+unix:///?socket=$tmp/n.sock" \
			-c "exec(open('$tmp/client.py').read())" \
			>"$tmp/client.log" 2>&1 || {
			echo "the NBD client ended with $?"
			tail -n 3 "$tmp/client.log"
		}
		kill $nbdkit 2>/dev/null || echo "nbdkit was gone"
		timeout 40 tail --pid=$nbdkit -f /dev/null ||
			echo "nbdkit does not end"
		kill -KILL $nbdkit 2>/dev/null || :
		wait $nbdkit || echo "nbdkit ended with $?"
	fi
	[ "$5" = - ] || grep -qE "$5" "$tmp/n.log" ||
		echo "no line '$5' in the log"
	# What the client did had rules to keep, too.
	! grep -q malformed "$tmp/mock.log" || cat "$tmp/mock.log"
}

port=5000 n=0 bad=0
while IFS=$'\t' read -r name outcome hook args complaint; do
	# shellcheck disable=SC2254  # a pattern is meant
	case " ${VM_ARG_CASES:-$name} " in
	*" $name "*) ;;
	*) continue ;;
	esac
	start_mock "$name"
	n=$((n + 1)) start=${EPOCHREALTIME/./}
	run_case "$name" "$outcome" "$hook" "$args" "$complaint" </dev/null \
		>"$tmp/verdict" 2>&1
	stop $server || echo "the mock server ended with $?" >>"$tmp/verdict"
	took=$(((${EPOCHREALTIME/./} - start) / 1000))
	if [ ! -s "$tmp/verdict" ]; then
		echo "ok $n - $name # $took ms"
		continue
	fi
	bad=$((bad + 1))
	echo "not ok $n - $name # $took ms"
	sed 's/^/#   /' "$tmp/verdict"
	tail -n 8 "$tmp/n.log" | sed 's/^/# log: /'
done < <("$mock" --list)
echo "1..$n"
[ $bad = 0 ] || fail "$bad of $n cases"
