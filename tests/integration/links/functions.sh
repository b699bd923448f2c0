# shellcheck shell=bash disable=SC2154,SC2034 # set and used elsewhere
# Sourced, instead of functions.sh, by tests whose connections go wrong on the
# way.
. "$(dirname "${BASH_SOURCE[0]}")/../functions.sh"
built "$RNBD_RELAY" "$RNBD_NBD_CHECK"

# start_relay DEST...: a link in front of each HOST:PORT. Sets link_0, link_1,
# ... (HOST:PORT) and pid_relay; relay COMMAND... talks to it.
start_relay() {
	local args=() dest i line
	for dest in "$@"; do
		args+=(127.0.0.1:0 "$dest")
	done
	rm -f "$tmp/relay.in" "$tmp/relay.out"
	mkfifo "$tmp/relay.in" "$tmp/relay.out"
	"$RNBD_RELAY" "${args[@]}" <"$tmp/relay.in" >"$tmp/relay.out" 2>>"$tmp/relay.log" &
	pid_relay=$!
	pids+=("$pid_relay")
	exec 7>"$tmp/relay.in" 8<"$tmp/relay.out"
	for i in $(seq 0 $(($# - 1))); do
		read -r -t 60 line <&8 || fail "the relay did not come up"
		declare -g "link_$i=${line#link * on }"
	done
}

relay() {
	local line
	echo "$*" >&7
	read -r -t 60 line <&8 || fail "the relay is gone"
	[ "$line" != "what?" ] || fail "the relay does not know '$*'"
	relay_said=$line
}

# Each daemon of these tests has two addresses, and so each session two paths.
two_addresses() {
	port=$(free_port)
	gateway_listen=tcp:127.0.0.2:$port
	gateway_more=(--listen "tcp:127.0.0.3:$port")
	addresses=("127.0.0.2:$port" "127.0.0.3:$port")
}

ms() {
	echo $((${EPOCHREALTIME/[.,]/} / 1000))
}
