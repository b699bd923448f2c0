#!/usr/bin/env bash
# Several devices over one session: named by the NBD client, or by a list;
# readers and a writer of one device side by side.
. "$(dirname "$0")/functions.sh"
requires nbdsh
requires nbdinfo
mkdir -p "$tmp/t/vm"
truncate -s 8M "$tmp/t/vm/a" "$tmp/t/vm/b" "$tmp/t/other"
start_gateway gw --search-path "$tmp/t" --control "$tmp/ctl" \
	--export "disk=memory:4M"

# serve NAME PARAM...: nbdkit in session NAME.
serve() {
	local name=$1
	shift
	# shellcheck disable=SC2154 # path_gw: start_gateway
	"${san_env[@]}" nbdkit -f -U "$tmp/$name.sock" -P "$tmp/$name.pid" \
		"$RNBD_PLUGIN" "sessname=$name" "path=$path_gw" "$@" \
		>"$tmp/$name.log" 2>&1 &
	pids+=($!)
	until_true test -s "$tmp/$name.pid"
}
uri() { # NAME [EXPORT]
	echo "nbd+unix:///${2:-}?socket=$tmp/$1.sock"
}
devices() { # SESSION: name and mode of what it has open, sorted
	"$RNBD_CTL" --control "$tmp/ctl" --json status | python3 -c '
import json, sys
for w in json.load(sys.stdin)["workers"]:
    for d in w["devices"]:
        if d["session"] == sys.argv[1]:
            print(d["name"], d["access_mode"])' "$1" | sort
}
is_open() { # SESSION LINES
	[ "$(devices "$1")" = "$2" ]
}

# --- named by the client
serve any export-root=vm "export-allow=[ab]"
A=$(uri any a) B=$(uri any b) nbdsh -c - <<-'EOF'
	import os
	g = nbd.NBD()
	h.connect_uri(os.environ["A"])
	g.connect_uri(os.environ["B"])
	h.pwrite(b"a" * 512, 0)
	g.pwrite(b"b" * 512, 0)
	assert h.pread(512, 0) == b"a" * 512
	assert g.pread(512, 0) == b"b" * 512
EOF
for name in a b; do
	[ "$(head -c 512 "$tmp/t/vm/$name" | tr -d "$name" | wc -c)" = 0 ] ||
		fail "$name has not its data"
done
# Closed when the last of its connections leaves.
until_true is_open any ""
for name in c "" "../other" "a/../b"; do
	if nbdinfo --size "$(uri any "$name")" >"$tmp/out" 2>&1; then
		fail "'$name' can be opened: $(cat "$tmp/out")"
	fi
done
for words in "export 'c' is not allowed by export-allow=" \
	"an NBD client has to name the device" \
	"export '../other': \"..\" is not allowed"; do
	grep -qF "$words" "$tmp/any.log" || fail "not said: $words"
done

# --- with the mode in the name: each client its own, over one session
serve modes export-modes=yes
RO="$(uri modes ro:vm/b)" RW="$(uri modes rw:vm/a)" nbdsh -c - <<-'EOF'
	import os
	h.connect_uri(os.environ["RW"])
	assert not h.is_read_only()
	h.pwrite(b"m" * 512, 0)
	g = nbd.NBD()
	g.connect_uri(os.environ["RO"])
	assert g.is_read_only()
EOF
if nbdinfo --size "$(uri modes vm/a)" >"$tmp/out" 2>&1; then
	fail "a name without a mode can be opened"
fi
grep -qF "wants ro:, rw: or migration:" "$tmp/modes.log" ||
	fail "not said that the mode is missing"

# --- a list
serve list exports=disk "exports=a=vm/a" "exports=a-ro=vm/a,ro"
nbdinfo --list --json "$(uri list)" >"$tmp/list.json"
python3 - "$tmp/list.json" <<-'EOF'
	import json, sys
	e = {x["export-name"]: x for x in json.load(open(sys.argv[1]))["exports"]}
	assert sorted(e) == ["a", "a-ro", "disk"], sorted(e)
	assert e["a-ro"]["is_read_only"] and not e["a"]["is_read_only"]
	assert e["disk"]["export-size"] == 4 << 20
EOF
# Without a name it is the first.
[ "$(nbdinfo --size "$(uri list)")" = $((4 << 20)) ] ||
	fail "the default is not the first of the list"
if nbdinfo --size "$(uri list b)" >"$tmp/out" 2>&1; then
	fail "what is not in the list can be opened"
fi

# --- readers and a writer: the mapping is as strong as it has to be
until_true is_open list ""
cat >"$tmp/side.py" <<-'EOF'
	import os
	ro, rw, tmp = (os.environ[k] for k in ("RO", "RW", "TMP"))
	def say(what):
	    open(tmp + "/" + what, "w").write("x")
	    input()
	r = nbd.NBD()
	r.connect_uri(ro)
	assert r.is_read_only()
	say("reads")
	h.connect_uri(rw)
	h.pwrite(b"w" * 4096, 4096)
	assert r.pread(4096, 4096) == b"w" * 4096
	say("writes")
	h.shutdown()
	say("left")
	assert r.pread(4096, 4096) == b"w" * 4096
	h = nbd.NBD()
	try:
	    h.connect_uri(rw)
	    h = None
	except nbd.Error:
	    pass
	assert h, "a second session writes"
	assert r.pread(4096, 4096) == b"w" * 4096
	r.shutdown()
EOF
mkfifo "$tmp/go"
RO=$(uri list a-ro) RW=$(uri list a) TMP=$tmp \
	nbdsh -c "$(cat "$tmp/side.py")" <"$tmp/go" &
client=$!
pids+=("$client")
exec 9>"$tmp/go"
until_true test -s "$tmp/reads"
is_open list "vm/a ro" || fail "reading: $(devices list)"
echo >&9
until_true test -s "$tmp/writes"
is_open list "vm/a rw" || fail "writing: $(devices list)"
echo >&9
until_true test -s "$tmp/left"
# Nobody writes any more, so another session may.
until_true is_open list "vm/a ro"
serve writer device_path=vm/a
mkfifo "$tmp/end"
nbdsh -u "$(uri writer)" -c - <<-EOF &
	h.pwrite(b"o" * 512, 0)
	open("$tmp/other_wrote", "w").write("x")
	open("$tmp/end").read()
EOF
other=$!
pids+=("$other")
until_true test -s "$tmp/other_wrote"
echo >&9
wait "$client" || fail "readers and writer"
echo >"$tmp/end"
wait "$other" || fail "another writer"
grep -q "busy: " "$tmp/list.log" || fail "the second writer is not told why"
