/* SPDX-License-Identifier: BSD-3-Clause */
/* Changes of what is offered. */
#include "gateway/ctl/ctl.h"

#include <errno.h>
#include <string.h>

int
cmd_export_add(const struct ctl *ctl, char **args, unsigned n)
{
	char size[32];
	json_t *res;
	int r = ctl_call(ctl, "export.add", json_pack("{s:s}", "spec", args[0]),
			 &res);

	if (r)
		return r;
	ctl_say(ctl, "export %s: offered, %s", json_str(res, "name"),
		bytes_text(json_num(res, "size_bytes"), 0, size, sizeof(size)));
	json_decref(res);
	return ctl_flush();
}

int
cmd_export_remove(const struct ctl *ctl, char **args, unsigned n)
{
	json_t *res;
	int r = ctl_call(ctl, "export.remove",
			 json_pack("{s:s}", "name", args[0]), &res);

	if (r)
		return r;
	ctl_say(ctl, "export %s: offered no more", args[0]);
	json_decref(res);
	return ctl_flush();
}

/* iops=N or bandwidth=BYTES, into params. */
static int
add_limit(json_t *params, const char *text)
{
	const char *value = strchr(text, '=');
	char *end;
	unsigned long long v;

	if (value && !strncmp(text, "bandwidth=", 10)) {
		json_object_set_new(params, "bandwidth",
				    json_string(value + 1));
		return CTL_OK;
	}
	if (!value || strncmp(text, "iops=", 5))
		return ctl_fail(CTL_USAGE,
				"%s: give iops=N or bandwidth=BYTES; 0 is no "
				"limit",
				text);
	errno = 0;
	v = strtoull(value + 1, &end, 10);
	if (value[1] < '0' || value[1] > '9' || *end || errno || v > INT64_MAX)
		return ctl_fail(CTL_USAGE, "%s: give a number", text);
	json_object_set_new(params, "iops", json_integer((json_int_t)v));
	return CTL_OK;
}

int
cmd_export_limits(const struct ctl *ctl, char **args, unsigned n)
{
	json_t *params = json_pack("{s:s}", "name", args[0]), *res;
	char bytes[32];
	int r = CTL_OK;

	for (unsigned i = 1; !r && i < n; i++)
		r = add_limit(params, args[i]);
	if (r) {
		json_decref(params);
		return r;
	}
	r = ctl_call(ctl, "export.limits", params, &res);
	if (r)
		return r;
	ctl_say(ctl, "export %s: iops %d, bandwidth %s", args[0],
		(int)json_num(res, "iops"),
		bytes_text(json_num(res, "bandwidth"), 0, bytes,
			   sizeof(bytes)));
	json_decref(res);
	return ctl_flush();
}

int
cmd_export_resize(const struct ctl *ctl, char **args, unsigned n)
{
	char size[32];
	json_t *res;
	int r = ctl_call(ctl, "export.resize",
			 json_pack("{s:s, s:s*}", "name", args[0], "size",
				   n > 1 ? args[1] : NULL),
			 &res);

	if (r)
		return r;
	ctl_say(ctl, "export %s: %s, for clients that open it from now on",
		args[0],
		bytes_text(json_num(res, "size_bytes"), 0, size, sizeof(size)));
	json_decref(res);
	return ctl_flush();
}
