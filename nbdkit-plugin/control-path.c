/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands on paths, and the policy that chooses one. */
#include "nbdkit-plugin/control-priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Why a command could not begin; the session has no words for that. */
static const char *
refusal(int err)
{
	switch (-err) {
	case EBUSY:
		return "another command of it is under way, or it is "
		       "connecting or closing just now, or the session was not "
		       "opened yet; try again";
	case EEXIST:
		return "the session has this path already";
	case ENOENT:
		return "it was removed meanwhile";
	case ENOSPC:
		return "the session cannot have more paths";
	case ESHUTDOWN:
		return "the session has failed or is being closed; it is made "
		       "anew when an NBD client asks for a device";
	default:
		return strerror(-err);
	}
}

/* What the session makes of a command; the session's words, if it had any. */
static void
fail(struct control_call *call, const char *name, int err, const char *why)
{
	char text[768];

	if (!*why)
		why = refusal(err);
	snprintf(text, sizeof(text), "path '%s': %s", name, why);
	control_fail_errno(call, err, text);
}

static void
path_done(struct rtrs_clt_path_op *op, int err, const char *why)
{
	command_end(op->user, err, why);
}

static void
keep(struct command *cmd)
{
	if (rnbd_wait_keep(cmd->cc->p.wait))
		log_warn(cmd->cc->p.log,
			 "session %s: out of memory; a session that has to be "
			 "made anew will have its old paths and policy",
			 cmd->cc->p.sessname);
}

static void
reply(struct command *cmd)
{
	if (cmd->err) {
		fail(cmd->call, cmd->name, cmd->err, cmd->why);
		return;
	}
	control_reply(cmd->call, json_pack("{s:s, s:i}", "path", cmd->name,
					   "id", (int)cmd->op.path_id));
}

/* The set of paths has changed. */
static void
reply_and_keep(struct command *cmd)
{
	if (!cmd->err)
		keep(cmd);
	reply(cmd);
}

/* What is begun under the session's lock. */
struct begin {
	struct command *cmd;
	int (*by_id)(struct rtrs_clt *clt, unsigned id,
		     struct rtrs_clt_path_op *op);
	unsigned id;
	const struct rtrs_path_addr *add;
	int err;
};

static bool
begin(struct rnbd_clt *clt, void *arg)
{
	struct begin *b = arg;

	if (!clt)
		b->err = -ESHUTDOWN;
	else if (b->add)
		b->err = rtrs_clt_add_path(rnbd_clt_rtrs(clt), b->add,
					   &b->cmd->op);
	else
		b->err = b->by_id(rnbd_clt_rtrs(clt), b->id, &b->cmd->op);
	return !b->err;
}

static void
give(struct clt_control *cc, struct control_call *call, const char *name,
     struct begin *b, void (*reply_fn)(struct command *cmd))
{
	struct command *cmd = command_new(cc, call, name, reply_fn);

	if (!cmd)
		return;
	cmd->op.done = path_done;
	cmd->op.user = cmd;
	b->cmd = cmd;
	rnbd_wait_with(cc->p.wait, begin, b);
	/* What began is answered, and freed, from the loop only. */
	if (b->err) {
		fail(call, name, b->err, "");
		command_free(cmd);
	}
}

static void
give_by_name(struct clt_control *cc, struct control_call *call,
	     int (*by_id)(struct rtrs_clt *clt, unsigned id,
			  struct rtrs_clt_path_op *op),
	     void (*reply_fn)(struct command *cmd))
{
	const struct snap_path *path;
	struct begin b = {.by_id = by_id};

	if (!snap_take(cc, call))
		return;
	path = snap_find_path(cc, control_string(call, "path"), call);
	if (!path)
		return;
	b.id = path->info.id;
	give(cc, call, path->name, &b, reply_fn);
}

void
clt_path_add(void *user, struct control_call *call)
{
	struct clt_control *cc = user;
	const char *text = control_string(call, "path");
	struct rtrs_path_addr addr;
	struct begin b = {.add = &addr};
	char err[512] = "";
	int r = control_resolve(cc, text, &addr, err, sizeof(err));

	if (r)
		control_fail_errno(call, r, err);
	else
		give(cc, call, text, &b, reply_and_keep);
}

void
clt_path_remove(void *user, struct control_call *call)
{
	give_by_name(user, call, rtrs_clt_remove_path, reply_and_keep);
}

void
clt_path_disconnect(void *user, struct control_call *call)
{
	give_by_name(user, call, rtrs_clt_disconnect_path, reply);
}

void
clt_path_reconnect(void *user, struct control_call *call)
{
	give_by_name(user, call, rtrs_clt_reconnect_path, reply);
}

/* --------------------------------------------------------------- policy */

struct policy {
	int set; /* -1: no */
	int is;  /* -1: there is no session */
};

static bool
policy_of(struct rnbd_clt *clt, void *arg)
{
	struct policy *p = arg;

	p->is = -1;
	if (!clt)
		return false;
	if (p->set >= 0)
		rtrs_clt_set_policy(rnbd_clt_rtrs(clt),
				    (enum rtrs_mp_policy)p->set);
	p->is = (int)rtrs_clt_policy(rnbd_clt_rtrs(clt));
	return false;
}

static void
reply_policy(struct clt_control *cc, struct control_call *call, int set)
{
	struct policy p = {.set = set};

	rnbd_wait_with(cc->p.wait, policy_of, &p);
	if (p.is < 0)
		control_fail(call, CONTROL_REFUSED,
			     "session '%s' was not opened yet, or has failed",
			     cc->p.sessname);
	else if (set >= 0 && rnbd_wait_keep(cc->p.wait))
		control_fail(call, CONTROL_INTERNAL, "out of memory");
	else
		control_reply(call,
			      json_pack("{s:s, s:i}", "policy",
					rtrs_mp_policy_name(
						(enum rtrs_mp_policy)p.is),
					"number", p.is));
}

void
clt_policy(void *user, struct control_call *call)
{
	reply_policy(user, call, -1);
}

void
clt_policy_set(void *user, struct control_call *call)
{
	const char *text = control_string(call, "policy");
	int policy = rtrs_mp_policy_parse(text);

	if (policy < 0)
		control_fail(call, CONTROL_INVALID_PARAMS,
			     "'%s' is none of round-robin, min-inflight, "
			     "min-latency",
			     text);
	else
		reply_policy(user, call, policy);
}
