/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands on devices. */
#include "nbdkit-plugin/control-priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void
asked(void *user, int err, uint64_t size_bytes, const char *text)
{
	struct command *cmd = user;

	cmd->size_bytes = size_bytes;
	command_end(cmd, err, text);
}

/* What those who have the device see does not fit: not the caller's mistake. */
static void
fail(struct control_call *call, const char *name, int err, const char *why)
{
	char text[1024];

	snprintf(text, sizeof(text), "device '%s': %s", name, why);
	control_fail_errno(call, err == -EINVAL ? -EPERM : err, text);
}

static void
reply(struct command *cmd)
{
	if (cmd->err)
		fail(cmd->call, cmd->name, cmd->err, cmd->why);
	else
		control_reply(cmd->call,
			      json_pack("{s:o, s:I}", "device",
					control_text(cmd->name), "size_bytes",
					(json_int_t)cmd->size_bytes));
}

struct begin {
	struct command *cmd;
	enum rnbd_clt_ask what;
	int err;
};

static bool
begin(struct rnbd_clt *clt, void *arg)
{
	struct begin *b = arg;
	struct command *cmd = b->cmd;

	b->err = -ENOENT;
	snprintf(cmd->why, sizeof(cmd->why), "nobody has such a device open");
	if (clt)
		b->err = rnbd_clt_dev_ask(clt, cmd->name, b->what, asked, cmd,
					  cmd->why, sizeof(cmd->why));
	return !b->err;
}

static void
give(struct clt_control *cc, struct control_call *call, enum rnbd_clt_ask what)
{
	const char *name = control_string(call, "device");
	struct begin b = {.what = what};

	if (!*name || strlen(name) >= RNBD_NAME_LEN) {
		control_fail(call, CONTROL_NOT_FOUND,
			     "device '%.300s': no device has such a name",
			     name);
		return;
	}
	b.cmd = command_new(cc, call, name, reply);
	if (!b.cmd)
		return;
	rnbd_wait_with(cc->p.wait, begin, &b);
	if (b.err) {
		fail(call, name, b.err, b.cmd->why);
		command_free(b.cmd);
	}
}

void
clt_device_resize(void *user, struct control_call *call)
{
	give(user, call, RNBD_CLT_RESIZE);
}

void
clt_device_remap(void *user, struct control_call *call)
{
	give(user, call, RNBD_CLT_REMAP);
}
