/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rnbdctl: options and words to a command. Exit codes: ctl.h, and rnbdctl(8).
 */
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "gateway/ctl/ctl.h"

/* -------------------------------------------------------------- options */

enum {
	LONG_CONTROL = 256,
	LONG_JSON,
	LONG_CSV,
	LONG_XML,
	LONG_FIELDS,
	LONG_UNITS,
	LONG_FILE,
	LONG_VERSION,
	LONG_HELP,
};

static int
parse_unit(struct ctl *ctl, const char *s)
{
	static const char units[] = "BKMGTPE";

	if (!*s || s[1] || !strchr(units, *s))
		return ctl_fail(CTL_USAGE,
				"--units %s: give one of B, K, M, G, T, P, E",
				s);
	ctl->unit = *s;
	return CTL_OK;
}

static int
parse_samples(struct ctl *ctl, const char *s)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(s, &end, 10);
	if (*s < '0' || *s > '9' || *end || errno || !v || v > 1000000)
		return ctl_fail(CTL_USAGE,
				"--samples %s: give a number from 1 to 1000000",
				s);
	ctl->samples = (unsigned)v;
	return CTL_OK;
}

static int
parse_delay(struct ctl *ctl, const char *s)
{
	char *end;
	double v = strtod(s, &end);

	/* Written so that no number is out of range too. */
	if (end == s || *end || !(v >= 0.1 && v <= 3600))
		return ctl_fail(CTL_USAGE,
				"--delay %s: give seconds from 0.1 to 3600", s);
	ctl->delay = v;
	return CTL_OK;
}

static int
apply(struct ctl *ctl, int opt, const char *culprit)
{
	switch (opt) {
	case LONG_CONTROL:
		ctl->socket = optarg;
		return CTL_OK;
	case LONG_JSON:
		ctl->format = CTL_JSON;
		return CTL_OK;
	case LONG_CSV:
		ctl->format = CTL_CSV;
		return CTL_OK;
	case LONG_XML:
		ctl->format = CTL_XML;
		return CTL_OK;
	case LONG_FIELDS:
		ctl->fields = optarg;
		return CTL_OK;
	case LONG_UNITS:
		return parse_unit(ctl, optarg);
	case LONG_FILE:
		ctl->file = optarg;
		return CTL_OK;
	case 'n':
		return parse_samples(ctl, optarg);
	case 'd':
		return parse_delay(ctl, optarg);
	case ':':
		return ctl_fail(CTL_USAGE, "%s: a value is missing", culprit);
	default:
		return ctl_fail(CTL_USAGE, "%s: unknown option; see --help",
				culprit);
	}
}

static const struct option long_opts[] = {
	{"control", required_argument, NULL, LONG_CONTROL},
	{"socket", required_argument, NULL, LONG_CONTROL},
	{"json", no_argument, NULL, LONG_JSON},
	{"csv", no_argument, NULL, LONG_CSV},
	{"xml", no_argument, NULL, LONG_XML},
	{"fields", required_argument, NULL, LONG_FIELDS},
	{"units", required_argument, NULL, LONG_UNITS},
	{"file", required_argument, NULL, LONG_FILE},
	{"samples", required_argument, NULL, 'n'},
	{"delay", required_argument, NULL, 'd'},
	{"version", no_argument, NULL, LONG_VERSION},
	{"help", no_argument, NULL, LONG_HELP},
	{0},
};

/* Options that a command does not know are a mistake. */
static int
judge_options(const struct ctl *ctl, const struct command *cmd)
{
	const char *bad = NULL;

	if (ctl->format == CTL_JSON && !(cmd->opts & (OPT_FORMAT | OPT_JSON)))
		bad = "--json";
	if (ctl->format > CTL_TABLE && ctl->format != CTL_JSON &&
	    !(cmd->opts & OPT_FORMAT))
		bad = ctl->format == CTL_CSV ? "--csv" : "--xml";
	if (ctl->fields && !(cmd->opts & OPT_FIELDS))
		bad = "--fields";
	if (ctl->unit && !(cmd->opts & OPT_UNITS))
		bad = "--units";
	if ((ctl->samples || ctl->delay > 0) && !(cmd->opts & OPT_TOP))
		bad = ctl->samples ? "--samples" : "--delay";
	if (ctl->file && !(cmd->opts & OPT_FILE))
		bad = "--file";
	if (bad)
		return ctl_fail(CTL_USAGE, "%s: %s is not for this command",
				cmd->words, bad);
	return CTL_OK;
}

static int
run_words(struct ctl *ctl, char **words, unsigned n)
{
	const struct command *cmd;
	cleanup_free char **args = calloc(n + 1, sizeof(*args));
	unsigned used = 0, n_args = 0;
	int r;

	if (!args)
		return ctl_fail(CTL_REFUSED, "out of memory");
	if (n && !strcmp(words[0], "help")) {
		if (n == 1) {
			print_help(stdout);
			return ctl_flush();
		}
		ctl->help = true;
		words++;
		n--;
	}
	cmd = words_command(ctl, words, n, &used);
	if (!cmd)
		return CTL_USAGE;
	if (!ctl->help) {
		r = words_rest(ctl, cmd, words + used, n - used, args, &n_args);
		if (!r && !ctl->help)
			r = judge_options(ctl, cmd);
		if (r)
			return r;
	}
	if (ctl->help) {
		print_command_help(cmd);
		return ctl_flush();
	}
	return cmd->fn(ctl, args, n_args);
}

int
main(int argc, char **argv)
{
	struct ctl ctl = {0};
	int opt, r;

	/* For the completion of shells. */
	if (argc > 1 && !strcmp(argv[1], "__complete"))
		return complete(argv + 2, (unsigned)argc - 2);
	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":n:d:", long_opts, NULL)) !=
	       -1) {
		if (opt == LONG_VERSION) {
			puts("rnbdctl " RNBD_VERSION);
			return ctl_flush();
		}
		if (opt == LONG_HELP) {
			print_help(stdout);
			return ctl_flush();
		}
		r = apply(&ctl, opt, argv[optind - 1]);
		if (r)
			return r;
	}
	return run_words(&ctl, argv + optind, (unsigned)(argc - optind));
}
