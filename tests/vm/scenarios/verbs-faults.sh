#!/usr/bin/env bash
# vm: time=3600 suite=6.12
# Each call of libibverbs and librdmacm fails once, the client's and then the
# daemon's, through connecting, opening, I/O, a reconnect and closing: no crash,
# no hang, nothing left, and the next session works.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need rdma

exhaust=$RNBD_BUILD/tests/faults/exhaust
[ -x "$exhaust" ] || fail "no $exhaust"
before=$(rdma resource show)
begin=$SECONDS rounds=0

# calls ARGUMENT...: of both sides.
calls() {
	local side n
	for side in client server; do
		"$exhaust" --listen "ip:$VM_ADDR0" --side $side "$@" \
			>"$tmp/calls.log" 2>&1 ||
			fail "$side $*: $(tail -n 60 "$tmp/calls.log")"
		say "$side, $*: $(tail -n 1 "$tmp/calls.log")"
		n=$(sed -n 's/.*calm round; \([0-9]*\) rounds.*/\1/p' "$tmp/calls.log")
		rounds=$((rounds + n))
		[ "$(rdma resource show)" = "$before" ] ||
			fail "left on the device: $(rdma resource show)"
	done
}

# Each of those that make something or connect, and of those that give it back.
# Of the others a share. VM_ARG_FAULTS=calls has each of them, =programs each
# that daemon and nbdkit make: either fills an hour of a busy machine.
share=${VM_ARG_FAULTS:-some}
case $share in
some | calls | programs) ;;
*) fail "VM_ARG_FAULTS=$share: calls, programs, or nothing for some of both" ;;
esac
step() {
	if [ "$share" = some ]; then echo "$1"; else echo 1; fi
}

all_calls() {
	calls --kinds verbs
	calls --kinds end --step "$(step 3)"
	calls --kinds post --step "$(step 61)"
	calls --kinds poll --step "$(step 61)"
	# With renewed keys there are windows, to be made and bound.
	calls --kinds verbs --width 5 --invalidate --step "$(step 17)"
	calls --kinds post --invalidate --step "$(step 131)"
	# Memory, as over tcp; here the client has windows, and books of them.
	calls --kinds mem --need-inval --step "$(step 11)"
	say "$rounds rounds with a failure in $((SECONDS - begin)) s"
}

# The daemon and nbdkit themselves, begun anew for each.
all_programs() {
	export RNBD_FAULTS_LISTEN=ip:$VM_ADDR0
	export RNBD_GATEWAYD_FAULTY=$RNBD_BUILD/tests/faults/rnbd-gatewayd-faulty
	export RNBD_PLUGIN_FAULTY=$RNBD_BUILD/tests/faults/nbdkit-rnbd-plugin-faulty.so
	for side in daemon plugin; do
		"$RNBD_SRCDIR/tests/faults/programs.py" $side verbs fail \
			"$(step 23)" >"$tmp/calls.log" 2>&1 ||
			fail "$side: $(tail -n 60 "$tmp/calls.log")"
		say "$(tail -n 1 "$tmp/calls.log")"
	done
	[ "$(rdma resource show)" = "$before" ] ||
		fail "left on the device: $(rdma resource show)"
}

[ "$share" = programs ] || all_calls
[ "$share" = calls ] || [ -n "${RNBD_SANITIZER:-}" ] || all_programs
