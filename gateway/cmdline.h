/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line of rnbd-gatewayd: the keys of gw_option_keys[] as options,
 * and what only a command line has. It is read once and applied to each reading
 * of the configuration file.
 */
#ifndef GATEWAY_CMDLINE_H
#define GATEWAY_CMDLINE_H

#include <stdbool.h>
#include <stdio.h>

#include "gateway/options.h"

/* Strings are borrowed from argv. */
struct cmdline {
	const char *config; /* NULL: no configuration file */
	bool check;         /* read and judge everything, then end */
	struct cmdline_value {
		const struct conf_key *key;
		const char *value;
	} * values; /* in their order */
	unsigned n_values;
};

enum cmdline_result {
	CMDLINE_RUN,   /* *c is filled */
	CMDLINE_DONE,  /* --help and such: printed, exit with 0 */
	CMDLINE_USAGE, /* err says in one line what is wrong */
};

/*
 * Values are not judged here. Prints to out for --help, --list-keys and
 * --version only. Not reentrant (getopt).
 */
enum cmdline_result cmdline_parse(struct cmdline *c, int argc, char **argv,
				  FILE *out, char err[OPT_TEXT_MAX]);
void cmdline_deinit(struct cmdline *c);

/* Sets the values: over others, or besides them where a key is repeated. */
int cmdline_apply(const struct cmdline *c, struct options *o,
		  char err[OPT_TEXT_MAX]);

#endif
