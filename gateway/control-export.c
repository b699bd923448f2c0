/* SPDX-License-Identifier: BSD-3-Clause */
/* The exports. */
#include "gateway/control-env.h"

static void
add_export(void *user, const struct gw_exports_item *info)
{
	const struct gw_spec *spec = info->spec;

	json_array_append_new(
		user,
		json_pack("{s:o, s:o, s:b, s:I, s:i, s:I, s:I}", "name",
			  control_text(spec->name), "spec",
			  control_text(info->text), "read_only",
			  (int)spec->read_only, "size_bytes",
			  (json_int_t)info->size_bytes, "mappings",
			  (int)info->mappings, "iops", (json_int_t)spec->iops,
			  "bandwidth", (json_int_t)spec->bandwidth));
}

void
control_export_list(void *user, struct control_call *call)
{
	struct control_env *env = user;
	json_t *list = json_array();

	gw_exports_for_each(env->exports, add_export, list);
	control_reply(call, list);
}
