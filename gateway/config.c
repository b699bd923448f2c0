/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/access-conf.h"
#include "gateway/export-conf.h"
#include "gateway/pid-file.h"
#include "rtrs/base/remedy.h"
#include "rtrs/base/util.h"

static int
no_memory(char err[CONF_TEXT_MAX])
{
	snprintf(err, CONF_TEXT_MAX, "out of memory");
	return -ENOMEM;
}

/* ------------------------------------------------------------- sections */

static int
begin_gateway(void *user, void **ret_obj, char err[CONF_TEXT_MAX])
{
	struct gw_config *c = user;

	*ret_obj = &c->opt;
	return 0;
}

static void
at_line(void *user, const char *path, unsigned line)
{
	struct gw_config *c = user;

	c->opt.at_path = path;
	c->opt.at_line = line;
}

static int
begin_export(void *user, void **ret_obj, char err[CONF_TEXT_MAX])
{
	*ret_obj = calloc(1, sizeof(struct gw_spec));
	return *ret_obj ? 0 : no_memory(err);
}

static int
end_export(void *user, void *obj, char err[CONF_TEXT_MAX])
{
	struct gw_config *c = user;
	struct gw_spec *spec = obj;
	int r;

	spec->in_section = true;
	r = options_add_spec(&c->opt, spec, err);
	if (!r)
		free(obj);
	return r;
}

static void
abort_export(void *user, void *obj)
{
	gw_spec_deinit(obj);
	free(obj);
}

static int
begin_rule(void *user, void **ret_obj, char err[CONF_TEXT_MAX])
{
	struct gw_config *c = user;

	if (!c->rules && gw_ruleset_new(&c->rules) < 0)
		return no_memory(err);
	*ret_obj = calloc(1, sizeof(struct gw_rule));
	return *ret_obj ? 0 : no_memory(err);
}

static int
end_rule(void *user, void *obj, char err[CONF_TEXT_MAX])
{
	struct gw_config *c = user;
	int r = gw_ruleset_add(c->rules, obj, err);

	if (!r)
		free(obj);
	return r;
}

static void
abort_rule(void *user, void *obj)
{
	gw_rule_clear(obj);
	free(obj);
}

static int
begin_limits(void *user, void **ret_obj, char err[CONF_TEXT_MAX])
{
	struct gw_config *c = user;

	*ret_obj = &c->limits;
	return 0;
}

const struct conf_section gw_config_sections[] = {
	{"gateway", gw_option_keys, false, begin_gateway, NULL, NULL, at_line},
	{"export", gw_export_keys, true, begin_export, end_export, abort_export,
	 at_line, gw_export_key_elsewhere},
	{"rule", gw_rule_keys, true, begin_rule, end_rule, abort_rule},
	{"limits", gw_access_limit_keys, false, begin_limits, NULL, NULL},
	{0},
};

/* ------------------------------------------------------------ the whole */

/* An address that may hold no session could never have one. */
static int
check_limits(const struct gw_config *c, char err[OPT_TEXT_MAX])
{
	const struct options *o = &c->opt;
	uint64_t need = (uint64_t)o->queue_depth * o->chunk_size;

	if (!c->limits.addr_memory || c->limits.addr_memory >= need)
		return 0;
	snprintf(err, OPT_TEXT_MAX,
		 "address-memory %" PRIu64 " does not hold one session: "
		 "%" PRIu64 " is the least for queue-depth %u and chunk-size "
		 "%" PRIu32,
		 c->limits.addr_memory, need, o->queue_depth, o->chunk_size);
	return -EINVAL;
}

/* What holds between keys has no line of its own. */
static int
finish(const struct cmdline *cl, struct gw_config *c, char err[OPT_TEXT_MAX])
{
	char text[OPT_TEXT_MAX] = "";
	const struct options *o = &c->opt;
	int r = options_finish(&c->opt, text);

	gw_access_limits_complete(&c->limits, o->max_sessions, o->max_memory,
				  (uint64_t)o->queue_depth * o->chunk_size);
	if (!r)
		r = check_limits(c, text);
	if (r)
		snprintf(err, OPT_TEXT_MAX, "%.300s%s%.700s",
			 cl->config ? cl->config : "", cl->config ? ": " : "",
			 text);
	return r;
}

int
gw_config_load(const struct cmdline *cl, const struct gw_config *prior,
	       struct gw_config *ret, char err[OPT_TEXT_MAX])
{
	struct gw_config c = {.cl = cl};
	int r = 0;

	gw_access_limits_init(&c.limits);
	options_init(&c.opt, prior ? &prior->opt : NULL);
	if (cl->config)
		r = conf_read(cl->config, gw_config_sections, &c, err);
	at_line(&c, NULL, 0);
	if (!r)
		r = cmdline_apply(cl, &c.opt, err);
	if (!r)
		r = finish(cl, &c, err);
	if (r) {
		gw_config_deinit(&c);
		return r;
	}
	*ret = c;
	return 0;
}

void
gw_config_place(const struct gw_spec *spec, const char *text,
		char err[CONF_TEXT_MAX])
{
	snprintf(err, CONF_TEXT_MAX, "%.700s%s%s",
		 spec && spec->place ? spec->place : "",
		 spec && spec->place ? ": " : "", text);
}

static int
no_exports(int r, char err[CONF_TEXT_MAX])
{
	snprintf(err, CONF_TEXT_MAX, "exports: %s%s", strerror(-r),
		 remedy_words(r));
	return r;
}

/* Each export by add(), then the search path; err says where a fault stands. */
static int
add_all(struct gw_exports *x, const struct options *o,
	int (*add)(struct gw_exports *x, const struct gw_spec *spec,
		   char err_text[GW_TEXT_MAX]),
	char err[CONF_TEXT_MAX])
{
	const struct gw_spec *spec = NULL;
	char text[GW_TEXT_MAX] = "";
	int r = 0;

	for (unsigned i = 0; i < o->n_specs && !r; i++) {
		spec = &o->specs[i];
		r = add(x, spec, text);
	}
	if (!r && o->search_path) {
		spec = NULL;
		r = gw_exports_set_search_path(x, o->search_path, text);
	}
	if (r < 0)
		gw_config_place(spec, text, err);
	return r;
}

int
gw_config_exports(const struct gw_config *c, const struct log *log,
		  struct gw_exports **ret, char err[CONF_TEXT_MAX])
{
	struct gw_exports *x;
	int r = gw_exports_new(log, &x);

	if (r < 0)
		return no_exports(r, err);
	r = add_all(x, &c->opt, gw_exports_add, err);
	if (r < 0)
		gw_exports_free(x);
	else
		*ret = x;
	return r;
}

/* A file that would be created is not there to be opened. */
static int
look_at_export(struct gw_exports *x, const struct gw_spec *spec,
	       char err[GW_TEXT_MAX])
{
	struct gw_spec look = *spec;

	if (look.create && access(look.path, F_OK) < 0 && errno == ENOENT)
		return 0;
	look.create = 0;
	return gw_exports_add(x, &look, err);
}

int
gw_config_check(const struct gw_config *c, char err[CONF_TEXT_MAX])
{
	const struct options *o = &c->opt;
	struct gw_exports *x;
	int r;

	if (o->pid_file) {
		char text[GW_TEXT_MAX];

		r = pid_file_check(o->pid_file, text);
		if (r < 0) {
			gw_config_place(NULL, text, err);
			return r;
		}
	}
	r = gw_exports_new(NULL, &x);
	if (r < 0)
		return no_exports(r, err);
	r = add_all(x, o, look_at_export, err);
	gw_exports_free(x);
	return r;
}

struct gw_ruleset *
gw_config_take_rules(struct gw_config *c)
{
	struct gw_ruleset *rules = c->rules;

	c->rules = NULL;
	return rules;
}

void
gw_config_deinit(struct gw_config *c)
{
	options_deinit(&c->opt);
	gw_ruleset_free(c->rules);
	c->rules = NULL;
}
