/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All that an operator says: the command line over the configuration file. Read
 * as a whole, judged as a whole, and only then used.
 */
#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H

#include "gateway/access-account.h"
#include "gateway/access-rule.h"
#include "gateway/cmdline.h"
#include "gateway/export.h"
#include "gateway/options.h"

struct gw_config {
	const struct cmdline *cl; /* that it was read by; borrowed */
	struct options opt;       /* and the exports */
	struct gw_ruleset *rules; /* owned; NULL: none, or they were taken */
	struct gw_access_limits limits; /* complete */
};

/*
 * The sections of the file: [gateway], [export], [rule], [limits]. Their user
 * is a struct gw_config. Ended by a NULL name.
 */
extern const struct conf_section gw_config_sections[];

/*
 * Reads the file that cl names, if it names one, and puts cl over it. prior
 * (NULL: none) is the configuration in force. On failure err is one line that
 * names the file and line or the option, and *ret is untouched. -EINVAL;
 * -ENODEV an address to listen on is not there now; -ENOMEM, errors of open(2)
 * and read(2). Blocking; control thread. cl outlives the configuration.
 */
int gw_config_load(const struct cmdline *cl, const struct gw_config *prior,
		   struct gw_config *ret, char err[OPT_TEXT_MAX]);
/*
 * What the configuration offers; each export is opened once to see that it can
 * be, and created where that was asked for. Errors as gw_exports_add() and
 * gw_exports_set_search_path(). Blocking.
 */
int gw_config_exports(const struct gw_config *c, const struct log *log,
		      struct gw_exports **ret, char err[CONF_TEXT_MAX]);
/* Whether that would work, as far as can be told without creating anything. */
int gw_config_check(const struct gw_config *c, char err[CONF_TEXT_MAX]);
/* What is said of spec, behind the file and line that it stands at. NULL: of
 * none. */
void gw_config_place(const struct gw_spec *spec, const char *text,
		     char err[CONF_TEXT_MAX]);
/* The rules are the caller's then. NULL: all is allowed. */
struct gw_ruleset *gw_config_take_rules(struct gw_config *c);
void gw_config_deinit(struct gw_config *c);

#endif
