/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of the session under nbdkit: its server is tried before nbdkit
 * forks, it is started after that, and ended when nbdkit ends.
 */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "nbdkit-plugin/plugin-session.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "nbdkit-plugin/control.h"
#include "nbdkit-plugin/in-child.h"
#include "nbdkit-plugin/progress.h"
#include "rtrs/base/remedy.h"

/* At the end, an unreachable server is given up after this. */
#define CLOSE_TIMEOUT_MS 1000

/* -D rnbd.session=1: each step of the session; rnbd.wait=1: at the end, how
 * the threads shared the work. */
NBDKIT_DLL_PUBLIC int rnbd_debug_session;
NBDKIT_DLL_PUBLIC int rnbd_debug_wait;

struct params params;
struct rnbd_wait *session;
static struct rtrs_path_addr *paths;
static struct progress *helper;
static struct rnbd_stats *stats;
static struct clt_control *control;

static void
log_sink(void *user, enum log_level level, const char *line)
{
	if (level <= LOG_LVL_WARNING)
		nbdkit_error("%s", line);
	else
		nbdkit_debug("%s", line);
}

static struct log session_log = {
	.sink = log_sink,
	.threshold = LOG_LVL_INFO,
};

void
plugin_load(void)
{
	params_init(&params);
}

void
plugin_unload(void)
{
	free(paths);
	paths = NULL;
	params_deinit(&params);
}

/* From the helper, which belongs to no connection: only a shutdown ends it. */
static bool
quitting(void *user)
{
	return nbdkit_nanosleep(0, 0) == -1;
}

static int
session_new(struct rnbd_wait **ret)
{
	struct rnbd_wait_params wp;
	int err;

	params_session(&params, &wp);
	wp.clt.rtrs.paths = paths;
	wp.clt.rtrs.log = &session_log;
	wp.clt.stats = stats;
	wp.quit = quitting;
	err = rnbd_wait_new(&wp, ret);
	if (err)
		nbdkit_error("session %s: %s%s", params.sessname,
			     strerror(-err), remedy_words(err));
	return err ? -1 : 0;
}

/*
 * What a session said that only tries the server: held back until it is known
 * how that ended, for the end says the last of it again.
 */
static struct {
	pthread_mutex_t lock; /* the log has a thread */
	char *line[RTRS_MAX_PATHS];
	unsigned n;
} held = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void
hold_sink(void *user, enum log_level level, const char *line)
{
	char *copy = level <= LOG_LVL_WARNING ? strdup(line) : NULL;

	pthread_mutex_lock(&held.lock);
	if (copy && held.n < ARRAY_SIZE(held.line)) {
		held.line[held.n++] = copy;
		copy = NULL;
		line = NULL;
	}
	pthread_mutex_unlock(&held.lock);
	if (line)
		log_sink(user, level, line);
	free(copy);
}

/* Says what was held back, but for what why tells of a path. "": all of it. */
static void
held_say(const char *why)
{
	char path[RNBD_NAME_LEN + 32];
	size_t len = (size_t)snprintf(path, sizeof(path), "session %s: path ",
				      params.sessname);

	pthread_mutex_lock(&held.lock);
	for (unsigned i = 0; i < held.n; i++) {
		const char *line = held.line[i];

		if (!strncmp(line, path, len) && strstr(why, line + len))
			nbdkit_debug("%s", line);
		else
			nbdkit_error("%s", line);
		free(held.line[i]);
	}
	held.n = 0;
	pthread_mutex_unlock(&held.lock);
}

int
device_open(struct rnbd_wait *s, const char *name, enum rnbd_access_mode mode,
	    struct rnbd_clt_dev **ret)
{
	char text[RNBD_WAIT_TEXT_MAX];
	int err = rnbd_wait_open(s, name, mode, text, ret);

	if (!err)
		return 0;
	held_say(text);
	nbdkit_error("cannot open '%s' in session %s: %s", name,
		     params.sessname, text);
	errno = -err;
	return -1;
}

static int
try_device(struct rnbd_wait *s, const char *name, bool read_only)
{
	struct rnbd_clt_dev *dev;

	if (device_open(s, name,
			read_only ? RNBD_ACCESS_RO : params.access_mode, &dev))
		return -1;
	rnbd_wait_close(s, dev);
	return 0;
}

/* Every device that is known by name, or at least the session. */
static int
try_all(void *arg)
{
	const struct exports *x = &params.exports;
	char text[RNBD_WAIT_TEXT_MAX];
	struct rnbd_wait *s;
	int rc = 0;

	/* This process has no other session. */
	session_log.sink = hold_sink;
	if (session_new(&s))
		return 1;
	if (x->only) {
		rc = try_device(s, x->only, false);
	} else if (rnbd_wait_ready(s, text)) {
		held_say(text);
		nbdkit_error("session %s: %s", params.sessname, text);
		rc = -1;
	}
	for (unsigned i = 0; i < x->n_items && !rc; i++)
		rc = try_device(s, x->items[i].device, x->items[i].read_only);
	rnbd_wait_free(s, CLOSE_TIMEOUT_MS);
	held_say("");
	return !!rc;
}

/*
 * While the user still looks: can the server be reached, and has it got the
 * device? With a session and a process of its own, both of which end before
 * nbdkit forks.
 */
static int
preflight(void)
{
	int rc = in_child(try_all, NULL);

	if (rc < 0)
		nbdkit_error("cannot try the device: %s%s", strerror(-rc),
			     remedy_words(rc));
	return rc ? -1 : 0;
}

/* Is there what the paths need? */
static int
check_rdma(void)
{
	char why[256];

	for (unsigned i = 0; i < params.n_paths; i++) {
		if (paths[i].fabric->caps & FABRIC_CAP_LAZY_MEM)
			continue;
		if (!verbs_check("", why, sizeof(why)))
			return 0;
		nbdkit_error("path=%s: %s", params.paths[i].dst, why);
		return -1;
	}
	return 0;
}

int
plugin_get_ready(void)
{
	char err[PARAMS_ERR_MAX];

	if (rnbd_debug_session)
		session_log.threshold = LOG_LVL_DEBUG;
	if (params_resolve(&params, &paths, err)) {
		nbdkit_error("%s", err);
		return -1;
	}
	if (check_rdma())
		return -1;
	/* It is made after the fork, when nobody looks any more. */
	if (params.control && control_check(params.control, err)) {
		nbdkit_error("%s", err);
		return -1;
	}
	/* A server that may be away is not asked for. */
	return params.preflight && params.connect != RTRS_CONNECT_LAZY
		       ? preflight()
		       : 0;
}

/* As path= would, while the session runs. */
static int
resolve_path(void *user, const char *text, struct rtrs_path_addr *ret,
	     char *err, size_t err_len)
{
	char why[256];
	int r = params_resolve_path(&params, text, ret, err, err_len);

	if (r || ret->fabric->caps & FABRIC_CAP_LAZY_MEM ||
	    !verbs_check("", why, sizeof(why)))
		return r;
	snprintf(err, err_len, "%s: %s", text, why);
	return -ENODEV;
}

static int
control_start(void)
{
	const struct clt_control_params p = {
		.path = params.control,
		.sessname = params.sessname,
		.wait = session,
		.stats = stats,
		.log = &session_log,
		.resolve = resolve_path,
	};
	char err[CONTROL_TEXT_MAX];

	if (!params.control || !clt_control_new(&p, err, &control))
		return 0;
	nbdkit_error("%s", err);
	return -1;
}

int
plugin_after_fork(void)
{
	int err;

	if (params.control && rnbd_stats_new(&stats)) {
		nbdkit_error("%s", strerror(ENOMEM));
		return -1;
	}
	if (session_new(&session) || control_start())
		return -1;
	err = progress_start(session, &helper);
	if (err) {
		nbdkit_error("session %s: cannot start a thread: %s%s",
			     params.sessname, strerror(-err),
			     remedy_words(err));
		return -1;
	}
	rnbd_wait_connect(session);
	return 0;
}

void
plugin_cleanup(void)
{
	struct rnbd_wait_stats st;

	if (!session)
		return;
	clt_control_stop(control);
	progress_stop(helper);
	helper = NULL;
	if (rnbd_debug_wait) {
		rnbd_wait_stats(session, &st);
		nbdkit_debug(
			"rnbd: %" PRIu64 " requests, %" PRIu64
			" driven by their own thread, %" PRIu64
			" combined; %" PRIu64 " sleeps of drivers, %" PRIu64
			" handovers, %" PRIu64 " wakes, %" PRIu64
			" turns of the helper; %" PRIu64 " polls paid, %" PRIu64
			" missed",
			st.ops, st.driven, st.combined, st.sleeps, st.handovers,
			st.wakes, st.helper, st.polls_paid, st.polls_missed);
	}
	rnbd_wait_free(session, CLOSE_TIMEOUT_MS);
	session = NULL;
	clt_control_free(control);
	rnbd_stats_free(stats);
	stats = NULL;
}
