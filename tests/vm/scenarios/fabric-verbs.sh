#!/usr/bin/env bash
# vm: time=300 suite=6.1
# The verbs fabric keeps the fabric contract, over IPv4 and IPv6.
. "$RNBD_SRCDIR/tests/vm/functions.sh"

suite=$RNBD_BUILD/tests/unit/fabric/test-conformance-verbs
[ -x "$suite" ] || fail "no $suite: built without RDMA?"
export CK_VERBOSITY=normal CK_DEFAULT_TIMEOUT=60
for addr in ${VM_ARG_ADDR:-"$VM_ADDR0" "$VM_ADDR6_0"}; do
	say "over $addr"
	RNBD_TEST_RDMA_ADDR=$addr timeout 140 "$suite" >"$tmp/suite" 2>&1 ||
		fail "$addr: $(cat "$tmp/suite")"
	say "$(cat "$tmp/suite")"
	grep -q '^100%' "$tmp/suite" || fail "not run: $(cat "$tmp/suite")"
done
