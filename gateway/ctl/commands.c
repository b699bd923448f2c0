/* SPDX-License-Identifier: BSD-3-Clause */
/* The one table of commands: what there is, what it takes, what it is for. */
#include "gateway/ctl/client.h"

#include <string.h>

#define LIST (OPT_FORMAT | OPT_FIELDS | OPT_UNITS | OPT_LIST)
#define SHOW (OPT_FORMAT | OPT_FIELDS | OPT_UNITS)

const struct command commands[] = {
	{"session list", "", 0, 0, LIST, cmd_session_list, &session_table,
	 "sessions, each with its paths"},
	{"session show", "SESSION", 1, 1, SHOW, cmd_session_show,
	 &session_table, "one session, its paths and devices"},
	{"session close", "SESSION", 1, 1, OPT_VERBOSE, cmd_session_close, NULL,
	 "disconnect all paths of a session; the same as disconnect"},
	{"session disconnect", "SESSION", 1, 1, OPT_VERBOSE, cmd_session_close,
	 NULL, "disconnect all paths of a session"},
	{"device list", "[SESSION]", 0, 1, LIST, cmd_device_list, &device_table,
	 "devices that clients have open"},
	{"device show", "DEVICE [SESSION]", 1, 2, SHOW, cmd_device_show,
	 &device_table, "one device, of each session that has it open"},
	{"device close", "DEVICE [SESSION]", 1, 2, OPT_VERBOSE,
	 cmd_device_close, NULL, "take a device away from who has it open"},
	{"path list", "[SESSION]", 0, 1, LIST, cmd_path_list, &path_table,
	 "paths of sessions"},
	{"path show", "PATH [SESSION]", 1, 2, SHOW, cmd_path_show, &path_table,
	 "one path"},
	{"path disconnect", "PATH [SESSION]", 1, 2, OPT_VERBOSE,
	 cmd_path_disconnect, NULL, "disconnect a path"},
	{"export list", "", 0, 0, LIST, cmd_export_list, &export_table,
	 "what is offered"},
	{"export add", "NAME=SPEC", 1, 1, OPT_VERBOSE, cmd_export_add, NULL,
	 "offer one more; SPEC as on the daemon's command line"},
	{"export remove", "NAME", 1, 1, OPT_VERBOSE, cmd_export_remove, NULL,
	 "offer it no more, and take it from who has it"},
	{"export resize", "NAME [SIZE]", 1, 2, OPT_VERBOSE, cmd_export_resize,
	 NULL, "make it larger, or look how large it became"},
	{"export limits", "NAME LIMIT [LIMIT]", 2, 3, OPT_VERBOSE,
	 cmd_export_limits, NULL, "iops=N, bandwidth=BYTES, per second"},
	{"status", "", 0, 0, OPT_JSON, cmd_status, NULL,
	 "listeners, exports, sessions, devices and counters"},
	{"stats show", "", 0, 0, OPT_JSON | OPT_UNITS, cmd_stats, NULL,
	 "sums of all sessions since the last reset"},
	{"stats reset", "", 0, 0, OPT_VERBOSE, cmd_stats_reset, NULL,
	 "begin the sums and the counters of paths at zero"},
	{"access stats", "", 0, 0, OPT_JSON, cmd_access_stats, NULL,
	 "access rules, what clients hold, what was refused"},
	{"top", "", 0, 0, OPT_TOP, cmd_top, NULL,
	 "who does how much, refreshing"},
	{"log-level", "[LEVEL]", 0, 1, OPT_JSON | OPT_VERBOSE, cmd_log_level,
	 NULL, "tell or set the level: error, warning, info or debug"},
	{"reload", "", 0, 0, OPT_VERBOSE, cmd_reload, NULL,
	 "read the configuration file again"},
	{"drain", "", 0, 0, OPT_WAIT | OPT_VERBOSE, cmd_drain, NULL,
	 "stop accepting, finish what is under way, and end"},
	{"map", "OPTION=VALUE...", 0, 256, OPT_FILE, cmd_map, NULL,
	 "map a device of a server here, as the kernel's map_device"},
	{"unmap", "NBD-DEVICE", 0, 256, OPT_FILE | OPT_FORCE | OPT_VERBOSE,
	 cmd_unmap, NULL, "disconnect what was mapped here"},
	{"version", "", 0, 0, OPT_JSON, cmd_version, NULL,
	 "version of the daemon"},
	{NULL},
};

static void
print_commands(FILE *out, const struct command *table)
{
	for (const struct command *c = table; c->words; c++) {
		char left[64];

		snprintf(left, sizeof(left), "%s %s", c->words, c->args);
		fprintf(out, "  %-34s %s\n", left, c->help);
	}
}

void
print_help(FILE *out)
{
	fputs("Usage: rnbdctl [OPTION]... [server] COMMAND [WORD]...\n"
	      "       rnbdctl [OPTION]... client COMMAND [WORD]...\n"
	      "Asks a running rnbd-gatewayd or clients, or tells them what to "
	      "do. Words may be\nabbreviated.\n\nCommands:\n",
	      out);
	print_commands(out, commands);
	fputs("\nCommands after `client`:\n", out);
	print_commands(out, client_commands);
	fputs("\nOptions:\n"
	      "  --control SOCKET    the daemon's socket (" CTL_SERVER_SOCKET
	      ")\n"
	      "  --socket SOCKET     a client's (all of " CTL_CLIENT_DIR
	      "/*.ctl)\n"
	      "  --json, --csv, --xml  print that instead of a table\n"
	      "  --fields LIST       print these fields; +a,b and -a,b change "
	      "the usual ones\n"
	      "  --units UNIT        sizes in B, K, M, G, T, P or E of 1024\n"
	      "  --file FILE         map, unmap: options of the map are in "
	      "this file\n"
	      "  -n, --samples N     top: end after so many (without end; 1 "
	      "if not a terminal)\n"
	      "  -d, --delay S       top: seconds between them (2)\n"
	      "  --version           print the version\n"
	      "  --help              print this; COMMAND help tells more\n",
	      out);
}

static void
print_fields(const struct table *t)
{
	puts("\nFields, all of them by `all`:");
	for (const struct column *c = t->columns; c->name; c++)
		printf("  %-14s %-14s %s\n", c->name, c->header, c->help);
	printf("By default: %s\n", t->def);
}

void
print_command_help(const struct command *cmd)
{
	bool title = false;

	printf("Usage: rnbdctl %s%s%s\n%s\n", cmd->words, *cmd->args ? " " : "",
	       cmd->args, cmd->help);
	for (const struct word_opt *w = word_opts; w->word; w++) {
		if (!(w->opts & cmd->opts))
			continue;
		if (!title)
			puts("\nWords that may follow:");
		title = true;
		printf("  %-14s %s\n", w->word, w->help);
	}
	if (cmd->opts & OPT_FIELDS)
		puts("  FIELD,FIELD    print these; +... adds to the usual "
		     "ones");
	if (cmd->opts & OPT_TOP)
		puts("\n  -n, --samples N  end after so many\n"
		     "  -d, --delay S    seconds between them");
	if (cmd->table && cmd->opts & OPT_FIELDS)
		print_fields(cmd->table);
}
