# shellcheck shell=bash
# Sourced by every integration test.
#
# Everything lives in $tmp and on loopback; every process that is started is
# ended by its pid when the test ends, whatever way it ends. Tests wait for
# events (a line, a pid file, the end of a process), never for a time.
set -euo pipefail

# Debian's own python3 has the module nbd.
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
# shellcheck source=tests/programs.sh
. "$(dirname "${BASH_SOURCE[0]}")/../programs.sh"
at_most "${takes:-0}" "$@"
# Guests have scenarios that need none of ours.
[ -n "${VM_SCENARIO:-}" ] || built "$RNBD_GATEWAYD" "$RNBD_CTL" "$RNBD_PLUGIN"

# Started by hand it may be a relative name, and this goes elsewhere.
BASH_ARGV0=$(realpath "$0")
tmp=$(mktemp -d "${TMPDIR:-/tmp}/rnbd-test.XXXXXX")
# fio and others leave files where they stand.
cd "$tmp"
pids=()
at_exit=() # functions, called when everything is ended

cleanup() {
	local rc=$? pid f cmd
	trap - EXIT
	set +e
	for pid in "${pids[@]}"; do
		kill -CONT "$pid" 2>/dev/null
		kill "$pid" 2>/dev/null
	done
	for f in "$tmp"/*.pid; do
		[ -s "$f" ] && kill "$(cat "$f")" 2>/dev/null
	done
	for pid in "${pids[@]}"; do
		wait "$pid" 2>/dev/null
	done
	if [ $rc -ne 0 ] && [ $rc -ne 77 ]; then
		for f in "$tmp"/*.log; do
			[ -s "$f" ] && echo "--- ${f##*/}" && tail -n 40 "$f"
		done
	fi
	if ! sanitizer_findings; then
		rc=1
	fi
	for cmd in "${at_exit[@]}"; do
		$cmd
	done
	rm -rf "$tmp"
	exit $rc
}
trap cleanup EXIT

fail() {
	echo "FAIL: $*" >&2
	exit 1
}

# A skip is said, and counted.
skip() {
	echo "skip: $*"
	exit 77
}

requires() {
	command -v "$1" >/dev/null || fail "needs the program $1"
}

# Reports of ASan, UBSan and TSan that a killed or daemonised process left.
sanitizer_findings() {
	local f found=0
	for f in "$tmp"/san.*; do
		[ -s "$f" ] || continue
		echo "--- sanitizer: ${f##*/}" >&2
		head -n 60 "$f" >&2
		found=1
	done
	return $found
}

# The plugin of a sanitized build needs the runtime in nbdkit itself.
san_env=()
case ${RNBD_SANITIZER:-} in
asan)
	export ASAN_OPTIONS="${ASAN_OPTIONS:-}:log_path=$tmp/san:detect_leaks=0"
	export UBSAN_OPTIONS="${UBSAN_OPTIONS:-}:log_path=$tmp/san"
	san_env=(env "LD_PRELOAD=$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so) ${RNBD_EXIT_SHIM:?}")
	;;
tsan)
	export TSAN_OPTIONS="${TSAN_OPTIONS:-}:log_path=$tmp/san:suppressions=$RNBD_SRCDIR/tests/integration/tsan.supp"
	san_env=(env "LD_PRELOAD=$(gcc -print-file-name=libtsan.so) ${RNBD_EXIT_SHIM:?}")
	;;
esac

# until_true COMMAND...: waits for an event that nobody announces.
until_true() {
	local n=0
	until "$@"; do
		n=$((n + 1))
		[ $n -lt 3000 ] || fail "waited in vain: $*"
		sleep 0.02
	done
}

# start_gateway NAME OPTIONS...: starts a daemon on a port of its own choice,
# or on $gateway_listen, and waits until it listens. Sets path_NAME (for
# path=), pid_NAME; its stderr is NAME.log.
start_gateway() {
	local name=$1 line fifo=$tmp/listening.$1
	shift
	rm -f "$fifo"
	mkfifo "$fifo"
	"$RNBD_GATEWAYD" --foreground \
		--listen "${gateway_listen:-tcp:127.0.0.1:0}" "$@" \
		>"$fifo" 2>>"$tmp/$name.log" &
	pids+=($!)
	declare -g "pid_$name=$!"
	read -r -t 60 line <"$fifo" || fail "gateway $name did not come up"
	declare -g "path_$name=${line#listening on }"
}

# End a daemon (or anything started by this shell) and give its exit code.
stop() {
	kill "-${2:-TERM}" "$1" 2>/dev/null || :
	wait "$1"
}

launch_nbdkit() {
	local name=$1
	shift
	rm -f "$tmp/$name.pid"
	"${san_env[@]}" nbdkit -P "$tmp/$name.pid" "$@" \
		>>"$tmp/$name.log" 2>&1 || return
	until_true test -s "$tmp/$name.pid"
}

# start_nbdkit NAME ARGS...: an nbdkit in the background that is ready when
# this returns. Serves unix socket $tmp/NAME.sock, or what ARGS say. Sets
# uri_NAME, sock_NAME and pid_NAME.
start_nbdkit() {
	local name=$1
	shift
	rm -f "$tmp/$name.sock"
	launch_nbdkit "$name" -U "$tmp/$name.sock" "$@" || return
	declare -g "pid_$name=$(cat "$tmp/$name.pid")"
	declare -g "sock_$name=$tmp/$name.sock"
	declare -g "uri_$name=nbd+unix:///?socket=$tmp/$name.sock"
}

# The same on TCP.
start_nbdkit_tcp() {
	local name=$1 port
	shift
	port=$(free_port)
	launch_nbdkit "$name" -i 127.0.0.1 -p "$port" "$@" || return
	declare -g "pid_$name=$(cat "$tmp/$name.pid")"
	declare -g "uri_$name=nbd://127.0.0.1:$port"
}

# nbdkit --run: $1 is the command, the rest are arguments.
run_nbdkit() {
	local cmd=$1
	shift
	"${san_env[@]}" nbdkit -U - "$@" --run "unset LD_PRELOAD; $cmd"
}

free_port() {
	python3 - <<-'EOF'
		import socket
		s = socket.socket()
		s.bind(("127.0.0.1", 0))
		print(s.getsockname()[1])
	EOF
}

# wait_gone PID: until a process that is not ours to wait() for has ended.
wait_gone() {
	timeout 60 tail --pid="$1" -f /dev/null || fail "process $1 does not end"
}

# wait_log FILE PATTERN: until the line is there.
wait_log() {
	timeout 60 grep -qEm1 "$2" <(tail -n +1 -F "$1" 2>/dev/null) ||
		fail "no line '$2' in ${1##*/}"
}

# random_file NAME MIB: dense, not compressible, the same each time.
random_file() {
	python3 - "$2" >"$tmp/$1" <<-'EOF'
		import random, sys
		r = random.Random(int(sys.argv[1]))
		for _ in range(int(sys.argv[1])):
		    sys.stdout.buffer.write(r.randbytes(1 << 20))
	EOF
}

# An NBD client that keeps its connection until this test ends.
hold() { # uri
	rm -f "$tmp/held"
	nbdsh -u "$1" -c "open('$tmp/held', 'w').write('x')" \
		-c 'import threading; threading.Event().wait()' &
	pids+=($!)
	until_true test -s "$tmp/held"
}

# sparse_file NAME MIB: islands of data in a sea of holes.
sparse_file() {
	python3 - "$tmp/$1" "$2" <<-'EOF'
		import random, sys
		name, size = sys.argv[1], int(sys.argv[2]) << 20
		r = random.Random(7)
		with open(name, "wb") as f:
		    f.truncate(size)
		    for _ in range(40):
		        n = r.choice([512, 4096, 65536, 1 << 20])
		        f.seek(r.randrange(0, size - n) // 512 * 512)
		        f.write(r.randbytes(n))
	EOF
}

# The usual pair: one daemon with export "disk", and the plugin's arguments
# for it in $plugin_args.
start_pair() {
	start_gateway gw --export "$1" "${@:2}"
	plugin_args=("$RNBD_PLUGIN" "sessname=${0##*/}-$$" "path=$path_gw"
		device_path=disk)
	plugin_args[1]=${plugin_args[1]//./-}
}
