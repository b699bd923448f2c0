/* SPDX-License-Identifier: BSD-3-Clause */
/* Log lines: prefix, escapes, what repeats. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/log-sink.h"
#include "rtrs/base/util.h"

static struct log_sink *sink;
static const struct log *lg;
static int fds[2];
static uint64_t now;

static uint64_t
fake_now(void)
{
	return now;
}

static void
setup(void)
{
	struct log_sink_params p = {
		.ident = "me",
		.threshold = LOG_LVL_INFO,
		.now = fake_now,
	};

	now = NSEC_PER_SEC;
	ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
	p.fd = fds[1];
	ck_assert_int_eq(log_sink_new(&p, &sink), 0);
	lg = log_sink_log(sink);
}

static void
teardown(void)
{
	log_sink_free(sink); /* NULL: the test did */
	close(fds[0]);
	close(fds[1]);
}

/* All that was printed since the last call. */
static const char *
printed(void)
{
	static char buf[65536];
	ssize_t n = read(fds[0], buf, sizeof(buf) - 1);

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

static unsigned
lines_printed(void)
{
	unsigned n = 0;

	for (const char *p = printed(); *p; p++)
		n += *p == '\n';
	return n;
}

START_TEST(line_has_ident_and_level)
{
	log_err(lg, "disk %d is gone", 3);
	ck_assert_str_eq(printed(), "me: error: disk 3 is gone\n");
	log_warn(lg, "w");
	log_info(lg, "i");
	log_dbg(lg, "d");
	ck_assert_str_eq(printed(), "me: warning: w\nme: info: i\n");
}
END_TEST

START_TEST(text_of_peers_is_escaped)
{
	log_info(lg, "name 'a\nb\x1b[2J\x7f\xff'");
	ck_assert_str_eq(printed(),
			 "me: info: name 'a\\x0ab\\x1b[2J\\x7f\\xff'\n");
}
END_TEST

START_TEST(long_line_is_one_line)
{
	char text[4000];
	const char *p;

	memset(text, '\n', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_info(lg, "%s", text);
	p = printed();
	ck_assert_ptr_eq(strchr(p, '\n'), p + strlen(p) - 1);
}
END_TEST

START_TEST(repeated_lines_are_counted)
{
	for (unsigned i = 0; i < 1000; i++)
		log_warn(lg, "peer 10.0.0.1:%u sent garbage", i);
	ck_assert_uint_eq(lines_printed(), LOG_SINK_BURST);
	now += LOG_SINK_WINDOW_MS * NSEC_PER_MSEC;
	log_warn(lg, "peer 10.0.0.9:1 sent garbage");
	ck_assert_str_eq(printed(), "me: warning: peer 10.0.0.9:1 sent garbage "
				    "(980 more like this left out)\n");
	log_warn(lg, "peer 10.0.0.9:1 sent garbage");
	ck_assert_str_eq(printed(),
			 "me: warning: peer 10.0.0.9:1 sent garbage\n");
}
END_TEST

/* A peer chooses its names. */
START_TEST(names_make_no_new_line)
{
	char name[4] = "aa";

	for (unsigned i = 0; i < 26 * 26; i++) {
		name[0] = (char)('a' + i % 26);
		name[1] = (char)('a' + i / 26);
		log_warn(lg, "session '%s': cannot open '%s': no", name, name);
		log_info(lg, "session '%s': up", i % 2 ? name : "' \" '");
	}
	ck_assert_uint_eq(lines_printed(), 2 * LOG_SINK_BURST);
	for (unsigned i = 0; i < 26; i++)
		log_info(lg, "path [fe80::%c]:1 is up", (char)('a' + i));
	ck_assert_uint_eq(lines_printed(), LOG_SINK_BURST);
	/* What follows the names still counts. */
	log_info(lg, "session '%s': down", name);
	log_info(lg, "the client's name");
	log_info(lg, "the client's address");
	ck_assert_uint_eq(lines_printed(), 3);
}
END_TEST

START_TEST(other_lines_are_not_held_back)
{
	for (unsigned i = 0; i < 100; i++)
		log_warn(lg, "peer %u sent garbage", i);
	printed();
	log_warn(lg, "the disk is full");
	ck_assert_uint_eq(lines_printed(), 1);
	log_err(lg, "peer 1 sent garbage");
	ck_assert_uint_eq(lines_printed(), 1);
}
END_TEST

START_TEST(many_kinds_of_lines_are_survived)
{
	char word[8] = "aaaaaa";

	for (unsigned i = 0; i < 500; i++) {
		word[0] = (char)('a' + i % 26);
		word[1] = (char)('a' + i / 26);
		now++;
		log_info(lg, "%s", word);
		ck_assert_uint_eq(lines_printed(), 1);
	}
}
END_TEST

START_TEST(count_is_told_by_the_next_line_of_any_kind)
{
	for (unsigned i = 0; i < LOG_SINK_BURST + 7; i++)
		log_warn(lg, "peer %u sent garbage", i);
	ck_assert_uint_eq(lines_printed(), LOG_SINK_BURST);
	log_info(lg, "other");
	ck_assert_str_eq(printed(), "me: info: other\n");
	now += LOG_SINK_WINDOW_MS * NSEC_PER_MSEC;
	log_info(lg, "other");
	ck_assert_str_eq(printed(),
			 "me: warning: peer 20 sent garbage (7 like this left "
			 "out)\nme: info: other\n");
	log_warn(lg, "peer 1 sent garbage");
	ck_assert_str_eq(printed(), "me: warning: peer 1 sent garbage\n");
}
END_TEST

START_TEST(count_is_told_at_the_end)
{
	for (unsigned i = 0; i < LOG_SINK_BURST + 1; i++)
		log_warn(lg, "peer %u sent garbage", i);
	ck_assert_uint_eq(lines_printed(), LOG_SINK_BURST);
	log_sink_free(sink);
	sink = NULL;
	ck_assert_str_eq(printed(), "me: warning: peer 20 sent garbage (1 like "
				    "this left out)\n");
}
END_TEST

/* Also when other kinds take the place of this one. */
START_TEST(count_is_told_before_it_is_forgotten)
{
	char word[8] = "aaaaaa";
	unsigned n = 0;

	for (unsigned i = 0; i < LOG_SINK_BURST + 3; i++)
		log_warn(lg, "peer %u sent garbage", i);
	printed();
	for (unsigned i = 0; i < 100; i++) {
		word[0] = (char)('a' + i % 26);
		word[1] = (char)('a' + i / 26);
		now++;
		log_info(lg, "%s", word);
		n += strstr(printed(), "(3 like this left out)") != NULL;
	}
	ck_assert_uint_eq(n, 1);
}
END_TEST

START_TEST(journal_lines_have_a_priority)
{
	log_sink_set_target(sink, LOG_TARGET_JOURNAL);
	log_err(lg, "e");
	log_warn(lg, "w 'a\n<0>b'");
	log_info(lg, "i");
	ck_assert_str_eq(printed(), "<3>e\n<4>w 'a\\x0a<0>b'\n<6>i\n");
}
END_TEST

/* Nobody reads. The number of lines that it took. */
static unsigned
fill_pipe(void)
{
	char kind[4] = "aa";
	unsigned n = 0;

	/* As a reader's end has it; if it waited, the test would time out. */
	ck_assert_int_eq(fcntl(fds[1], F_SETFL, 0), 0);
	log_sink_set_patience(sink, 0);
	for (unsigned i = 0; i < 26 * 26; i++, n++) {
		kind[0] = (char)('a' + i % 26);
		kind[1] = (char)('a' + i / 26);
		log_info(lg, "%s %0500d", kind, 0);
	}
	return n;
}

START_TEST(nobody_waits_for_a_full_pipe)
{
	unsigned put = fill_pipe(), got = lines_printed();
	char text[128];

	ck_assert_uint_gt(got, 0);
	ck_assert_uint_lt(got, put);
	log_info(lg, "more");
	snprintf(text, sizeof(text),
		 "me: warning: %u log lines were lost: nobody read them\n"
		 "me: info: more\n",
		 put - got);
	ck_assert_str_eq(printed(), text);
	log_info(lg, "and more");
	ck_assert_str_eq(printed(), "me: info: and more\n");
}
END_TEST

START_TEST(nor_does_the_end_for_long)
{
	unsigned put = fill_pipe();

	log_sink_set_patience(sink, 1);
	log_info(lg, "bye");
	log_sink_free(sink);
	sink = NULL;
	ck_assert_uint_lt(lines_printed(), put);
}
END_TEST

static void *
read_later(void *arg)
{
	char *buf = arg;

	usleep(10000);
	/* A pipe is full in the writer's eyes until a page of it is read. */
	ck_assert_int_gt(read(fds[0], buf, 4096), 0);
	return NULL;
}

START_TEST(at_the_beginning_and_the_end_lines_wait)
{
	char buf[4096];
	pthread_t reader;

	for (unsigned i = 0; i < 2; i++) {
		fill_pipe();
		log_sink_set_patience(sink, i ? 60000 : -1);
		ck_assert_int_eq(pthread_create(&reader, NULL, read_later, buf),
				 0);
		log_err(lg, "no start");
		pthread_join(reader, NULL);
		ck_assert_ptr_nonnull(strstr(printed(), "error: no start\n"));
	}
}
END_TEST

START_TEST(journal_is_told_by_its_stream)
{
	struct stat st;
	char text[64];

	unsetenv("JOURNAL_STREAM");
	ck_assert(!log_sink_fd_is_journal(fds[1]));
	ck_assert_int_eq(fstat(fds[1], &st), 0);
	snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", text, 1);
	ck_assert(log_sink_fd_is_journal(fds[1]));
	/* Somebody's who has redirected us. */
	ck_assert(!log_sink_fd_is_journal(STDOUT_FILENO));
	ck_assert(!log_sink_fd_is_journal(-1));
	strcat(text, "x");
	setenv("JOURNAL_STREAM", text, 1);
	ck_assert(!log_sink_fd_is_journal(fds[1]));
	setenv("JOURNAL_STREAM", "", 1);
	ck_assert(!log_sink_fd_is_journal(fds[1]));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/log-sink");
	TCase *tc = tcase_create("log-sink");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, line_has_ident_and_level);
	tcase_add_test(tc, text_of_peers_is_escaped);
	tcase_add_test(tc, long_line_is_one_line);
	tcase_add_test(tc, repeated_lines_are_counted);
	tcase_add_test(tc, names_make_no_new_line);
	tcase_add_test(tc, other_lines_are_not_held_back);
	tcase_add_test(tc, many_kinds_of_lines_are_survived);
	tcase_add_test(tc, count_is_told_by_the_next_line_of_any_kind);
	tcase_add_test(tc, count_is_told_at_the_end);
	tcase_add_test(tc, count_is_told_before_it_is_forgotten);
	tcase_add_test(tc, journal_lines_have_a_priority);
	tcase_add_test(tc, nobody_waits_for_a_full_pipe);
	tcase_add_test(tc, nor_does_the_end_for_long);
	tcase_add_test(tc, at_the_beginning_and_the_end_lines_wait);
	tcase_add_test(tc, journal_is_told_by_its_stream);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
