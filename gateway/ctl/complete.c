/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What may follow on a command line, for a shell's completion: words of the
 * table of commands, and names that the daemon tells. Says nothing else, and
 * nothing at all when it does not know.
 */
#include "gateway/ctl/client.h"
#include "gateway/ctl/map.h"

#include <string.h>

static void
offer(const char *word, size_t len, const char *begun)
{
	if (len >= strlen(begun) && !strncmp(word, begun, strlen(begun)))
		printf("%.*s\n", (int)len, word);
}

static void
offer_word(const char *word, const char *begun)
{
	offer(word, strlen(word), begun);
}

/* Each word once: the rows of a noun stand together. */
static void
offer_commands(const struct command *table, const char *noun, size_t noun_len,
	       const char *begun)
{
	const char *last = "";
	size_t last_len = 0;

	for (const struct command *c = table; c->words; c++) {
		const char *w = c->words;
		size_t len;

		if (noun) {
			if (strncmp(w, noun, noun_len) || w[noun_len] != ' ')
				continue;
			w += noun_len + 1;
		}
		len = strcspn(w, " ");
		if (len == last_len && !strncmp(w, last, len))
			continue;
		last = w;
		last_len = len;
		offer(w, len, begun);
	}
}

static void
offer_names(const struct ctl *ctl, const char *arg, const char *begun)
{
	static const struct {
		const char *arg, *method, *key;
	} rows[] = {
		{"SESSION", "session.list", "sessname"},
		{"DEVICE", "device.list", "mapping_path"},
		{"PATH", "path.list", "pathname"},
		{"NAME", "export.list", "name"},
	};
	static const char *const levels[] = {"error", "warning", "info",
					     "debug"};

	static const char *const policies[] = {"round-robin", "min-inflight",
					       "min-latency"};

	if (!strcmp(arg, "POLICY"))
		for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
			offer_word(policies[i], begun);
	if (!strcmp(arg, "LEVEL"))
		for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
			offer_word(levels[i], begun);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *list, *row;
		size_t k;

		if (strcmp(rows[i].arg, arg))
			continue;
		list = ctl_try(ctl, rows[i].method);
		json_array_foreach(list, k, row) {
			const char *name = json_str(row, rows[i].key);

			/* What a shell would have to quote is typed. */
			if (!strpbrk(name, " \t\n\"'\\$`;&|<>()*?[]"))
				offer_word(name, begun);
		}
		json_decref(list);
	}
}

/* The name of argument i, "SESSION" of "PATH [SESSION]". */
static bool
arg_name(const struct command *cmd, unsigned i, char *ret, size_t len)
{
	const char *p = cmd->args;

	for (;; p += strcspn(p, " ")) {
		p += strspn(p, " ");
		if (!*p)
			return false;
		if (!i--)
			break;
	}
	p += strspn(p, "[");
	snprintf(ret, len, "%.*s", (int)strcspn(p, " ]="), p);
	return true;
}

/* Options of the line that maps a device: what the kernel has, and the ones of
 * the session that are often wanted. */
static void
offer_map(const char *begun)
{
	static const char *const keys[] = {
		"sessname=",    "path=",       "device_path=",
		"access_mode=", "dest_port=",  "nr_poll_queues=",
		"connect=",     "io-timeout=", "open-timeout=",
		"mp_policy=",
	};
	static const char *const values[] = {
		"access_mode=ro", "access_mode=rw", "access_mode=migration",
		"connect=all",    "connect=any",    "connect=lazy",
	};
	bool value = strchr(begun, '=') != NULL;

	for (size_t i = 0; i < ARRAY_SIZE(keys) && !value; i++)
		offer_word(keys[i], begun);
	for (size_t i = 0; i < ARRAY_SIZE(values) && value; i++)
		offer_word(values[i], begun);
}

/* Devices that are mapped here. */
static void
offer_mapped(const char *begun)
{
	json_t *rows = NULL, *row;
	size_t i;

	if (map_list(NULL, &rows))
		return;
	json_array_foreach(rows, i, row)
		offer_word(json_str(row, "device"), begun);
	json_decref(rows);
}

static void
offer_rest(const struct ctl *ctl, const struct command *cmd, char **words,
	   unsigned n, const char *begun)
{
	char name[32];

	if (cmd->fn == cmd_map)
		offer_map(begun);
	else if (cmd->fn == cmd_unmap && !n)
		offer_mapped(begun);
	else if (arg_name(cmd, n, name, sizeof(name)))
		offer_names(ctl, name, begun);
	if (n < cmd->min)
		return;
	for (const struct word_opt *w = word_opts; w->word; w++)
		if (w->opts & cmd->opts || !strcmp(w->word, "help"))
			offer_word(w->word, begun);
	if (cmd->opts & OPT_FIELDS && *begun)
		for (const struct column *c = cmd->table->columns; c->name; c++)
			offer_word(c->name, begun);
}

static const char *const options[] = {
	"--control", "--socket", "--json",    "--csv",
	"--xml",     "--fields", "--units",   "--file",
	"--samples", "--delay",  "--version", "--help",
};

/* Takes options out of words; true: the last one is the value of one. */
static bool
skip_options(struct ctl *ctl, char **words, unsigned *n)
{
	static const char *const with_value[] = {
		"--control", "--socket", "--fields", "--units", "--samples",
		"--file",    "--delay",  "-n",       "-d"};
	unsigned kept = 0;

	for (unsigned i = 0; i < *n; i++) {
		bool value = false;

		if (*words[i] != '-' || i + 1 == *n) {
			words[kept++] = words[i];
			continue;
		}
		for (size_t k = 0; k < ARRAY_SIZE(with_value); k++)
			value |= !strcmp(words[i], with_value[k]);
		if (!value)
			continue;
		if (i + 2 >= *n)
			return true;
		if (!strcmp(words[i], "--control") ||
		    !strcmp(words[i], "--socket"))
			ctl->socket = words[i + 1];
		i++;
	}
	*n = kept;
	return false;
}

int
complete(char **words, unsigned n)
{
	const struct command *cmd;
	struct ctl ctl = {0};
	const struct command *table = commands;
	const char *begun;
	unsigned used = 0;

	if (!n || skip_options(&ctl, words, &n) || !n)
		return CTL_OK;
	begun = words[--n];
	if (*begun == '-') {
		for (size_t i = 0; i < ARRAY_SIZE(options); i++)
			offer_word(options[i], begun);
		return ctl_flush();
	}
	if (n && (!strcmp(words[0], "server") || !strcmp(words[0], "srv"))) {
		words++;
		n--;
	} else if (n &&
		   (!strcmp(words[0], "client") || !strcmp(words[0], "clt"))) {
		ctl.client = true;
		table = client_commands;
		words++;
		n--;
	} else if (!n) {
		offer_word("client", begun);
	}
	if (!n) {
		offer_commands(table, NULL, 0, begun);
		return ctl_flush();
	}
	if (n == 1) {
		for (const struct command *c = table; c->words; c++) {
			size_t len = strcspn(c->words, " ");

			if (c->words[len] && strlen(words[0]) == len &&
			    !strncmp(c->words, words[0], len)) {
				offer_commands(table, words[0], len, begun);
				return ctl_flush();
			}
		}
	}
	/* Its words about what is wrong are for nobody here. */
	if (!freopen("/dev/null", "w", stderr))
		return CTL_REFUSED;
	cmd = words_command(&ctl, words, n, &used);
	if (cmd)
		offer_rest(&ctl, cmd, words + used, n - used, begun);
	return ctl_flush();
}
