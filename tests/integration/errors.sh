#!/usr/bin/env bash
# Bad input gets one clear line that names the object and the cause, and the
# right exit code.
. "$(dirname "$0")/functions.sh"
requires nbdkit
random_file disk 4
mkdir "$tmp/root" "$tmp/root/sub" "$tmp/outside"
truncate -s 4M "$tmp/root/ok" "$tmp/outside/secret"
ln -s ../outside/secret "$tmp/root/leak"
ln -s ok "$tmp/root/inside"
mkfifo "$tmp/root/fifo"
start_gateway gw --export "disk=file:$tmp/disk" --search-path "$tmp/root" \
	--pid-file "$tmp/gw.pid"
bad=0

# gateway CODE PATTERN ARGS...
gateway() {
	local want=$1 pattern=$2 rc=0
	shift 2
	timeout 30 "$RNBD_GATEWAYD" --foreground "$@" >"$tmp/out" 2>&1 || rc=$?
	if [ $rc != "$want" ] || ! grep -Eq "$pattern" "$tmp/out" ||
		[ "$(wc -l <"$tmp/out")" -gt 2 ]; then
		echo "rnbd-gatewayd $*: exit code $rc (want $want), said:"
		cat "$tmp/out"
		bad=1
	fi
}
L=(--listen tcp:127.0.0.1:0 --export m=memory:1M)
gateway 2 "nosuch" --nosuch
gateway 1 "listen ip:127.0.0.1.*RDMA" --listen ip:127.0.0.1 --export m=memory:1M
gateway 2 "listen.*99999" --listen tcp:127.0.0.1:99999
gateway 2 "listen.*carrier-pigeon" --listen carrier-pigeon:x
gateway 2 "export.*NAME=SPEC|NAME=SPEC" "${L[@]}" --export disk
gateway 2 "memory.*lots|lots" "${L[@]}" --export n=memory:lots
gateway 1 "$tmp/nosuch.*No such file" "${L[@]}" --export "d=file:$tmp/nosuch"
gateway 1 "$tmp/outside.*(block device|regular file)" "${L[@]}" --export "d=$tmp/outside"
gateway 2 "queue-depth.*0" "${L[@]}" --queue-depth 0
gateway 2 "chunk-size.*power of two" "${L[@]}" --chunk-size 100000
gateway 2 "chunk-size|queue-depth" "${L[@]}" --queue-depth 4096 --chunk-size 1M
gateway 2 "workers.*-1" "${L[@]}" --workers -1
gateway 2 "log-level.*loud" "${L[@]}" --log-level loud
gateway 1 "search-path|$tmp/nosuch" "${L[@]}" --search-path "$tmp/nosuch"
# What a retry could mend is no mistake of the configuration.
: >"$tmp/empty"
gateway 1 "'$tmp/empty' is empty" "${L[@]}" --export "d=$tmp/empty"
gateway 2 "'$tmp/empty' is empty" "${L[@]}" --export "d=$tmp/empty" --check-config
gateway 1 "nosuchhost.invalid" --listen tcp:nosuchhost.invalid --export m=memory:1M
gateway 2 "cannot resolve '1.2.3.4.5'" --listen tcp:1.2.3.4.5 --export m=memory:1M
gateway 1 "RDMA device" --listen dev:nosuch --export m=memory:1M
gateway 2 "'roo' behind memory:1M: known are ro" --export m=memory:1M,roo
cp "$tmp/disk" "$tmp/disk.copy"
gateway 2 "pid-file $tmp/disk: .*more than a process id" "${L[@]}" --export "d=$tmp/disk" --pid-file "$tmp/disk"
cmp "$tmp/disk" "$tmp/disk.copy" || bad=1
gateway 2 "pid-file $tmp/root: .*no regular file" "${L[@]}" --pid-file "$tmp/root" --check-config
gateway 1 "pid-file $tmp/gw.pid: process $pid_gw runs" "${L[@]}" --pid-file "$tmp/gw.pid"
[ "$(cat "$tmp/gw.pid")" = "$pid_gw" ] || bad=1
gateway 1 "in use" --listen "$path_gw" --export m=memory:1M
gateway 1 "$tmp/no/such/dir" "${L[@]}" --control "$tmp/no/such/dir/sock"

# plugin PATTERN ARGS...: nbdkit must not start.
plugin() {
	local pattern=$1
	shift
	if timeout 60 "${san_env[@]}" nbdkit -U - "$RNBD_PLUGIN" "$@" \
		--run true >"$tmp/out" 2>&1; then
		echo "nbdkit rnbd $*: started"
		bad=1
	elif ! grep -Eq "$pattern" "$tmp/out"; then
		echo "nbdkit rnbd $*: wants /$pattern/, said:"
		cat "$tmp/out"
		bad=1
	fi
}
P=("path=$path_gw")
plugin "sessname" "${P[@]}" device_path=disk
plugin "path=" sessname=s device_path=disk
plugin "device_path=.*exports=.*give one" sessname=s "${P[@]}" device_path=disk exports=disk
plugin "leave out device_path=" sessname=s "${P[@]}" device_path=disk "export-allow=*"
plugin "exports=.*given twice" sessname=s "${P[@]}" exports=disk exports=disk,ro
plugin "no such export 'nosuch'" sessname=s "${P[@]}" exports=disk exports=nosuch
plugin "sessname.*('/'|'\.'|\"/\")" sessname=a.b "${P[@]}" device_path=disk
plugin "sessname.*('/'|'\.'|\"/\")" sessname=a/b "${P[@]}" device_path=disk
plugin "sessname.*254" "sessname=$(printf 'x%.0s' {1..255})" "${P[@]}" device_path=disk
plugin "device_path.*254" sessname=s "${P[@]}" "device_path=$(printf 'x%.0s' {1..255})"
plugin "access_mode.*(ro.*rw.*migration)" sessname=s "${P[@]}" device_path=disk access_mode=x
plugin "dest_port.*70000" sessname=s "${P[@]}" device_path=disk dest_port=70000
plugin "connections" sessname=s "${P[@]}" device_path=disk connections=0
plugin "io-timeout" sessname=s "${P[@]}" device_path=disk io-timeout=soon
plugin "nosuchkey" sessname=s "${P[@]}" device_path=disk nosuchkey=1
plugin "RDMA|tcp:" sessname=s path=ip:127.0.0.1 device_path=disk
plugin "tcp:" sessname=s path=127.0.0.1 device_path=disk
plugin "nosuchhost.invalid" sessname=s path=tcp:nosuchhost.invalid device_path=disk
plugin "refused" sessname=s "path=tcp:127.0.0.1:$(free_port)" device_path=disk
one_line() {
	[ "$(wc -l <"$tmp/out")" = 1 ] || {
		echo "one line was to be said, not:"
		cat "$tmp/out"
		bad=1
	}
}
one_line
plugin "cannot open.*: connection refused" sessname=s connect=any "path=tcp:127.0.0.1:$(free_port)" \
	"path=tcp:127.0.0.1:$(free_port)" device_path=disk
[ "$(wc -l <"$tmp/out")" = 2 ] || {
	echo "a line for each of two paths was to be said, not:"
	cat "$tmp/out"
	bad=1
}
plugin "source address 192.0.2.5: no interface of this machine has it" sessname=s \
	"path=tcp:192.0.2.5@${path_gw}" device_path=disk
one_line
# While one path works the other's failure is a warning, and all is well.
run_nbdkit true "$RNBD_PLUGIN" sessname=s connect=any "${P[@]}" \
	"path=tcp:127.0.0.1:$(free_port)" device_path=disk 2>"$tmp/out" ||
	fail "connect=any with one of two paths: $(cat "$tmp/out")"
grep -q 'path tcp:.*: connection refused' "$tmp/out" ||
	fail "the path that failed is not named: $(cat "$tmp/out")"
# The control socket is made after the fork, and tried before it.
mkdir "$tmp/sock"
touch "$tmp/file"
start_nbdkit held "$RNBD_PLUGIN" sessname=h "${P[@]}" \
	device_path=ok control="$tmp/sock/held"
until_true test -S "$tmp/sock/held"
for c in "$tmp/no/such=No such file" "$tmp/file=not a socket" \
	"$tmp/sock/held=another process answers"; do
	rc=0
	"${san_env[@]}" nbdkit -U "$tmp/w.sock" -P "$tmp/w.pid" "$RNBD_PLUGIN" sessname=s "${P[@]}" \
		device_path=disk "control=${c%=*}" 2>"$tmp/out" || rc=$?
	if [ $rc = 0 ] || ! grep -q "control socket '${c%=*}': .*${c#*=}" "$tmp/out"; then
		echo "control=${c%=*}: exit code $rc, said:"
		cat "$tmp/out"
		bad=1
	fi
	one_line
done
plugin "no such export 'nosuch'.*tcp:127.0.0.1" sessname=s "${P[@]}" device_path=nosuch
plugin "sessname=: given twice" sessname=s sessname=t "${P[@]}" device_path=disk
plugin "device_path=: given twice" sessname=s "${P[@]}" device_path=disk device_path=ok
plugin "unknown kind 'rdma:'; use tcp:" sessname=s path=rdma:127.0.0.1 device_path=disk
plugin "unknown kind 'tpc:'; use tcp:" sessname=s path=tpc:127.0.0.1:1234 device_path=disk
plugin "\.\." sessname=s "${P[@]}" device_path=../outside/secret
plugin "\.\." sessname=s "${P[@]}" device_path=sub/../../outside/secret
plugin "leak.*(search path|leads out)" sessname=s "${P[@]}" device_path=leak
plugin "fifo.*(block device|regular)" sessname=s "${P[@]}" device_path=fifo
plugin "sub.*(block device|regular|directory)" sessname=s "${P[@]}" device_path=sub

# What is allowed below the search path works.
for name in ok /ok inside; do
	# shellcheck disable=SC2016
	run_nbdkit 'nbdinfo --size "$uri" >/dev/null' "$RNBD_PLUGIN" sessname=s \
		"${P[@]}" "device_path=$name" 2>"$tmp/out" || {
		echo "device_path=$name is refused:"
		cat "$tmp/out"
		bad=1
	}
done

# A port where something else answers, and one where nobody says anything.
python3 - "$tmp/ports" <<'EOF' &
import os, socket, sys, threading
def serve(answer):
    s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(16)
    def run():
        kept = []
        while True:
            c, _ = s.accept(); kept.append(c)
            if answer:
                c.sendall(answer)
    threading.Thread(target=run, daemon=True).start()
    return s.getsockname()[1]
smtp = b"220 mail.example ESMTP ready, good day to you all here\r\n" * 4
ports = f"{serve(smtp)} {serve(None)}\n"
with open(sys.argv[1] + ".new", "w") as f:
    f.write(ports)
os.rename(sys.argv[1] + ".new", sys.argv[1])
threading.Event().wait()
EOF
pids+=($!)
until_true test -s "$tmp/ports"
read -r smtp silent <"$tmp/ports"
plugin "not.*RTRS|something else|does not speak" sessname=s "path=tcp:127.0.0.1:$smtp" device_path=disk
plugin "no answer within 1000 ms from tcp:127.0.0.1:$silent" sessname=s "path=tcp:127.0.0.1:$silent" device_path=disk open-timeout=1

# rnbdctl
rc=0
"$RNBD_CTL" --control "$tmp/nosuch.sock" status >"$tmp/out" 2>&1 || rc=$?
[ $rc != 0 ] && grep -q "$tmp/nosuch.sock" "$tmp/out" || {
	echo "rnbdctl without a daemon: $rc"
	cat "$tmp/out"
	bad=1
}
exit $bad
