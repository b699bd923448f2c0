/* SPDX-License-Identifier: BSD-3-Clause */
/* The methods about the daemon itself, and the table of all methods. */
#include "gateway/control-env.h"

#include <string.h>
#include <unistd.h>

#include "gateway/os.h"

void
control_version(void *user, struct control_call *call)
{
	control_reply(call, json_pack("{s:s, s:s}", "program", "rnbd-gatewayd",
				      "version", RNBD_VERSION));
}

void
control_list_methods(void *user, struct control_call *call)
{
	control_reply(call, control_describe(control_methods));
}

void
control_log_level(void *user, struct control_call *call)
{
	const struct control_env *env = user;

	control_reply(call, json_pack("{s:s}", "level",
				      log_level_name(log_threshold(env->log))));
}

void
control_log_level_set(void *user, struct control_call *call)
{
	struct control_env *env = user;
	const char *name = control_string(call, "level");
	enum log_level was = log_threshold(env->log);
	int level = log_level_parse(name);

	if (level < 0) {
		control_fail(call, CONTROL_INVALID_PARAMS,
			     "log level '%.32s': give error, warning, info or "
			     "debug",
			     name);
		return;
	}
	log_set_level(env->log, (enum log_level)level);
	control_reply(call, json_pack("{s:s, s:s}", "level",
				      log_level_name((enum log_level)level),
				      "was", log_level_name(was)));
}

void
control_access_stats(void *user, struct control_call *call)
{
	const struct control_env *env = user;
	json_t *refused = json_object();
	struct gw_access_stats st;

	gw_access_stats(env->access, &st);
	for (unsigned i = 0; i < GW_ACCESS_N_REASONS; i++)
		json_object_set_new(refused, gw_access_reason_name(i),
				    json_integer((json_int_t)st.refused[i]));
	control_reply(call,
		      json_pack("{s:i, s:i, s:i, s:i, s:i, s:I, s:o}", "rules",
				(int)st.rules, "addresses",
				(int)st.now.addresses, "sessions",
				(int)st.now.sessions, "paths",
				(int)st.now.paths, "connections",
				(int)st.now.connections, "memory",
				(json_int_t)st.now.memory, "refused", refused));
}

void
control_reload(void *user, struct control_call *call)
{
	const struct control_env *env = user;
	char text[CONF_TEXT_MAX] = "", *save;
	int r = env->reload(env->user, text);
	json_t *keys;

	if (r) {
		control_fail(call, CONTROL_REFUSED,
			     "%s; what was in force stays",
			     *text ? text : strerror(-r));
		return;
	}
	keys = json_array();
	for (const char *key = strtok_r(text, ", ", &save); key;
	     key = strtok_r(NULL, ", ", &save))
		json_array_append_new(keys, json_string(key));
	control_reply(call, json_pack("{s:o}", "need_restart", keys));
}

void
control_drain(void *user, struct control_call *call)
{
	struct control_env *env = user;

	/* The answer first: the socket is closed by what follows. */
	control_reply(call, json_pack("{s:i}", "pid", (int)getpid()));
	env->drain(env->user);
}

static const struct control_param session_required[] = {
	{"session", CONTROL_STRING, true, "the session's name"},
	{NULL},
};
static const struct control_param stats_params[] = {
	{"buckets", CONTROL_BOOLEAN, false,
	 "with the histogram of all requests"},
	{NULL},
};
static const struct control_param device_filter[] = {
	{"device", CONTROL_STRING, false, "only of this name"},
	{"session", CONTROL_STRING, false, "only of this session"},
	{NULL},
};
static const struct control_param device_required[] = {
	{"device", CONTROL_STRING, true, "its mapping path"},
	{"session", CONTROL_STRING, false, "who has it open"},
	{NULL},
};
static const struct control_param export_spec[] = {
	{"spec", CONTROL_STRING, true, "NAME=BACKEND[,ATTRIBUTE]..."},
	{NULL},
};
static const struct control_param export_name[] = {
	{"name", CONTROL_STRING, true, "the export's name"},
	{NULL},
};
static const struct control_param export_size[] = {
	{"name", CONTROL_STRING, true, "the export's name"},
	{"size", CONTROL_STRING, false,
	 "bytes, K, M, G or T may follow; without it: as large as it is"},
	{NULL},
};
static const struct control_param export_limits[] = {
	{"name", CONTROL_STRING, true, "the export's name"},
	{"iops", CONTROL_INTEGER, false, "requests per second; 0: no limit"},
	{"bandwidth", CONTROL_STRING, false,
	 "bytes per second, K, M, G or T may follow; 0: no limit"},
	{NULL},
};
static const struct control_param path_filter[] = {
	{"path", CONTROL_STRING, false, "only this one"},
	{"session", CONTROL_STRING, false, "only of this session"},
	{NULL},
};
static const struct control_param path_required[] = {
	{"path", CONTROL_STRING, true,
	 "src@dst, or the client's address, with its port or without"},
	{"session", CONTROL_STRING, false, "whose path it is"},
	{NULL},
};
static const struct control_param level[] = {
	{"level", CONTROL_STRING, true, "error, warning, info or debug"},
	{NULL},
};

const struct control_method control_methods[] = {
	{"version", control_version, "program and version"},
	{"methods", control_list_methods, "this table"},
	{"status", control_status, "everything about the daemon"},
	{"stats", control_stats, "sums since the last reset", stats_params},
	{"stats.reset", control_stats_reset,
	 "begin the sums and the counters of paths at zero", NULL, true},
	{"session.list", control_session_list, "sessions with their paths"},
	{"session.show", control_session_show,
	 "one session with its paths and devices", session_required},
	{"session.close", control_session_close,
	 "disconnect all paths of a session", session_required, true},
	{"device.list", control_device_list, "open devices", device_filter},
	{"device.close", control_device_close, "take an open device away",
	 device_required, true},
	{"path.list", control_path_list, "paths", path_filter},
	{"path.disconnect", control_path_disconnect, "disconnect a path",
	 path_required, true},
	{"export.list", control_export_list, "exports"},
	{"export.add", control_export_add, "offer one more", export_spec, true},
	{"export.remove", control_export_remove,
	 "offer one no more, and close who has it open", export_name, true},
	{"export.resize", control_export_resize,
	 "make one larger, or look how large it is", export_size, true},
	{"export.limits", control_export_limits, "how fast one is",
	 export_limits, true},
	{"access.stats", control_access_stats,
	 "access rules, what is held, and what was refused, by reason"},
	{"log_level", control_log_level, "the level of the log"},
	{"log_level.set", control_log_level_set, "set the level of the log",
	 level, true},
	{"reload", control_reload, "read the configuration again", NULL, true},
	{"drain", control_drain,
	 "stop accepting, finish what is under way, and end", NULL, true},
	{NULL},
};
