#!/usr/bin/env bash
# vm: time=300 suite=6.1
# Without root: permissions and the limit of pinned memory, which is told with
# numbers before the kernel says ENOMEM.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need nbdkit nbdinfo nbdcopy setpriv prlimit

# Programs of ours where nobody can read them, started as nobody.
chmod 755 "$tmp"
bin=$tmp/bin
mkdir -m 777 "$bin" "$tmp/run"
cp "$RNBD_GATEWAYD" "$bin/real-gatewayd"
cp "$RNBD_PLUGIN" "$bin/plugin.so"
cat >"$bin/nobody" <<'END'
#!/bin/sh
bytes=$(($LIMIT_KIB * 1024))
exec prlimit "--memlock=$bytes:$bytes" \
	setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
END
printf '#!/bin/sh\nexec %s %s "$@"\n' "$bin/nobody" "$bin/real-gatewayd" \
	>"$bin/gatewayd"
chmod 755 "$bin"/*
RNBD_GATEWAYD=$bin/gatewayd
export LIMIT_KIB

# gateway_fails WORDS...: it ends with 1, after one line that has the words.
gateway_fails() {
	local out rc=0 w
	out=$(timeout 20 "$RNBD_GATEWAYD" --foreground --listen "ip:$VM_ADDR0" \
		--export d=memory:64M 2>&1) || rc=$?
	[ $rc = 1 ] || fail "exit code $rc: $out"
	[ "$(wc -l <<<"$out")" = 1 ] || fail "more than a line: $out"
	for w in "$@"; do
		[[ $out == *"$w"* ]] || fail "no '$w': $out"
	done
	say "$out"
}
# attach LIMIT_KIB SESSNAME COMMAND
attach() {
	LIMIT_KIB=$1 timeout 60 "$bin/nobody" nbdkit -U - "$bin/plugin.so" \
		"sessname=$2" "path=ip:$VM_ADDR0" d --run "$3" 2>&1
}

LIMIT_KIB=64
gateway_fails "--listen ip:$VM_ADDR0: one session of --queue-depth 512" \
	"the limit is 64 KiB" "ulimit -l, LimitMEMLOCK=" CAP_IPC_LOCK

LIMIT_KIB=1000000
chmod 600 /dev/infiniband/rdma_cm
gateway_fails "no permission to use /dev/infiniband/rdma_cm; see PERMISSIONS"
out=$(attach 1000000 s true) && fail "the plugin runs: $out"
[[ $out == *"no permission to use /dev/infiniband/rdma_cm"* ]] || fail "$out"
chmod 666 /dev/infiniband/rdma_cm
chmod 600 /dev/infiniband/uverbs0
gateway_fails "no permission to use /dev/infiniband/uverbs0; see PERMISSIONS"
chmod 666 /dev/infiniband/uverbs0

# Room for one path, and not for two.
LIMIT_KIB=100000
gateway_listen=ip:$VM_ADDR0 start_gateway g --export d=memory:64M
grep -qE 'limit of pinned memory, 100000 KiB, holds 1 RDMA paths of [0-9]+ KiB; --max-sessions is 1024' \
	"$tmp/g.log" || fail "no line on the limit"

out=$(attach 64 small true) && fail "64 KiB are enough: $out"
[[ $out == *"no memory for 512 requests: 63488 KiB of memory cannot be pinned: "*" and the limit is 64 KiB; raise it (ulimit -l, LimitMEMLOCK=), grant CAP_IPC_LOCK, or lower the queue depth"* ]] ||
	fail "plugin at 64 KiB: $out"
say "$out"

dd if=/dev/urandom "of=$tmp/data" bs=1M count=8 status=none
chmod 644 "$tmp/data"
out=$(attach 100000 s "nbdcopy $tmp/data \"\$uri\" &&
	nbdcopy \"\$uri\" $tmp/run/back &&
	LIMIT_KIB=100000 && ! timeout 40 nbdkit -U - $bin/plugin.so sessname=t \
		path=ip:$VM_ADDR0 d access_mode=ro open-timeout=5 --run true") ||
	fail "as nobody: $out"
cmp -n 8388608 "$tmp/data" "$tmp/run/back" || fail "data that came back"
grep -qE 'no chunks: [0-9]+ KiB of memory cannot be pinned: [0-9]+ KiB are in use and the limit is 100000 KiB' \
	"$tmp/g.log" || fail "the gateway does not tell why"
# What was pinned is free again.
out=$(attach 100000 u "nbdinfo --size \"\$uri\"") || fail "again: $out"
stop "$pid_g" || fail "gateway: exit code $?"
