/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/reload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------ what cannot change */

static bool
same_listen(const struct options *a, const struct options *b)
{
	if (a->n_listen_texts != b->n_listen_texts)
		return false;
	for (unsigned i = 0; i < a->n_listen_texts; i++)
		if (strcmp(a->listen_texts[i], b->listen_texts[i]))
			return false;
	return true;
}

static bool
same_string(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool
same_control(const struct options *a, const struct options *b)
{
	return same_string(a->control, b->control);
}

static bool
same_control_group(const struct options *a, const struct options *b)
{
	return a->has_control_group == b->has_control_group &&
	       a->control_group == b->control_group;
}

static bool
same_metrics(const struct options *a, const struct options *b)
{
	return same_string(a->metrics_text, b->metrics_text);
}

static bool
same_pid_file(const struct options *a, const struct options *b)
{
	return same_string(a->pid_file, b->pid_file);
}

static bool
same_log_target(const struct options *a, const struct options *b)
{
	return a->log_target_given == b->log_target_given &&
	       (!a->log_target_given || a->log_target == b->log_target);
}

/* One value that bytes compare. */
#define SAME_VALUE(field)                                                      \
	static bool same_##field(const struct options *a,                      \
				 const struct options *b)                      \
	{                                                                      \
		return a->field == b->field;                                   \
	}
SAME_VALUE(queue_depth)
SAME_VALUE(chunk_size)
SAME_VALUE(workers)
SAME_VALUE(busy_poll_us)
SAME_VALUE(no_io_uring)
SAME_VALUE(always_invalidate)
SAME_VALUE(hb_interval_ms)
SAME_VALUE(hb_missed_max)
SAME_VALUE(foreground)
SAME_VALUE(sandbox)
SAME_VALUE(core_dumps)

/* Keys that a running daemon keeps the value of. */
static const struct {
	const char *key;
	bool (*same)(const struct options *a, const struct options *b);
} fixed[] = {
	{"listen", same_listen},
	{"queue-depth", same_queue_depth},
	{"chunk-size", same_chunk_size},
	{"workers", same_workers},
	{"busy-poll", same_busy_poll_us},
	{"no-io-uring", same_no_io_uring},
	{"always-invalidate", same_always_invalidate},
	{"heartbeat-interval", same_hb_interval_ms},
	{"heartbeat-missed", same_hb_missed_max},
	{"control", same_control},
	{"control-group", same_control_group},
	{"metrics", same_metrics},
	{"foreground", same_foreground},
	{"pid-file", same_pid_file},
	{"log-target", same_log_target},
	{"sandbox", same_sandbox},
	{"core-dumps", same_core_dumps},
};

static const char *const live[] = {"export", "search-path", "max-sessions",
				   "max-memory", "log-level"};

int
reload_effect(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if (!strcmp(fixed[i].key, key))
			return RELOAD_RESTART;
	for (size_t i = 0; i < ARRAY_SIZE(live); i++)
		if (!strcmp(live[i], key))
			return RELOAD_LIVE;
	return -1;
}

static void
warn_of_fixed(const struct reload_params *p, const struct options *next,
	      char names[CONF_TEXT_MAX])
{
	names[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
		size_t len = strlen(names);

		if (!fixed[i].same(&p->started->opt, next))
			snprintf(names + len, CONF_TEXT_MAX - len, "%s%s",
				 len ? ", " : "", fixed[i].key);
	}
	if (*names)
		log_warn(p->log,
			 "reload: new values that need a restart, the old ones "
			 "stay until then: %s",
			 names);
}

/* ------------------------------------------------------------- the workers */

/* One look of one worker at its mappings. */
struct look {
	struct loop_call call;
	struct worker *worker;
	struct look *next;
};

static void
free_looks(struct look *looks)
{
	while (looks) {
		struct look *next = looks->next;

		free(looks);
		looks = next;
	}
}

/* Before anything changes, so that it cannot fail afterwards. */
static int
new_looks(const struct reload_params *p, struct look **ret)
{
	struct look *looks = NULL;

	for (unsigned i = 0; i < p->n_workers; i++) {
		struct look *l = calloc(1, sizeof(*l));

		if (!l) {
			free_looks(looks);
			return -ENOMEM;
		}
		l->worker = p->workers[i];
		l->next = looks;
		looks = l;
	}
	*ret = looks;
	return 0;
}

/* On the worker's thread. */
static void
look_call(struct loop_call *call)
{
	struct look *l = container_of(call, struct look, call);

	gw_server_recheck(worker_server(l->worker));
	free(l);
}

static void
post_looks(struct look *looks)
{
	while (looks) {
		struct look *next = looks->next;

		looks->call.fn = look_call;
		worker_post(looks->worker, &looks->call);
		looks = next;
	}
}

/* --------------------------------------------------------------- the whole */

/* Everything that can fail. */
static int
prepare(const struct reload_params *p, const struct gw_config *next,
	struct gw_exports_change **ret_change, struct look **ret_looks,
	char err[CONF_TEXT_MAX])
{
	struct gw_exports_change *change = NULL;
	const struct gw_spec *bad = NULL;
	struct look *looks = NULL;
	char text[GW_TEXT_MAX] = "";
	int r = new_looks(p, &looks);

	if (r) {
		snprintf(err, CONF_TEXT_MAX, "out of memory");
		return r;
	}
	r = gw_exports_prepare(p->exports, next->opt.specs, next->opt.n_specs,
			       &change, &bad, text);
	if (r)
		goto err_looks;
	/* The last that may fail; what follows in reload() cannot. */
	r = gw_exports_set_search_path(p->exports, next->opt.search_path, text);
	if (r)
		goto err_change;
	*ret_change = change;
	*ret_looks = looks;
	return 0;

err_change:
	gw_exports_drop(p->exports, change);
err_looks:
	free_looks(looks);
	gw_config_place(bad, text, err);
	return r;
}

int
reload(const struct reload_params *p, char text[CONF_TEXT_MAX])
{
	const struct cmdline *cl = p->started->cl;
	struct gw_exports_change *change = NULL;
	struct gw_config next;
	struct look *looks = NULL;
	unsigned n_rules;
	int r;

	if (!cl->config) {
		snprintf(text, CONF_TEXT_MAX,
			 "there is no configuration file to read again: start "
			 "with --config FILE");
		return -ENOENT;
	}
	r = gw_config_load(cl, p->started, &next, text);
	if (r)
		return r;
	r = prepare(p, &next, &change, &looks, text);
	if (r) {
		gw_config_deinit(&next);
		return r;
	}
	gw_exports_apply(p->exports, change);
	n_rules = next.rules ? gw_ruleset_count(next.rules) : 0;
	gw_access_replace(p->access, gw_config_take_rules(&next));
	gw_access_set_limits(p->access, &next.limits);
	log_set_level(p->log, next.opt.log_level);
	post_looks(looks);
	log_info(p->log, "reloaded %s: %u exports, %u rules", cl->config,
		 next.opt.n_specs, n_rules);
	warn_of_fixed(p, &next.opt, text);
	gw_config_deinit(&next);
	return 0;
}
