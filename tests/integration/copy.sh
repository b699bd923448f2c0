#!/usr/bin/env bash
# nbdcopy both ways, dense and sparse, over unix socket and TCP; IPv6 below.
. "$(dirname "$0")/functions.sh"
requires nbdcopy
random_file dense 64
sparse_file sparse 128

# $1 source, $2 uri, $3 the gateway's file
there_and_back() {
	nbdcopy --flush "$1" "$2"
	cmp "$1" "$3"
	nbdcopy "$2" "$tmp/back"
	cmp "$1" "$tmp/back"
	rm "$tmp/back"
}

for listen in tcp:127.0.0.1:0 'tcp:[::1]:0'; do
	for src in dense sparse; do
		gateway_listen=$listen
		rm -f "$tmp/disk"
		truncate -r "$tmp/$src" "$tmp/disk"
		start_pair "disk=file:$tmp/disk"
		start_nbdkit n "${plugin_args[@]}"
		there_and_back "$tmp/$src" "$uri_n" "$tmp/disk"
		kill "$pid_n"
		wait_gone "$pid_n"
		start_nbdkit_tcp t "${plugin_args[@]}"
		there_and_back "$tmp/$src" "$uri_t" "$tmp/disk"
		kill "$pid_t"
		wait_gone "$pid_t"
		stop "$pid_gw" || fail "the gateway ended with $?"
	done
done
