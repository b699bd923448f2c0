#!/usr/bin/env bash
# Read-only from either side: nothing is written, and it is said.
. "$(dirname "$0")/functions.sh"
requires nbdsh
random_file disk 4
cp "$tmp/disk" "$tmp/before"
start_pair "disk=file:$tmp/disk" --export "ro=file:$tmp/disk,ro"
args=("${plugin_args[@]}")

try() {
	nbdsh -u "$1" -c - <<-'EOF'
		assert h.is_read_only()
		assert len(h.pread(4096, 0)) == 4096
		h.set_strict_mode(0)
		for f in (lambda: h.pwrite(b"x" * 512, 0), lambda: h.zero(512, 0),
		          lambda: h.trim(512, 0)):
		    try:
		        f()
		        raise SystemExit("a write to a read-only disk went through")
		    except nbd.Error as e:
		        assert e.errnum in (1, 22, 30), e
	EOF
}
start_nbdkit a "${args[@]}" access_mode=ro
try "$uri_a"
args[1]+=b
start_nbdkit b -r "${args[@]}"
try "$uri_b"
args[1]+=c
args[3]=device_path=ro
start_nbdkit c "${args[@]}" access_mode=ro
try "$uri_c"
cmp "$tmp/disk" "$tmp/before"

args[1]+=d
# A read-only export opened for writing: refused in words.
if run_nbdkit true "${args[@]}" access_mode=rw 2>"$tmp/err"; then
	fail "a read-only export was opened for writing"
fi
grep -q 'read-only' "$tmp/err" || { cat "$tmp/err"; fail "no word of read-only"; }
# With -r alone too: nbdkit(1) tells of it after the check at the start, which
# access_mode=ro, or no check, lets pass.
if run_nbdkit true -r "${args[@]}" 2>"$tmp/err"; then
	fail "the manual says that -r alone is refused"
fi
grep -q 'read-only' "$tmp/err" || { cat "$tmp/err"; fail "no word of read-only"; }
start_nbdkit d -r "${args[@]}" preflight=no
try "$uri_d"
