/* SPDX-License-Identifier: BSD-3-Clause */
/* Ending things that clients have. */
#include "gateway/ctl/ctl.h"

int
cmd_session_close(const struct ctl *ctl, char **args, unsigned n)
{
	json_t *res;
	int r = ctl_call(ctl, "session.close",
			 json_pack("{s:s}", "session", args[0]), &res);

	if (r)
		return r;
	ctl_say(ctl, "session %s: %d paths disconnected", args[0],
		(int)json_num(res, "paths"));
	json_decref(res);
	return ctl_flush();
}

int
cmd_path_disconnect(const struct ctl *ctl, char **args, unsigned n)
{
	json_t *res;
	int r = ctl_call(ctl, "path.disconnect",
			 json_pack("{s:s, s:s*}", "path", args[0], "session",
				   n > 1 ? args[1] : NULL),
			 &res);

	if (r)
		return r;
	ctl_say(ctl, "path %s: %d disconnected", args[0],
		(int)json_num(res, "paths"));
	json_decref(res);
	return ctl_flush();
}

int
cmd_device_close(const struct ctl *ctl, char **args, unsigned n)
{
	json_t *res;
	int r = ctl_call(ctl, "device.close",
			 json_pack("{s:s, s:s*}", "device", args[0], "session",
				   n > 1 ? args[1] : NULL),
			 &res);

	if (r)
		return r;
	ctl_say(ctl, "device %s: closed for session %s", args[0],
		json_str(res, "sessname"));
	json_decref(res);
	return ctl_flush();
}
