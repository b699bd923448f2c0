#!/usr/bin/env bash
# Access rules and limits per address, with the addresses of 127.0.0.0/8 as the
# clients': what is refused says so at the client, and in the log with a count.
. "$(dirname "$0")/functions.sh"
requires nbdkit
bad=0
truncate -s 1M "$tmp/disk" "$tmp/golden"
mkdir "$tmp/root"
truncate -s 1M "$tmp/root/found" "$tmp/root/hidden"

# conf NAME: the sections from stdin behind what all of them have.
conf() {
	{
		cat <<-END
			[gateway]
			search-path = $tmp/root
			queue-depth = 16
			heartbeat-interval = 200
			[export]
			name = disk
			backend = $tmp/disk
			[export]
			name = golden
			backend = $tmp/golden
		END
		cat
	} >"$tmp/$1.conf"
}

# client SRC SESSION DEVICE ARGS...: an nbdkit that comes from SRC and is read.
client() {
	local src=$1 sess=$2 dev=$3
	shift 3
	# shellcheck disable=SC2016
	timeout 60 "${san_env[@]}" nbdkit -U - "$RNBD_PLUGIN" "sessname=$sess" \
		"path=tcp:$src@$path_gw" "device_path=$dev" "$@" \
		--run 'unset LD_PRELOAD; nbdinfo --size "$uri"' >"$tmp/out" 2>&1
}

allowed() {
	client "$@" || {
		echo "$*: refused:"
		cat "$tmp/out"
		bad=1
	}
}

# refused PATTERN SRC SESSION DEVICE ARGS...
refused() {
	local pattern=$1
	shift
	if client "$@"; then
		echo "$*: let in"
		bad=1
	elif ! grep -Eq "$pattern" "$tmp/out"; then
		echo "$*: wants /$pattern/, said:"
		cat "$tmp/out"
		bad=1
	fi
}

logged() {
	grep -Eq "$1" "$tmp/gw.log" || {
		echo "not logged: $1"
		bad=1
	}
}

conf rules <<-'END'
	[rule]
	action = deny
	address = 127.0.0.66
	[rule]
	action = bind
	session = bound
	address = 127.0.0.2
	[rule]
	action = allow
	export = golden
	mode = ro
	[rule]
	action = allow
	address = 127.0.0.2, 127.0.0.4
	export = disk found
	[rule]
	action = allow
	address = 127.0.0.3
	session = vm-*
END
start_gateway gw --config "$tmp/rules.conf"
# By address, at the connection request.
refused "access rules" 127.0.0.66 s disk
logged 'refused 1 connection of 127.0.0.66: rule 1 denies it'
# By session name.
allowed 127.0.0.2 bound disk
refused "not allow|already in use" 127.0.0.3 bound disk
logged "refused 1 session of 127.0.0.3: rule 2 binds .* \(the last: 'bound'\)"
allowed 127.0.0.3 vm-1 disk
allowed 127.0.0.3 vm-1 hidden
# By export, as the search path understands names.
allowed 127.0.0.2 s /found
refused "no access to 'hidden' for session 's'" 127.0.0.2 s hidden
refused "no access to './hidden' for session 's'" 127.0.0.2 s ./hidden
refused "no access to 'disk' for session 's'" 127.0.0.5 s disk
# By mode, with what is allowed instead.
refused "may open 'golden' with access_mode ro only" 127.0.0.3 vm-1 golden
allowed 127.0.0.3 vm-1 golden access_mode=ro
allowed 127.0.0.5 s golden access_mode=ro

# A further path must come from an address that is allowed what is open.
twopaths() {
	start_nbdkit "$1" "$RNBD_PLUGIN" sessname=twopaths \
		"path=tcp:127.0.0.2@$path_gw" \
		"path=tcp:$2@$path_gw" device_path=disk open-timeout=5
}
twopaths good 127.0.0.4 || { echo "two good paths: refused"; bad=1; }
[ -z "${pid_good:-}" ] || { kill "$pid_good"; wait_gone "$pid_good"; }
if twopaths worse 127.0.0.66; then
	echo "a path from an address that is denied: let in"
	bad=1
fi
stop "$pid_gw" || { echo "gateway: exit code $?"; bad=1; }

# Rules that change: who is no longer allowed is closed, and nobody else.
conf reload </dev/null
: >"$tmp/gw.log"
start_gateway gw --config "$tmp/reload.conf"
for n in 2 3; do
	start_nbdkit "from$n" "$RNBD_PLUGIN" "sessname=from$n" io-timeout=1 \
		"path=tcp:127.0.0.$n@$path_gw" device_path=disk access_mode=ro
done
for uri in "$uri_from2" "$uri_from3"; do
	hold "$uri"
done
conf reload <<-'END'
	[rule]
	action = allow
	address = 127.0.0.3
	mode = ro
END
: >"$tmp/gw.log" # nbdkit's look before it serves is in it
SECONDS=0
kill -HUP "$pid_gw"
wait_log "$tmp/gw.log" "session 'from2': down"
[ "$SECONDS" -le 5 ] || { echo "revoked after $SECONDS s"; bad=1; }
wait_log "$tmp/gw.log" "refused 1 connection of 127.0.0.2: no rule allows it"
nbdsh -u "$uri_from3" -c 'h.pread(4096, 0)' ||
	{ echo "who is still allowed was harmed"; bad=1; }
if grep -q "'from3' closes\|'from3': closed" "$tmp/gw.log"; then
	echo "who is still allowed was closed"
	bad=1
fi
refused "with access_mode ro only" 127.0.0.3 other golden
# Bad rules change nothing.
conf reload <<-'END'
	[rule]
	action = allow
	address = 127.0.0.300
END
kill -HUP "$pid_gw"
wait_log "$tmp/gw.log" "127.0.0.300.*not a network"
allowed 127.0.0.3 other golden access_mode=ro
refused "access rules" 127.0.0.2 other golden access_mode=ro
stop "$pid_gw" || { echo "gateway: exit code $?"; bad=1; }

# limit SECTION KEYS WORDS LINE CONNECTIONS: one client holds what fits, a second
# one with so many connections is refused in these words.
limit() {
	: >"$tmp/gw.log"
	conf limits <<-END
		[$1]
		${2//;/
		}
	END
	start_gateway gw --config "$tmp/limits.conf"
	start_nbdkit first "$RNBD_PLUGIN" sessname=first connections=2 \
		"path=tcp:127.0.0.2@$path_gw" device_path=disk
	hold "$uri_first"
	refused "$3" 127.0.0.2 second golden "connections=$5"
	logged "$4"
}

# Another address has its own limit, and who was there is not harmed.
others_are_not_harmed() {
	allowed 127.0.0.3 third golden connections=2
	nbdsh -u "$uri_first" -c 'h.pread(4096, 0)' ||
		{ echo "the first session was harmed"; bad=1; }
}

# nbdkit ends when its client has left.
first_leaves() {
	kill "${pids[-1]}" "$pid_first"
	wait_gone "$pid_first"
}

# What it held is free again.
room_again() {
	first_leaves
	until_true client 127.0.0.2 second golden connections=2
}

holds="holds all that the server allows"
limit limits address-sessions=1 "$holds" \
	"refused 1 session of 127.0.0.2: address-sessions is 1" 2
others_are_not_harmed
room_again
stop "$pid_gw"
limit limits address-connections=3 "$holds" \
	"refused 1 path of 127.0.0.2: address-connections is 3" 2
others_are_not_harmed
room_again
stop "$pid_gw"
limit limits address-memory=3M "$holds" \
	"refused 1 path of 127.0.0.2: address-memory is 3145728, .* 2097152" 2
others_are_not_harmed
room_again
stop "$pid_gw"
limit limits "address-connect-rate=1;address-connect-burst=8" \
	"connects faster than the server allows" \
	"refused 1 connection of 127.0.0.2: it connects faster" 60
others_are_not_harmed
first_leaves
stop "$pid_gw"

# And those of all together, whoever asks and whatever worker it is.
no_memory="no memory for another session"
limit gateway "max-memory=3M;workers=2" "$no_memory" \
	"refused 1 path of 127.0.0.2: max-memory is 3145728" 2
refused "$no_memory" 127.0.0.3 third golden
room_again
stop "$pid_gw"
limit gateway "max-sessions=1;workers=2" "$no_memory" \
	"refused 1 session of 127.0.0.2: max-sessions is 1" 2
refused "$no_memory" 127.0.0.3 third golden
room_again
stop "$pid_gw"
exit $bad
