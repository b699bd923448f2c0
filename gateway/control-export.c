/* SPDX-License-Identifier: BSD-3-Clause */
/* The exports. */
#include "gateway/control-env.h"

static void
add_export(void *user, const struct gw_exports_item *info)
{
	json_array_append_new(user,
			      json_pack("{s:o, s:o, s:b}", "name",
					control_text(info->spec->name), "spec",
					control_text(info->text), "read_only",
					(int)info->spec->read_only));
}

void
control_export_list(void *user, struct control_call *call)
{
	struct control_env *env = user;
	json_t *list = json_array();

	gw_exports_for_each(env->exports, add_export, list);
	control_reply(call, list);
}
