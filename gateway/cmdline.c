/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/cmdline.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/config.h"
#include "rtrs/base/util.h"

/* Options that are no keys of the configuration file. */
enum own_option {
	OWN_CONFIG,
	OWN_CHECK_CONFIG,
	OWN_LIST_KEYS,
	OWN_VERSION,
	OWN_HELP,
	N_OWN,
};

static const struct conf_key own_options[N_OWN] = {
	[OWN_CONFIG] = {"config", "FILE",
			"read this configuration file first; options go over "
			"it"},
	[OWN_CHECK_CONFIG] = {"check-config", NULL,
			      "judge options and configuration file, and end"},
	[OWN_LIST_KEYS] = {"list-keys", NULL,
			   "print a configuration file with every key, all of "
			   "it comments"},
	[OWN_VERSION] = {"version", NULL, "print the version"},
	[OWN_HELP] = {"help", NULL, "print this"},
};

static enum cmdline_result __attribute__((format(printf, 2, 3)))
usage(char err[OPT_TEXT_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, OPT_TEXT_MAX, fmt, ap);
	va_end(ap);
	return CMDLINE_USAGE;
}

static bool
is_optional(const struct conf_key *key)
{
	return key->arg && *key->arg == '[';
}

static void
print_option(FILE *out, const struct conf_key *key)
{
	char left[64];

	if (is_optional(key))
		snprintf(left, sizeof(left), "--%s[=%s", key->name,
			 key->arg + 1);
	else
		snprintf(left, sizeof(left), "--%s %s", key->name,
			 key->arg ? key->arg : "");
	fprintf(out, "  %-28s %s\n", left, key->help);
}

static void
print_help(FILE *out)
{
	fputs("Usage: rnbd-gatewayd [OPTION]...\n"
	      "RNBD server: offers files, block devices and memory to RNBD "
	      "clients.\n\n",
	      out);
	print_option(out, &own_options[OWN_CONFIG]);
	print_option(out, &own_options[OWN_CHECK_CONFIG]);
	for (const struct conf_key *k = gw_option_keys; k->name; k++)
		print_option(out, k);
	print_option(out, &own_options[OWN_LIST_KEYS]);
	print_option(out, &own_options[OWN_VERSION]);
	print_option(out, &own_options[OWN_HELP]);
	fputs("\nDefaults are in parentheses. See rnbd-gatewayd(8) and "
	      "rnbd-gatewayd.conf(5).\n",
	      out);
}

static void
print_key(FILE *out, const struct conf_key *key)
{
	int len = (int)strlen(key->arg);

	/* Brackets are about the command line. */
	if (is_optional(key))
		fprintf(out, "# %s\n#%s = %.*s\n", key->help, key->name,
			len - 2, key->arg + 1);
	else
		fprintf(out, "# %s\n#%s = %s\n", key->help, key->name,
			key->arg);
}

static void
list_keys(FILE *out)
{
	fputs("# read another file, or all *.conf of a directory; before the "
	      "first section or in [gateway]\n"
	      "#" CONF_INCLUDE " = PATH\n",
	      out);
	for (const struct conf_section *s = gw_config_sections; s->name; s++) {
		fprintf(out, "\n#[%s]%s\n", s->name,
			s->repeated ? " as often as need be" : "");
		for (const struct conf_key *k = s->keys; k->name; k++)
			print_key(out, k);
	}
}

/* --------------------------------------------------------------- getopt */

static void
describe(struct option *opt, const struct conf_key *key)
{
	opt->name = key->name;
	opt->has_arg = is_optional(key) ? optional_argument
		       : key->arg       ? required_argument
					: no_argument;
}

/* Own options first, then the keys; ended by zeroes. */
static struct option *
new_long_opts(void)
{
	size_t n = N_OWN, i;
	struct option *opts;

	for (const struct conf_key *k = gw_option_keys; k->name; k++)
		n++;
	opts = calloc(n + 1, sizeof(*opts));
	if (!opts)
		return NULL;
	for (i = 0; i < N_OWN; i++)
		describe(&opts[i], &own_options[i]);
	for (; i < n; i++)
		describe(&opts[i], &gw_option_keys[i - N_OWN]);
	return opts;
}

static int
add_value(struct cmdline *c, const struct conf_key *key, const char *value)
{
	struct cmdline_value *p =
		reallocarray(c->values, c->n_values + 1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	c->values = p;
	p[c->n_values++] = (struct cmdline_value){key, value ? value : "yes"};
	return 0;
}

static enum cmdline_result
take_option(struct cmdline *c, int i, FILE *out, char err[OPT_TEXT_MAX])
{
	switch (i) {
	case OWN_CONFIG:
		if (!*optarg)
			return usage(err, "--config: the path is empty");
		c->config = optarg;
		return CMDLINE_RUN;
	case OWN_CHECK_CONFIG:
		c->check = true;
		return CMDLINE_RUN;
	case OWN_LIST_KEYS:
		list_keys(out);
		return CMDLINE_DONE;
	case OWN_VERSION:
		fprintf(out, "rnbd-gatewayd %s\n", RNBD_VERSION);
		return CMDLINE_DONE;
	case OWN_HELP:
		print_help(out);
		return CMDLINE_DONE;
	default:
		if (add_value(c, &gw_option_keys[i - N_OWN], optarg))
			return usage(err, "out of memory");
		return CMDLINE_RUN;
	}
}

/* An option that getopt_long() did not take: which of its reasons it was. */
static enum cmdline_result
refuse_option(const struct option *opts, const char *arg,
	      char err[OPT_TEXT_MAX])
{
	const char *name = arg + strspn(arg, "-");
	size_t len = strcspn(name, "="), used = 0;
	char found[OPT_TEXT_MAX / 2] = "";
	bool exact = false;
	unsigned n = 0;

	for (const struct option *o = opts; o->name && len; o++) {
		if (strncmp(o->name, name, len))
			continue;
		exact |= strlen(o->name) == len;
		if (used < sizeof(found))
			used += (size_t)snprintf(found + used,
						 sizeof(found) - used, "%s--%s",
						 n ? ", " : "", o->name);
		n++;
	}
	if (n > 1 && !exact)
		return usage(err, "%.200s: ambiguous: %s", arg, found);
	if (n && name[len])
		return usage(err, "%.200s: this option takes no value", arg);
	return usage(err, "%.200s: unknown option; see --help", arg);
}

static enum cmdline_result
take_all(struct cmdline *c, const struct option *opts, int argc, char **argv,
	 FILE *out, char err[OPT_TEXT_MAX])
{
	enum cmdline_result result = CMDLINE_RUN;
	int i = 0, r;

	optind = 0; /* glibc: start over */
	opterr = 0;
	while (result == CMDLINE_RUN &&
	       (r = getopt_long(argc, argv, ":", opts, &i)) != -1) {
		/* With no option of one letter, optind - 1 is the culprit. */
		if (r == ':')
			return usage(err, "%s: a value is missing",
				     argv[optind - 1]);
		if (r == '?')
			return refuse_option(opts, argv[optind - 1], err);
		result = take_option(c, i, out, err);
	}
	if (result == CMDLINE_RUN && optind < argc)
		return usage(err, "%s: unexpected argument; see --help",
			     argv[optind]);
	return result;
}

enum cmdline_result
cmdline_parse(struct cmdline *c, int argc, char **argv, FILE *out,
	      char err[OPT_TEXT_MAX])
{
	cleanup_free struct option *opts = new_long_opts();
	enum cmdline_result result;

	*c = (struct cmdline){0};
	if (!opts)
		return usage(err, "out of memory");
	result = take_all(c, opts, argc, argv, out, err);
	if (result != CMDLINE_RUN)
		cmdline_deinit(c);
	return result;
}

void
cmdline_deinit(struct cmdline *c)
{
	free(c->values);
	*c = (struct cmdline){0};
}

int
cmdline_apply(const struct cmdline *c, struct options *o,
	      char err[OPT_TEXT_MAX])
{
	for (unsigned i = 0; i < c->n_values; i++) {
		const struct cmdline_value *v = &c->values[i];
		char text[CONF_TEXT_MAX] = "";
		int r = v->key->set(o, v->value, text);

		if (!r)
			continue;
		(void)usage(err, "--%s%s%.200s: %s", v->key->name,
			    *v->value ? " " : "", v->value, text);
		return r;
	}
	return 0;
}
