# shellcheck shell=bash
# Sourced by scripts that run what was built: where it is. Meson says so; a
# script that is started by hand takes what is in build/, or in $RNBD_BUILD.

: "${RNBD_SRCDIR:=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")}"
programs_dir=$(realpath -m "${RNBD_BUILD:-$RNBD_SRCDIR/build}")
: "${RNBD_GATEWAYD:=$programs_dir/gateway/rnbd-gatewayd}"
: "${RNBD_CTL:=$programs_dir/gateway/rnbdctl}"
: "${RNBD_PLUGIN:=$programs_dir/nbdkit-plugin/nbdkit-rnbd-plugin.so}"
: "${RNBD_HOSTILE_RAW:=$programs_dir/tests/hostile/hostile-raw}"
: "${RNBD_EIO_SHIM:=$programs_dir/tests/integration/eio-shim.so}"
: "${RNBD_EXIT_SHIM:=$programs_dir/tests/integration/exit-shim.so}"
: "${RNBD_NBD_CHECK:=$programs_dir/tests/load/nbd-check}"
: "${RNBD_RELAY:=$programs_dir/tests/load/relay}"
: "${RNBD_FLOOD:=$programs_dir/tests/load/flood}"
: "${RNBD_EXHAUST:=$programs_dir/tests/faults/exhaust}"
: "${RNBD_GATEWAYD_FAULTY:=$programs_dir/tests/faults/rnbd-gatewayd-faulty}"
: "${RNBD_PLUGIN_FAULTY:=$programs_dir/tests/faults/nbdkit-rnbd-plugin-faulty.so}"
export RNBD_SRCDIR RNBD_GATEWAYD RNBD_CTL RNBD_PLUGIN RNBD_HOSTILE_RAW \
	RNBD_EIO_SHIM RNBD_EXIT_SHIM RNBD_NBD_CHECK RNBD_RELAY RNBD_FLOOD \
	RNBD_EXHAUST RNBD_GATEWAYD_FAULTY RNBD_PLUGIN_FAULTY

# built FILE...: or the script ends, and says what to do.
built() {
	local f
	for f in "$@"; do
		[ -e "$f" ] && continue
		echo "${0##*/}: there is no $f: build it with meson and ninja," \
			"with -Dtests=true, or set RNBD_BUILD to where it was" \
			"built" >&2
		exit 2
	done
}

# The comment at the head of the script.
usage() {
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
}

# at_most N ARG...: ends the script that has more arguments, or is asked for help.
at_most() {
	local n=$1
	shift
	case ${1:-} in
	-h | --help)
		usage
		exit 0
		;;
	-*) n=0 ;;
	esac
	[ $# -gt "$n" ] || return 0
	echo "${0##*/}: unknown argument '${*:n+1:1}' (see --help)" >&2
	exit 2
}
