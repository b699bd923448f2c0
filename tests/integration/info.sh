#!/usr/bin/env bash
# nbdinfo sees the disk as it is, over a unix socket and over TCP.
. "$(dirname "$0")/functions.sh"
requires nbdinfo
random_file disk 8
start_pair "disk=file:$tmp/disk"

check() {
	nbdinfo --json "$1" >"$tmp/info"
	python3 - "$tmp/info" <<-'EOF'
		import json, sys
		e = json.load(open(sys.argv[1]))["exports"][0]
		want = {"export-size": 8 << 20, "is_read_only": False,
		        "can_flush": True, "can_fua": True, "can_multi_conn": True,
		        "can_trim": True, "can_zero": True, "is_rotational": False}
		bad = {k: e.get(k) for k, v in want.items() if e.get(k) != v}
		sys.exit(f"nbdinfo differs: {bad}" if bad else 0)
	EOF
}
start_nbdkit n "${plugin_args[@]}"
check "$uri_n"
kill "$pid_n"
wait_gone "$pid_n"
start_nbdkit_tcp t "${plugin_args[@]}"
check "$uri_t"

nbdkit "$RNBD_PLUGIN" --dump-plugin >"$tmp/dump" 2>/dev/null ||
	"${san_env[@]}" nbdkit "$RNBD_PLUGIN" --dump-plugin >"$tmp/dump"
grep -q '^name=rnbd$' "$tmp/dump"
grep -q '^max_thread_model=parallel$' "$tmp/dump"
grep -q '^errno_is_preserved=1$' "$tmp/dump"
