#!/usr/bin/env bash
# vm: time=900
# A server that is wrong in one thing at a time meets the plugin: it says so, and
# goes on if it can. Every case on 6.12, each fourth one on 6.1.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need nbdsh
mock=$RNBD_BUILD/tests/vm/mock-server

cat >"$tmp/client.py" <<'EOP'
import os, sys, time
outcome = os.environ["OUTCOME"]  # what is to be seen
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
    assert took < 60, took
else:
    rounds()
    rounds()
EOP

# What follows runs in subshells, each in a directory of its own.
start_mock() { # CASE PORT
	mkfifo fifo
	"$mock" "$VM_ADDR0" "$2" "$1" >fifo 2>mock.log &
	server=$!
	read -r -t 60 _ <fifo || fail "the mock server does not listen"
}

# It has to refuse to start.
run_refused() {
	local rc=0
	timeout 150 "${san_env[@]}" nbdkit -U - "$@" --run true >n.log 2>&1 ||
		rc=$?
	[ $rc != 0 ] || echo "it started"
	[ $rc -lt 124 ] || echo "nbdkit ended with $rc"
}

run_client() { # OUTCOME ARGS...
	local outcome=$1 nbdkit
	shift
	"${san_env[@]}" nbdkit -f -U "$PWD/sock" "$@" preflight=no >n.log 2>&1 &
	nbdkit=$!
	until_true test -S sock
	OUTCOME=$outcome timeout 150 nbdsh -u "nbd+unix:///?socket=$PWD/sock" \
		-c "exec(open('$tmp/client.py').read())" >client.log 2>&1 || {
		echo "the NBD client ended with $?"
		tail -n 3 client.log
	}
	kill $nbdkit 2>/dev/null || echo "nbdkit was gone"
	timeout 100 tail --pid=$nbdkit -f /dev/null || {
		echo "nbdkit does not end"
		kill -KILL $nbdkit
	}
	wait $nbdkit || echo "nbdkit ended with $?"
}

# Prints what is wrong with the case, and nothing else.
run_case() { # NAME OUTCOME ARGS COMPLAINT PORT
	local args=()
	[ "$3" = - ] || read -r -a args <<<"$3"
	# Short patience where patience is the case; elsewhere an emulated machine
	# that takes its time must not end it.
	case $2:$4 in
	refused:*"did not answer"*) args+=(connect-timeout=4 open-timeout=20) ;;
	refused:*) args+=(connect-timeout=20 open-timeout=20) ;;
	*) args+=(connect-timeout=30 open-timeout=60) ;;
	esac
	case $2 in
	fails) args+=(io-timeout=3) ;;
	*) args+=(io-timeout=60) ;;
	esac
	args=("$RNBD_PLUGIN" sessname=h "path=ip:$VM_ADDR0:$5"
		device_path=disk connections=3 reconnect-delay=0.05 "${args[@]}")
	start_mock "$1" "$5"
	if [ "$2" = refused ]; then
		run_refused "${args[@]}"
	else
		run_client "$2" "${args[@]}"
	fi
	[ "$4" = - ] || grep -qE "$4" n.log || echo "no line '$4' in the log"
	# What the client said had rules to keep, too.
	! grep malformed mock.log || :
	stop $server || echo "the mock server ended with $?"
}

report() { # N NAME
	local n=$1 took
	wait "${jobs[n]}" || echo "the case ended with $?" >>"$tmp/$n/verdict"
	took=$(cat "$tmp/$n/took" || :)
	if [ ! -s "$tmp/$n/verdict" ]; then
		echo "ok $n - $2 # $took ms"
		return
	fi
	bad=$((bad + 1))
	echo "not ok $n - $2 # $took ms"
	sed 's/^/#   /' "$tmp/$n/verdict"
	tail -n 8 "$tmp/$n/n.log" | sed 's/^/# log: /'
}

# Most of a case is waiting: some run at a time.
at_once=4 n=0 all=0 bad=0 jobs=() names=()
while IFS=$'\t' read -r name outcome _ args complaint; do
	case " ${VM_ARG_CASES:-$name} " in
	*" $name "*) ;;
	*) continue ;;
	esac
	# The plugin and the mock server are the same on every kernel: what
	# differs is soft-RoCE, for which some cases are enough.
	all=$((all + 1))
	[ "$VM_RELEASE" = 6.12 ] || [ -n "${VM_ARG_CASES:-}" ] ||
		[ $((all % 4)) = 1 ] || continue
	n=$((n + 1))
	names[n]=$name
	mkdir "$tmp/$n"
	(
		cd "$tmp/$n"
		start=${EPOCHREALTIME/./}
		run_case "$name" "$outcome" "$args" "$complaint" \
			$((5000 + n)) </dev/null >verdict 2>&1
		echo $(((${EPOCHREALTIME/./} - start) / 1000)) >took
	) &
	jobs[n]=$!
	[ $n -le $at_once ] || report $((n - at_once)) "${names[n - at_once]}"
done < <("$mock" --list)
for ((i = n > at_once ? n - at_once + 1 : 1; i <= n; i++)); do
	report $i "${names[i]}"
done
echo "1..$n"
[ $bad = 0 ] && [ $n != 0 ] || fail "$bad of $n cases"
