/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of the control socket, and of the commands that it gave. */
#include "nbdkit-plugin/control-priv.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <utlist.h>

uint64_t
control_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* ------------------------------------------------------------- commands */

struct command *
command_new(struct clt_control *cc, struct control_call *call, const char *name,
	    void (*reply)(struct command *cmd))
{
	struct command *cmd = calloc(1, sizeof(*cmd));

	if (!cmd) {
		control_fail(call, CONTROL_INTERNAL, "out of memory");
		return NULL;
	}
	cmd->cc = cc;
	cmd->call = call;
	cmd->reply = reply;
	snprintf(cmd->name, sizeof(cmd->name), "%s", name);
	return cmd;
}

void
command_free(struct command *cmd)
{
	free(cmd);
}

void
command_end(struct command *cmd, int err, const char *why)
{
	struct clt_control *cc = cmd->cc;
	bool was_empty;

	cmd->err = err;
	snprintf(cmd->why, sizeof(cmd->why), "%s",
		 err && !*why ? strerror(-err) : why);
	pthread_mutex_lock(&cc->lock);
	was_empty = !cc->done;
	LL_APPEND(cc->done, cmd);
	pthread_mutex_unlock(&cc->lock);
	if (was_empty)
		loop_post(cc->loop, &cc->wake);
}

/* Answers what has ended. */
static void
reply_all(struct clt_control *cc)
{
	struct command *cmd, *next;

	pthread_mutex_lock(&cc->lock);
	cmd = cc->done;
	cc->done = NULL;
	pthread_mutex_unlock(&cc->lock);
	for (; cmd; cmd = next) {
		next = cmd->next;
		cmd->reply(cmd);
		command_free(cmd);
	}
}

static void
on_wake(struct loop_call *call)
{
	reply_all(container_of(call, struct clt_control, wake));
}

/* ------------------------------------------------------------ addresses */

int
control_resolve(struct clt_control *cc, const char *text,
		struct rtrs_path_addr *ret, char *err, size_t err_len)
{
	bool abandoned;
	int r;

	pthread_mutex_lock(&cc->lock);
	if (cc->stopping) {
		pthread_mutex_unlock(&cc->lock);
		snprintf(err, err_len, "%s", strerror(ESHUTDOWN));
		return -ESHUTDOWN;
	}
	cc->resolving = true;
	pthread_mutex_unlock(&cc->lock);
	r = cc->p.resolve(cc->p.user, text, ret, err, err_len);
	pthread_mutex_lock(&cc->lock);
	cc->resolving = false;
	abandoned = cc->abandoned;
	pthread_cond_signal(&cc->resolved);
	pthread_mutex_unlock(&cc->lock);
	/* There is no session any more, and soon no process. */
	while (abandoned)
		pause();
	return r;
}

/* -------------------------------------------------------------- methods */

static void
version(void *user, struct control_call *call)
{
	const struct clt_control *cc = user;

	control_reply(call,
		      json_pack("{s:s, s:s, s:o, s:i}", "program",
				"nbdkit-rnbd-plugin", "version", RNBD_VERSION,
				"sessname", control_text(cc->p.sessname), "pid",
				(int)getpid()));
}

static void list_methods(void *user, struct control_call *call);

static const struct control_param session_params[] = {
	{"session", CONTROL_STRING, true, "its name"},
	{NULL},
};
static const struct control_param path_list_params[] = {
	{"path", CONTROL_STRING, false, "only those that are called so"},
	{NULL},
};
static const struct control_param add_params[] = {
	{"path", CONTROL_STRING, true, "[SRC@]DST, as of path="},
	{NULL},
};
static const struct control_param path_params[] = {
	{"path", CONTROL_STRING, true, "SRC@DST, DST, or its number"},
	{NULL},
};
static const struct control_param policy_params[] = {
	{"policy", CONTROL_STRING, true,
	 "round-robin, min-inflight or min-latency; rr, mi, ml; 0, 1, 2"},
	{NULL},
};
static const struct control_param device_list_params[] = {
	{"device", CONTROL_STRING, false, "only the one that is called so"},
	{NULL},
};
static const struct control_param device_params[] = {
	{"device", CONTROL_STRING, true, "its name on the server"},
	{NULL},
};
static const struct control_param stats_params[] = {
	{"buckets", CONTROL_BOOLEAN, false, "with the histogram"},
	{NULL},
};

/* rnbdctl(8) lists them; a test compares. */
static const struct control_method methods[] = {
	{"version", version, "program and version", NULL, false},
	{"methods", list_methods, "this list", NULL, false},
	{"session.list", clt_session_list, "the session and its paths", NULL,
	 false},
	{"session.show", clt_session_show, "with its devices", session_params,
	 false},
	{"session.policy", clt_policy, "which path takes a request", NULL,
	 false},
	{"session.policy.set", clt_policy_set, "another policy", policy_params,
	 true},
	{"path.list", clt_path_list, "paths", path_list_params, false},
	{"path.add", clt_path_add, "one more path, which must connect",
	 add_params, true},
	{"path.remove", clt_path_remove, "close a path and forget it",
	 path_params, true},
	{"path.disconnect", clt_path_disconnect,
	 "close a path until it is told to reconnect", path_params, true},
	{"path.reconnect", clt_path_reconnect, "connect a path (again) now",
	 path_params, true},
	{"device.list", clt_device_list, "devices that are in use",
	 device_list_params, false},
	{"device.resize", clt_device_resize, "ask for the size again",
	 device_params, true},
	{"device.remap", clt_device_remap, "close and open again",
	 device_params, true},
	{"stats", clt_stats, "sums since the last reset", stats_params, false},
	{"stats.reset", clt_stats_reset, "begin at zero", NULL, true},
	{"metrics", clt_metrics, "OpenMetrics text", NULL, false},
	{NULL},
};

static void
list_methods(void *user, struct control_call *call)
{
	control_reply(call, control_describe(methods));
}

/* ----------------------------------------------------------------- life */

static void *
control_main(void *arg)
{
	struct clt_control *cc = arg;

	pthread_setname_np(pthread_self(), "rnbd-control");
	(void)loop_run(cc->loop);
	return NULL;
}

static void
on_stop(struct loop_call *call)
{
	loop_stop(container_of(call, struct clt_control, stop)->loop);
}

static int
start_thread(struct clt_control *cc)
{
	sigset_t all, old;
	int err;

	/* Signals are the program's and belong on its threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&cc->thread, NULL, control_main, cc);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

static void
destroy(struct clt_control *cc)
{
	struct dev_base *b, *tmp;

	loop_free(cc->loop);
	if (cc->snap)
		free(cc->snap->devices);
	free(cc->snap);
	free(cc->carries);
	LL_FOREACH_SAFE(cc->bases, b, tmp)
		free(b);
	pthread_cond_destroy(&cc->resolved);
	pthread_mutex_destroy(&cc->lock);
	free(cc);
}

static void
resolved_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

int
clt_control_new(const struct clt_control_params *p,
		char err_text[CONTROL_TEXT_MAX], struct clt_control **ret)
{
	struct clt_control *cc = calloc(1, sizeof(*cc));
	struct control_params cp = {
		.path = p->path,
		.methods = methods,
		.user = cc,
		.log = p->log,
	};
	int r = -ENOMEM;

	snprintf(err_text, CONTROL_TEXT_MAX, "control socket '%s': out of memory",
		 p->path);
	if (!cc)
		return -ENOMEM;
	cc->p = *p;
	snprintf(cc->path, sizeof(cc->path), "%s", p->path);
	cc->stop.fn = on_stop;
	cc->wake.fn = on_wake;
	cc->started = cc->since = control_now();
	pthread_mutex_init(&cc->lock, NULL);
	resolved_init(&cc->resolved);
	cc->snap = calloc(1, sizeof(*cc->snap));
	cc->carries = calloc(RTRS_MAX_PATHS, sizeof(*cc->carries));
	if (!cc->snap || !cc->carries)
		goto err;
	r = loop_new(&cc->loop);
	if (r)
		goto err;
	cp.loop = cc->loop;
	r = control_new(&cp, err_text, &cc->server);
	if (r)
		goto err;
	r = start_thread(cc);
	if (r) {
		snprintf(err_text, CONTROL_TEXT_MAX,
			 "control socket '%s': cannot start a thread: %s",
			 p->path, strerror(-r));
		control_free(cc->server);
		goto err;
	}
	*ret = cc;
	return 0;
err:
	destroy(cc);
	return r;
}

void
clt_control_stop(struct clt_control *cc)
{
	uint64_t end = time_after_ms(control_now(), CLT_CONTROL_STOP_MS);
	struct timespec ts = {
		.tv_sec = (time_t)(end / NSEC_PER_SEC),
		.tv_nsec = (long)(end % NSEC_PER_SEC),
	};
	bool abandoned;
	int r = 0;

	if (!cc)
		return;
	loop_post(cc->loop, &cc->stop);
	pthread_mutex_lock(&cc->lock);
	cc->stopping = true;
	while (cc->resolving && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&cc->resolved, &cc->lock, &ts);
	abandoned = cc->abandoned = cc->resolving;
	pthread_mutex_unlock(&cc->lock);
	if (abandoned) {
		pthread_detach(cc->thread);
		(void)unlink(cc->path);
		return;
	}
	pthread_join(cc->thread, NULL);
	control_free(cc->server);
	cc->server = NULL;
}

void
clt_control_free(struct clt_control *cc)
{
	struct command *cmd;

	if (!cc || cc->abandoned)
		return;
	/*
	 * Nobody hears it, but that is how calls end; as failures, for there is
	 * no session any more whose paths could be kept.
	 */
	LL_FOREACH(cc->done, cmd)
		cmd->err = -ESHUTDOWN;
	reply_all(cc);
	destroy(cc);
}
