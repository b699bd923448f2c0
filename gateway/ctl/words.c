/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/ctl/client.h"

#include <string.h>

/* -------------------------------------------------------------- options */

static void
set_format(struct ctl *ctl, const char *word)
{
	ctl->format = *word == 'c'   ? CTL_CSV
		      : *word == 'j' ? CTL_JSON
				     : CTL_XML;
}

static void
set_unit(struct ctl *ctl, const char *word)
{
	ctl->unit = *word;
}

static void
set_noheaders(struct ctl *ctl, const char *word)
{
	ctl->noheaders = true;
}

static void
set_nototals(struct ctl *ctl, const char *word)
{
	ctl->nototals = true;
}

static void
set_notree(struct ctl *ctl, const char *word)
{
	ctl->notree = true;
}

static void
set_all(struct ctl *ctl, const char *word)
{
	ctl->fields = "all";
}

static void
set_verbose(struct ctl *ctl, const char *word)
{
	ctl->verbose = true;
}

static void
set_wait(struct ctl *ctl, const char *word)
{
	ctl->wait = true;
}

static void
set_force(struct ctl *ctl, const char *word)
{
	ctl->force = true;
}

static void
set_help(struct ctl *ctl, const char *word)
{
	ctl->help = true;
}

const struct word_opt word_opts[] = {
	{"json", OPT_FORMAT | OPT_JSON, set_format, "print JSON"},
	{"csv", OPT_FORMAT, set_format, "print comma separated values"},
	{"xml", OPT_FORMAT, set_format, "print XML"},
	{"all", OPT_FIELDS, set_all, "print all fields"},
	{"B", OPT_UNITS, set_unit, "sizes in bytes"},
	{"K", OPT_UNITS, set_unit, "sizes in KiB; so M, G, T, P and E"},
	{"M", OPT_UNITS, set_unit, "sizes in MiB"},
	{"G", OPT_UNITS, set_unit, "sizes in GiB"},
	{"T", OPT_UNITS, set_unit, "sizes in TiB"},
	{"P", OPT_UNITS, set_unit, "sizes in PiB"},
	{"E", OPT_UNITS, set_unit, "sizes in EiB"},
	{"notree", OPT_LIST, set_notree, "do not print what belongs to a row"},
	{"noheaders", OPT_LIST, set_noheaders, "do not print headers"},
	{"nototals", OPT_LIST, set_nototals, "do not print sums"},
	{"wait", OPT_WAIT, set_wait, "return when the daemon has ended"},
	{"force", OPT_FORCE, set_force, "even if it is in use"},
	{"verbose", OPT_VERBOSE, set_verbose, "say what was done"},
	{"help", ~0u, set_help, "print this"},
	{NULL},
};

static const struct word_opt *
find_opt(const struct command *cmd, const char *word)
{
	for (const struct word_opt *w = word_opts; w->word; w++)
		if (w->opts & cmd->opts && !strcmp(w->word, word))
			return w;
	return NULL;
}

int
words_rest(struct ctl *ctl, const struct command *cmd, char **words, unsigned n,
	   char **args, unsigned *ret_n)
{
	*ret_n = 0;
	/* Help is for those who do not know what else to say. */
	if (n && !strcmp(words[n - 1], "help")) {
		ctl->help = true;
		return CTL_OK;
	}
	for (unsigned i = 0; i < n; i++) {
		const struct word_opt *w = find_opt(cmd, words[i]);

		/* What must be there is whatever it is called. */
		if (*ret_n < cmd->min)
			args[(*ret_n)++] = words[i];
		else if (w)
			w->set(ctl, words[i]);
		else if (cmd->opts & OPT_FIELDS && !ctl->fields &&
			 table_knows(cmd->table, words[i]))
			ctl->fields = words[i];
		else if (*ret_n < cmd->max)
			args[(*ret_n)++] = words[i];
		else
			return ctl_fail(CTL_USAGE,
					"%s: '%s' is one word too many; see "
					"`rnbdctl %s help`",
					cmd->words, words[i], cmd->words);
	}
	if (*ret_n < cmd->min)
		return ctl_fail(CTL_USAGE, "%s: %s is missing", cmd->words,
				cmd->args);
	return CTL_OK;
}

/* ------------------------------------------------------------- commands */

#define MAX_MATCHES 16

/* Different words at one place of the commands that begin alike. */
struct matches {
	const char *word[MAX_MATCHES];
	size_t len[MAX_MATCHES];
	unsigned n;
	bool exact;
};

static void
match(struct matches *m, const char *word, size_t len, const char *said)
{
	size_t n = strlen(said);
	bool plural = n == len + 1 && said[len] == 's';
	bool exact = n == len || plural;

	if (plural)
		n--;
	if (n > len || strncmp(word, said, n) || (m->exact && !exact))
		return;
	if (exact && !m->exact) {
		m->exact = true;
		m->n = 0;
	}
	for (unsigned i = 0; i < m->n; i++)
		if (m->len[i] == len && !strncmp(m->word[i], word, len))
			return;
	if (m->n < MAX_MATCHES) {
		m->word[m->n] = word;
		m->len[m->n++] = len;
	}
}

static int
one_of(const struct matches *m, const char *said, const char *after)
{
	char list[256] = "";
	size_t used = 0;

	if (m->n == 1)
		return CTL_OK;
	for (unsigned i = 0; i < m->n && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used,
					 "%s%.*s", i ? ", " : "",
					 (int)m->len[i], m->word[i]);
	if (m->n)
		return ctl_fail(CTL_USAGE, "%s%s%s: one of %s?", after,
				*after && *said ? " " : "", said, list);
	return ctl_fail(CTL_USAGE, "%s%s%s: no such command; see --help", after,
			*after && *said ? " " : "", said);
}

static bool
begins(const struct command *c, const char *word, size_t len)
{
	return strlen(c->words) >= len && !strncmp(c->words, word, len) &&
	       (c->words[len] == ' ' || !c->words[len]);
}

static const char server_mode[] = "server", client_mode[] = "client";

static const struct command *
table_of(const struct ctl *ctl)
{
	return ctl->client ? client_commands : commands;
}

static int
match_first(const struct ctl *ctl, const char *said, bool modes,
	    struct matches *m)
{
	*m = (struct matches){0};
	/* As the kernel's tool is used to hear them. */
	if (modes && !strcmp(said, "srv"))
		said = server_mode;
	if (modes && !strcmp(said, "clt"))
		said = client_mode;
	for (const struct command *c = table_of(ctl); c->words; c++)
		match(m, c->words, strcspn(c->words, " "), said);
	if (modes) {
		match(m, server_mode, strlen(server_mode), said);
		match(m, client_mode, strlen(client_mode), said);
	}
	return one_of(m, said, "");
}

static const struct command *
match_second(const struct ctl *ctl, const struct matches *first, char **words,
	     unsigned n, unsigned *used)
{
	const char *said = *used < n ? words[*used] : NULL;
	const struct command *only = NULL;
	struct matches m = {0}, all = {0};
	char noun[32];

	snprintf(noun, sizeof(noun), "%.*s", (int)first->len[0],
		 first->word[0]);
	for (const struct command *c = table_of(ctl); c->words; c++) {
		const char *second = c->words + first->len[0] + 1;

		if (!begins(c, first->word[0], first->len[0]))
			continue;
		if (!c->words[first->len[0]])
			return c; /* it has one word only */
		if (!only)
			only = c;
		if (said)
			match(&m, second, strlen(second), said);
		match(&all, second, strlen(second), "");
	}
	if (said && m.n == 1) {
		++*used;
		for (const struct command *c = only; c->words; c++)
			if (begins(c, noun, strlen(noun)) &&
			    !strcmp(c->words + strlen(noun) + 1, m.word[0]))
				return c;
	}
	/* `stats` alone is what one wants of it. */
	if (!strcmp(noun, "stats") && !m.n)
		return only;
	/* What it could be, or else all that there is. */
	(void)one_of(m.n ? &m : &all, said ? said : "", noun);
	return NULL;
}

const struct command *
words_command(struct ctl *ctl, char **words, unsigned n, unsigned *ret_used)
{
	struct matches m;
	unsigned used = 0;

	if (!n) {
		(void)ctl_fail(CTL_USAGE, "a command is missing; see --help");
		return NULL;
	}
	if (match_first(ctl, words[used], !ctl->client, &m))
		return NULL;
	if (m.word[0] == server_mode || m.word[0] == client_mode) {
		ctl->client = m.word[0] == client_mode;
		if (++used == n) {
			(void)ctl_fail(CTL_USAGE,
				       "%s: a command is missing; see --help",
				       words[0]);
			return NULL;
		}
		if (match_first(ctl, words[used], false, &m))
			return NULL;
	}
	used++;
	*ret_used = used;
	return match_second(ctl, &m, words, n, ret_used);
}
