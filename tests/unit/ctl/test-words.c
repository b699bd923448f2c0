/* SPDX-License-Identifier: BSD-3-Clause */
/* Words to commands: abbreviations, plurals, modes, options in between. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "capture.h"
#include "gateway/ctl/ctl.h"

#define MAX_WORDS 8

/* Splits at blanks; the words are good until the next one. */
static unsigned
split(const char *text, char *words[MAX_WORDS])
{
	static char buf[256];
	unsigned n = 0;

	snprintf(buf, sizeof(buf), "%s", text);
	for (char *p = strtok(buf, " "); p; p = strtok(NULL, " ")) {
		ck_assert_uint_lt(n, MAX_WORDS);
		words[n++] = p;
	}
	return n;
}

static const struct {
	const char *said, *command;
	unsigned used;
	bool client;
} found[] = {
	{"session list", "session list", 2, false},
	{"sessions list", "session list", 2, false},
	{"sess l", "session list", 2, false},
	{"server session list", "session list", 3, false},
	{"srv dev l", "device list", 3, false},
	{"serv d l", NULL, 0, false}, /* device or drain */
	{"client path show x", "path show", 3, true},
	{"clt p s x", "path show", 3, true},
	{"cl p l", "path list", 3, true},
	{"session dis x", "session disconnect", 2, false},
	{"session c x", "session close", 2, false},
	{"stats", "stats show", 1, false},
	{"stats json", "stats show", 1, false},
	{"stats r", "stats reset", 2, false},
	{"t", "top", 1, false},
	{"log", "log-level", 1, false},
	{"dr wait", "drain", 1, false},
	{"export rem x", "export remove", 2, false},
	{"export l", NULL, 0, false}, /* list or limits */
	{"export re x", NULL, 0, false},
	{"", NULL, 0, false},
	{"s", NULL, 0, false},
	{"server", NULL, 0, false},
	{"server server session list", NULL, 0, false},
	{"session", NULL, 0, false},
	{"session map", NULL, 0, false},
	{"map x=y", "map", 1, false},
	{"clt dev l", "device list", 3, true},
	{"un nbd0", "unmap", 1, false},
	{"server map", "map", 2, false},
};

START_TEST(words_are_found)
{
	char *words[MAX_WORDS];
	unsigned n = split(found[_i].said, words), used = 0;
	const struct command *cmd;
	struct ctl ctl = {0};
	const char *said;

	capture_begin();
	cmd = words_command(&ctl, words, n, &used);
	said = capture_end();
	if (!found[_i].command) {
		ck_assert_ptr_null(cmd);
		ck_assert_int_eq(strncmp(said, "rnbdctl: error: ", 16), 0);
		return;
	}
	ck_assert_str_eq(said, "");
	ck_assert_str_eq(cmd->words, found[_i].command);
	ck_assert_uint_eq(used, found[_i].used);
	ck_assert_int_eq(ctl.client, found[_i].client);
}
END_TEST

static const struct command *
command(const char *words)
{
	const struct command *c = commands;

	while (c->words && strcmp(c->words, words))
		c++;
	ck_assert_ptr_nonnull(c->words);
	return c;
}

static const struct {
	const char *command, *rest;
	int code;
	const char *args; /* joined with blanks */
} rests[] = {
	{"session list", "json", CTL_OK, ""},
	{"session list", "K notree noheaders nototals csv", CTL_OK, ""},
	{"session list", "sessname,rdma json", CTL_OK, ""},
	{"session list", "+rdma", CTL_OK, ""},
	{"session list", "nix", CTL_USAGE, ""},
	{"session list", "verbose", CTL_USAGE, ""},
	/* What must be there is whatever it is called. */
	{"session show", "json", CTL_OK, "json"},
	{"session show", "json json", CTL_OK, "json"},
	{"session show", "", CTL_USAGE, ""},
	{"session show", "a b", CTL_USAGE, ""},
	{"device close", "disk verbose alpha", CTL_OK, "disk alpha"},
	{"device close", "disk alpha beta", CTL_USAGE, ""},
	{"drain", "wait verbose", CTL_OK, ""},
	{"export limits", "x iops=1 bandwidth=2M", CTL_OK,
	 "x iops=1 bandwidth=2M"},
	{"top", "json", CTL_USAGE, ""},
};

START_TEST(rest_is_sorted)
{
	char *words[MAX_WORDS], *args[MAX_WORDS], joined[256] = "";
	unsigned n = split(rests[_i].rest, words), n_args = 0;
	struct ctl ctl = {0};
	int r;

	capture_begin();
	r = words_rest(&ctl, command(rests[_i].command), words, n, args,
		       &n_args);
	capture_end();
	ck_assert_int_eq(r, rests[_i].code);
	if (r)
		return;
	for (unsigned i = 0; i < n_args; i++) {
		strcat(joined, i ? " " : "");
		strcat(joined, args[i]);
	}
	ck_assert_str_eq(joined, rests[_i].args);
}
END_TEST

START_TEST(options_are_set)
{
	char *words[MAX_WORDS], *args[MAX_WORDS];
	struct ctl ctl = {0};
	unsigned n_args;

	ck_assert_int_eq(words_rest(&ctl, command("device list"), words,
				    split("csv M alpha notree all", words),
				    args, &n_args),
			 CTL_OK);
	ck_assert_int_eq(ctl.format, CTL_CSV);
	ck_assert_int_eq(ctl.unit, 'M');
	ck_assert(ctl.notree && !ctl.nototals && !ctl.help);
	ck_assert_str_eq(ctl.fields, "all");
	ck_assert_uint_eq(n_args, 1);
	ck_assert_int_eq(words_rest(&ctl, command("session show"), words,
				    split("help", words), args, &n_args),
			 CTL_OK);
	ck_assert(ctl.help);
}
END_TEST

static const struct {
	const char *said, *offered;
} completions[] = {
	{"exp", "export\n"},
	{"dev", "device\n"},
	{"server se", "session\n"},
	{"session sh", "show\n"},
	{"session list notr", "notree\n"},
	{"stats r", "reset\n"},
	{"log-level w", "warning\n"},
	{"drain w", "wait\n"},
	{"device list mapping", "mapping_path\n"},
	{"--un", "--units\n"},
	{"--units K sess", "session\n"},
	{"--control x", ""}, /* a file: for the shell */
	{"nonsense x", ""},
};

START_TEST(completion_offers)
{
	char *words[MAX_WORDS];
	unsigned n = split(completions[_i].said, words);

	capture_begin();
	ck_assert_int_eq(complete(words, n), CTL_OK);
	ck_assert_str_eq(capture_end(), completions[_i].offered);
}
END_TEST

/* The table is what the help, the manual and the completion are made of. */
START_TEST(table_of_commands_is_sound)
{
	for (const struct command *c = commands; c->words; c++) {
		char *words[MAX_WORDS];
		struct ctl ctl = {0};
		unsigned used, n = split(c->words, words);

		ck_assert_ptr_eq(words_command(&ctl, words, n, &used), c);
		ck_assert_uint_le(c->min, c->max);
		ck_assert(!(c->opts & OPT_FIELDS) || c->table);
		ck_assert_ptr_nonnull(c->fn);
		ck_assert_uint_le(strlen(c->words) + strlen(c->args), 33);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ctl/words");
	TCase *tc = tcase_create("words");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, words_are_found, 0, ARRAY_SIZE(found));
	tcase_add_loop_test(tc, rest_is_sorted, 0, ARRAY_SIZE(rests));
	tcase_add_test(tc, options_are_set);
	tcase_add_loop_test(tc, completion_offers, 0, ARRAY_SIZE(completions));
	tcase_add_test(tc, table_of_commands_is_sound);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
