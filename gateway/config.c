/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* user is the struct gw_config. */
static int
begin_gateway(void *user, void **ret_obj, char err[CONF_TEXT_MAX])
{
	struct gw_config *c = user;

	*ret_obj = &c->opt;
	return 0;
}

static const struct conf_section sections[] = {
	{
		.name = "gateway",
		.keys = gw_option_keys,
		.begin = begin_gateway,
	},
	{0},
};

/* What holds between keys has no line of its own. */
static int
finish(const struct cmdline *cl, struct gw_config *c, char err[OPT_TEXT_MAX])
{
	char text[OPT_TEXT_MAX] = "";
	int r = options_finish(&c->opt, text);

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
	struct gw_config c = {0};
	int r = 0;

	options_init(&c.opt, prior ? &prior->opt : NULL);
	if (cl->config)
		r = conf_read(cl->config, sections, &c, err);
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

int
gw_config_exports(const struct gw_config *c, const struct log *log,
		  struct gw_exports **ret, char err[GW_TEXT_MAX])
{
	const struct options *o = &c->opt;
	struct gw_exports *x;
	int r = gw_exports_new(log, &x);

	if (r < 0)
		return gw_text_err(err, r, "%s", strerror(-r));
	for (unsigned i = 0; i < o->n_exports && !r; i++)
		r = gw_exports_add(x, o->exports[i], err);
	if (!r && o->search_path)
		r = gw_exports_set_search_path(x, o->search_path, err);
	if (r < 0)
		gw_exports_free(x);
	else
		*ret = x;
	return r;
}

void
gw_config_deinit(struct gw_config *c)
{
	options_deinit(&c->opt);
}
