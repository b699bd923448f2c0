#!/usr/bin/env bash
# When the memory that was configured is used up the next client is told so in
# words, those that are in go on, and who comes after one has left gets in.
. "$(dirname "$0")/functions.sh"
requires fio
truncate -s 64M "$tmp/a"
# Two sessions of 64 requests of 128K; one worker, since each has its share.
start_gateway gw --workers 1 --queue-depth 64 --max-memory 16M \
	--export "a=file:$tmp/a" --export b=memory:8M --export c=memory:8M
start_nbdkit a "$RNBD_PLUGIN" sessname=a "path=$path_gw" device_path=a
start_nbdkit b "$RNBD_PLUGIN" sessname=b "path=$path_gw" device_path=b
nbdinfo "$uri_b" >/dev/null
fio --name=v --ioengine=nbd --uri="$uri_a" --rw=randwrite --bs=4k --iodepth=16 \
	--size=64m --verify=crc32c --verify_fatal=1 --do_verify=1 \
	--verify_backlog=256 --time_based --runtime=60 --status-interval=1 \
	--minimal >"$tmp/fio.log" 2>&1 &
fio=$!
pids+=("$fio")
until_true test -s "$tmp/fio.log"
# The pairs of ups and downs before are those of nbdkit's look before it forks.
downs() {
	grep -c "session '[ab]': down" "$tmp/gw.log" || :
}
before=$(downs)

# It is refused, and says why, in the words of both sides.
c_args=("$RNBD_PLUGIN" sessname=c "path=$path_gw" device_path=c)
if "${san_env[@]}" nbdkit -U - "${c_args[@]}" \
	--run "unset LD_PRELOAD; nbdinfo \"\$uri\"" >"$tmp/c.log" 2>&1; then
	fail "a third session in the memory of two"
fi
grep -q "it has no memory for another session" "$tmp/c.log" || fail "no reason at the client"
wait_log "$tmp/gw.log" "refused .*: max-memory is 16777216, a path takes 8388608"
kill -0 "$fio" 2>/dev/null || fail "fio ended"
[ "$(downs)" = "$before" ] || fail "a or b went down"

kill "$pid_b"
wait_gone "$pid_b"
one_left() {
	[ "$(downs)" -gt "$before" ]
}
until_true one_left
# shellcheck disable=SC2016 # nbdkit's shell expands it
run_nbdkit 'nbdcopy "$uri" null:' "${c_args[@]}" || fail "no room after one left"
kill -INT "$fio"
wait "$fio" || [ $? = 128 ] || fail "fio saw an error"
! grep -qE 'verify|error=' "$tmp/fio.log" || fail "$(grep -E 'verify|error=' "$tmp/fio.log")"
