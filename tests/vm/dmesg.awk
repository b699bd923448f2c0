# awk -f dmesg.awk ALLOW... CONSOLE: prints what the kernel complained about on
# the console and ends with 1, or with 0 if there is nothing. The ALLOW files
# hold patterns, a line each; a comment above gives the reason.
#
# A warning with its call trace, "cut here" to "end trace", is one complaint: it
# is allowed if any of its lines is.
BEGIN {
	bad = "WARNING:|BUG:|Oops|[Cc]all [Tt]race:|blocked for more than|" \
		"unregister_netdevice: waiting|refcount_t|[Ll]eak|" \
		"general protection|double fault|invalid opcode|Kernel panic|" \
		"detected stall|self-detected|NETDEV WATCHDOG|UBSAN|KASAN|" \
		"lockup|hung task|Unable to handle|init: cannot load"
}
function is_allowed(line,   i) {
	for (i = 0; i < n; i++)
		if (line ~ allowed[i])
			return 1
	return 0
}
function flush_trace() {
	if (in_trace && !trace_ok) {
		printf "%s", trace
		found = 1
	}
	in_trace = 0
}
FILENAME != ARGV[ARGC - 1] {
	if ($0 !~ /^#/ && $0 != "")
		allowed[n++] = $0
	next
}
{ sub(/\r$/, "") }
/cut here \]---/ {
	flush_trace()
	in_trace = 1
	trace = ""
	trace_ok = 0
	next
}
in_trace {
	trace = trace $0 "\n"
	if (is_allowed($0))
		trace_ok = 1
	if (/end trace/)
		flush_trace()
	next
}
$0 ~ bad && !is_allowed($0) {
	print
	found = 1
}
END {
	flush_trace()
	exit found
}
