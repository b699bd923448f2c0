# shellcheck shell=bash
# Sourced by run.sh: what a guest may ask of the host (ask_host of
# functions.sh), done by QEMU's monitor. Every request is answered by a line,
# "ok" or what went wrong.
#
#   link ROLE NIC up|down    the guest's cable: it sees the carrier go
#   pcap ROLE NIC NAME       records its frames in /run/vm/NAME.pcap
#   pcap-end ROLE NIC
#   pause ROLE, resume ROLE  its processors
#   crash ROLE               as by a power cut; its end is no failure then
declare -A mon_in mon_out

# qmp ROLE COMMAND [ARGUMENTS, as JSON]
qmp() {
	local role=$1 line fd
	if [ -z "${mon_in[$role]:-}" ]; then
		exec {fd}>"$tmp/mon.$role.in"
		mon_in[$role]=$fd
		exec {fd}<"$tmp/mon.$role.out"
		mon_out[$role]=$fd
		qmp "$role" qmp_capabilities >/dev/null
	fi
	printf '{"execute":"%s","arguments":%s,"id":"%s"}\n' \
		"$2" "${3:-{\}}" "$2" >&"${mon_in[$role]}"
	while read -r -t 20 line <&"${mon_out[$role]}"; do
		case $line in
		*'"error"'*"\"id\": \"$2\""* | *"\"id\": \"$2\""*'"error"'*)
			echo "$2: $line"
			return 1
			;;
		*"\"id\": \"$2\""*)
			echo ok
			return
			;;
		esac
	done
	echo "$2: no answer of QEMU $role"
	return 1
}

answer() {
	local role=${2:-} nic=${3:-}
	case $1:$role:$nic in
	link:[ab]:[01])
		local up=true
		[ "$4" = up ] || up=false
		qmp "$role" set_link "{\"name\":\"n$nic\",\"up\":$up}"
		;;
	pcap:[ab]:[01])
		qmp "$role" object-add "{\"qom-type\":\"filter-dump\",\"id\":\"dump$nic\",\"netdev\":\"n$nic\",\"file\":\"$share/$4.pcap\"}"
		;;
	pcap-end:[ab]:[01]) qmp "$role" object-del "{\"id\":\"dump$nic\"}" ;;
	pause:[ab]:) qmp "$role" stop ;;
	resume:[ab]:) qmp "$role" cont ;;
	crash:[ab]:)
		: >"$tmp/crashed.$role"
		qmp "$role" quit
		;;
	*) echo "unknown request '$*'" ;;
	esac
}

# gone ROLE: its QEMU has ended (and is perhaps a zombie).
gone() {
	local pid=${guest_pid[0]} state
	if [ "$1" = b ]; then
		pid=${guest_pid[1]:-}
		[ -n "$pid" ] || return
	fi
	read -r _ _ state _ 2>/dev/null <"/proc/$pid/stat" || return 0
	[ "$state" = Z ]
}
