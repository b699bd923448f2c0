/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of commands that follow `client`. */
#include "gateway/ctl/client.h"

#define LIST (OPT_FORMAT | OPT_FIELDS | OPT_UNITS | OPT_LIST)
#define SHOW (OPT_FORMAT | OPT_FIELDS | OPT_UNITS)

const struct command client_commands[] = {
	{"session list", "", 0, 0, LIST, client_session_list,
	 &client_session_table, "sessions, each with its paths"},
	{"session show", "SESSION", 1, 1, SHOW, client_session_show,
	 &client_session_table, "one session, its paths and devices"},
	{"session policy", "SESSION [POLICY]", 1, 2, OPT_VERBOSE,
	 client_session_policy, NULL, "tell or set which path takes a request"},
	{"device list", "[SESSION]", 0, 1, LIST, client_device_list,
	 &client_device_table, "devices that NBD clients use"},
	{"device show", "DEVICE [SESSION]", 1, 2, SHOW, client_device_show,
	 &client_device_table, "one device"},
	{"device resize", "DEVICE [SESSION]", 1, 2, OPT_VERBOSE,
	 client_device_resize, NULL, "ask the server for its size again"},
	{"device remap", "DEVICE [SESSION]", 1, 2, OPT_VERBOSE,
	 client_device_remap, NULL, "close it on the server and open it again"},
	{"map list", "[SESSION]", 0, 1, LIST, cmd_map_list, &map_table,
	 "what is mapped as /dev/nbdN"},
	{"path list", "[SESSION]", 0, 1, LIST, client_path_list,
	 &client_path_table, "paths of sessions"},
	{"path show", "PATH [SESSION]", 1, 2, SHOW, client_path_show,
	 &client_path_table, "one path"},
	{"path add", "ADDRESS [SESSION]", 1, 2, OPT_VERBOSE, client_path_add,
	 NULL, "one more path, as of path="},
	{"path remove", "PATH [SESSION]", 1, 2, OPT_VERBOSE, client_path_remove,
	 NULL, "close a path and forget it; the same as delete"},
	{"path delete", "PATH [SESSION]", 1, 2, OPT_VERBOSE, client_path_remove,
	 NULL, "close a path and forget it"},
	{"path disconnect", "PATH [SESSION]", 1, 2, OPT_VERBOSE,
	 client_path_disconnect, NULL, "close a path until it is reconnected"},
	{"path reconnect", "PATH [SESSION]", 1, 2, OPT_VERBOSE,
	 client_path_reconnect, NULL, "connect a path (again) now"},
	{"stats show", "[SESSION]", 0, 1, OPT_JSON | OPT_UNITS, client_stats,
	 NULL, "sums of a session since the last reset"},
	{"stats reset", "[SESSION]", 0, 1, OPT_VERBOSE, client_stats_reset,
	 NULL, "begin the sums and the counters of paths at zero"},
	{"metrics", "[SESSION]", 0, 1, 0, client_metrics, NULL,
	 "OpenMetrics text of one client"},
	{"version", "[SESSION]", 0, 1, OPT_JSON, client_version, NULL,
	 "version of each client"},
	{NULL},
};
