/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of an administrator: devices told of, asked for again, remapped. */
#include "tests/unit/rnbd/rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int asked_calls, asked_err;
static uint64_t asked_size;
static char asked_text[512];

static void
on_asked(void *user, int err, uint64_t size_bytes, const char *text)
{
	(void)user;
	asked_calls++;
	asked_err = err;
	asked_size = size_bytes;
	snprintf(asked_text, sizeof(asked_text), "%s", text);
}

static int
ask(enum rnbd_clt_ask what)
{
	int r;

	asked_calls = 0;
	asked_text[0] = '\0';
	r = rnbd_clt_dev_ask(clt, "disk", what, on_asked, NULL, asked_text,
			     sizeof(asked_text));
	ck_assert_int_eq(asked_calls, 0);
	if (r)
		ck_assert(*asked_text);
	return r;
}

static void
begin(enum rnbd_clt_ask what)
{
	ck_assert_int_eq(ask(what), 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), 0);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 1);
}

static void
ended(int err)
{
	ck_assert_int_eq(asked_calls, 1);
	ck_assert_int_eq(asked_err, err);
	ck_assert_int_eq(!*asked_text, !err);
}

static void
answer_close(void)
{
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_CLOSE);
	fake_answer(0, 0, NULL, 0);
	turn(0);
}

/* The one device that there is. */
static struct rnbd_clt_dev_info seen;
static unsigned n_seen;

static void
see(void *user, const struct rnbd_clt_dev_info *info)
{
	(void)user;
	seen = *info;
	n_seen++;
}

static const char *
state(void)
{
	n_seen = 0;
	rnbd_clt_for_each_dev(clt, see, NULL);
	ck_assert_uint_eq(n_seen, 1);
	return seen.state;
}

static void
nothing(void *user)
{
	(void)user;
}

START_TEST(device_is_told_of)
{
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	ck_assert_str_eq(state(), "init");
	ck_assert_str_eq(seen.why, "fake:peer: connection refused");
	fake_link_up(8, MAX_IO);
	answer_greeting();
	answer_open(shape(7, SECTORS, 512));
	ck_assert_str_eq(state(), "open");
	ck_assert_str_eq(seen.name, "disk");
	ck_assert_str_eq(seen.why, "");
	ck_assert_uint_eq(seen.id, 7);
	ck_assert_uint_eq(seen.users, 1);
	ck_assert_uint_eq(seen.mode, RNBD_ACCESS_RW);
	ck_assert_uint_eq(seen.geo.size_bytes, SECTORS * 512);
	fake_link_down();
	ck_assert_str_eq(state(), "closed");
	ck_assert_str_eq(seen.why, "fake:peer: connection refused");
	come_back(shape(8, SECTORS - 1, 512));
	ck_assert_str_eq(state(), "failed");
	ck_assert_ptr_nonnull(strstr(seen.why, "shrank"));
}
END_TEST

START_TEST(larger_size_is_seen_while_io_goes_on)
{
	static struct test_io t;
	struct rnbd_clt_geometry g;

	open_disk();
	begin(RNBD_CLT_RESIZE);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_OPEN);
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	ck_assert_uint_eq(fake->n_sent, 2);
	fake_answer(1, 0, buf, 512);
	turn(0);
	ck_assert_int_eq(t.calls, 1);
	answer_open(shape(7, 2 * SECTORS, 512));
	ended(0);
	ck_assert_uint_eq(asked_size, 2 * SECTORS * 512);
	rnbd_clt_dev_geometry(dev, &g);
	ck_assert_uint_eq(g.size_bytes, 2 * SECTORS * 512);
	/* The new part can be read. */
	submit(&t, RNBD_CLT_READ, (2 * SECTORS - 1) * 512, 512, 0);
	ck_assert_uint_eq(fake->n_sent, 1);
}
END_TEST

START_TEST(smaller_size_is_refused_and_harms_nobody)
{
	static struct test_io t;

	open_disk();
	begin(RNBD_CLT_RESIZE);
	answer_open(shape(7, SECTORS - 1, 512));
	ended(-EINVAL);
	ck_assert_ptr_nonnull(strstr(asked_text, "shrank"));
	ck_assert_str_eq(state(), "open");
	ck_assert_uint_eq(seen.geo.size_bytes, SECTORS * 512);
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	ck_assert_uint_eq(fake->n_sent, 1);
}
END_TEST

START_TEST(impossible_disks_are_refused)
{
	open_disk();
	begin(RNBD_CLT_RESIZE);
	answer_open(shape(7, SECTORS, 3));
	ended(-EINVAL);
	begin(RNBD_CLT_RESIZE);
	answer_open(shape(7, SECTORS, 4096));
	ended(-EINVAL);
	ck_assert_ptr_nonnull(strstr(asked_text, "block size"));
	begin(RNBD_CLT_RESIZE);
	fake_answer(0, -ENOENT, NULL, 0);
	ended(-ENOENT);
	ck_assert_str_eq(state(), "open");
}
END_TEST

START_TEST(resize_finds_a_new_number)
{
	static struct test_io t;

	open_disk();
	begin(RNBD_CLT_RESIZE);
	answer_open(shape(9, SECTORS, 512));
	ended(0);
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	ck_assert_uint_eq(sent_io(0).device_id, 9);
}
END_TEST

START_TEST(remap_closes_and_opens_while_io_waits)
{
	static struct test_io t;

	open_disk();
	begin(RNBD_CLT_REMAP);
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	ck_assert_uint_eq(fake->n_sent, 1);
	answer_close();
	ck_assert_int_eq(asked_calls, 0);
	answer_open(shape(8, 2 * SECTORS, 512));
	ended(0);
	ck_assert_uint_eq(asked_size, 2 * SECTORS * 512);
	ck_assert_uint_eq(sent_io(0).device_id, 8);
	fake_answer(0, 0, buf, 512);
	turn(0);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

START_TEST(remap_that_the_server_refuses_is_tried_again)
{
	open_disk();
	begin(RNBD_CLT_REMAP);
	answer_close();
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_OPEN);
	fake_answer(0, -EPERM, NULL, 0);
	fake_answer(0, -EINVAL, NULL, 0); /* it cannot explain */
	ended(-EPERM);
	ck_assert_ptr_nonnull(strstr(asked_text, "busy"));
	ck_assert_str_eq(state(), "closed");
	ck_assert_str_eq(seen.why, asked_text);
	/* Another that comes now is told what the next try finds. */
	ck_assert_int_eq(ask(RNBD_CLT_REMAP), 0);
	turn(1000);
	/* While that is out, nothing is wrong that is known. */
	ck_assert_str_eq(state(), "closed");
	ck_assert_str_eq(seen.why, "");
	fake_answer(0, -EPERM, NULL, 0);
	ended(-EPERM);
	turn(1000);
	answer_open(shape(8, SECTORS, 512));
	ck_assert_str_eq(state(), "open");
}
END_TEST

START_TEST(commands_that_cannot_begin)
{
	ck_assert_int_eq(ask(RNBD_CLT_RESIZE), -ENOENT);
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	ck_assert_int_eq(ask(RNBD_CLT_RESIZE), -ENOTCONN);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	ck_assert_int_eq(ask(RNBD_CLT_RESIZE), -EBUSY);
	answer_open(shape(7, SECTORS, 512));
	begin(RNBD_CLT_REMAP);
	ck_assert_int_eq(ask(RNBD_CLT_RESIZE), -EBUSY);
	fake_link_down();
	ck_assert_int_eq(asked_calls, 1);
	come_back(shape(8, SECTORS - 1, 512));
	ck_assert_int_eq(ask(RNBD_CLT_RESIZE), -EIO);
	ck_assert_ptr_nonnull(strstr(asked_text, "shrank"));
}
END_TEST

START_TEST(session_lost_ends_a_command)
{
	open_disk();
	begin(RNBD_CLT_RESIZE);
	fake_link_down();
	ended(-ENOTCONN);
	come_back(shape(8, SECTORS, 512));
	ck_assert_str_eq(state(), "open");
	begin(RNBD_CLT_REMAP);
	fake_link_down();
	ended(-ENOTCONN);
	come_back(shape(9, SECTORS, 512));
	ck_assert_str_eq(state(), "open");
	/* Before it could be sent. */
	ck_assert_int_eq(ask(RNBD_CLT_RESIZE), 0);
	fake_lose();
	turn(0);
	ended(-ENOTCONN);
}
END_TEST

START_TEST(closed_while_it_is_asked_for)
{
	open_disk();
	begin(RNBD_CLT_RESIZE);
	rnbd_clt_dev_close(dev, nothing, NULL);
	ended(-ENOENT);
	/* CLOSE waits for the answer to OPEN. */
	ck_assert_uint_eq(fake->n_sent, 1);
	answer_open(shape(7, SECTORS, 512));
	answer_close();
	ck_assert_uint_eq(fake->n_sent, 0);
	n_seen = 0;
	rnbd_clt_for_each_dev(clt, see, NULL);
	ck_assert_uint_eq(n_seen, 0);
}
END_TEST

START_TEST(closed_while_it_is_asked_for_and_lost)
{
	open_disk();
	begin(RNBD_CLT_RESIZE);
	rnbd_clt_dev_close(dev, nothing, NULL);
	fake_link_down();
	turn(0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), TIME_NEVER);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	/* If the server has kept the session. */
	answer_close();
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 0);
}
END_TEST

START_TEST(forced_close_while_it_is_asked_for)
{
	static struct test_io t;

	open_disk();
	begin(RNBD_CLT_RESIZE);
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	fake_answer(1, -ENOTCONN, NULL, 0);
	turn(0);
	ck_assert_uint_gt(rnbd_clt_deadline(clt), now);
	/* The one OPEN that is out is answered, then there is another. */
	ck_assert_uint_eq(fake->n_sent, 1);
	answer_open(shape(8, SECTORS, 512));
	turn(0);
	ck_assert_int_eq(asked_calls, 0);
	answer_open(shape(8, SECTORS, 512));
	ended(0);
	ck_assert_uint_eq(sent_io(0).device_id, 8);
}
END_TEST

START_TEST(commands_find_only_what_somebody_has)
{
	struct rnbd_clt_dev *other;

	open_disk();
	other = dev;
	dev = opened("other", RNBD_ACCESS_RO, shape(8, SECTORS, 512));
	ck_assert_int_eq(ask(RNBD_CLT_RESIZE), 0);
	/* CLOSE of the one does not end the command for another. */
	let_go(dev);
	turn(0);
	ck_assert_int_eq(asked_calls, 0);
	let_go(other);
	ended(-ENOENT);
	ck_assert_int_eq(ask(RNBD_CLT_RESIZE), -ENOENT);
	while (fake->n_sent)
		fake_answer(0, 0, NULL, 0);
	ck_assert_int_eq(ask(RNBD_CLT_RESIZE), -ENOENT);
}
END_TEST

START_TEST(device_that_was_let_go_of_is_not_told_of)
{
	open_disk();
	fake_link_down();
	let_go(dev);
	n_seen = 0;
	rnbd_clt_for_each_dev(clt, see, NULL);
	ck_assert_uint_eq(n_seen, 0);
	ck_assert_int_eq(ask(RNBD_CLT_RESIZE), -ENOENT);
}
END_TEST

START_TEST(lost_session_without_a_known_reason_names_none)
{
	open_disk();
	fake_link_down();
	fake->why_down = "";
	ck_assert_int_eq(ask(RNBD_CLT_RESIZE), -ENOTCONN);
	ck_assert_ptr_nonnull(strstr(asked_text, "not connected; the device"));
}
END_TEST

START_TEST(writer_waits_for_the_answer_to_a_command)
{
	be_ready();
	dev = opened("disk", RNBD_ACCESS_RO, shape(7, SECTORS, 512));
	begin(RNBD_CLT_RESIZE);
	want("disk", RNBD_ACCESS_RW);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 1);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), TIME_NEVER);
	answer_open(shape(7, SECTORS, 512));
	ended(0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), 0);
	turn(0);
	answer_close();
	answer_open(shape(8, SECTORS, 512));
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, 0);
}
END_TEST

START_TEST(freed_with_a_command_under_way)
{
	open_disk();
	begin(RNBD_CLT_REMAP);
	rnbd_clt_free(clt);
	ended(-ESHUTDOWN);
	clt = NULL;
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rnbd-ask");
	TCase *tc = tcase_create("ask");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, device_is_told_of);
	tcase_add_test(tc, larger_size_is_seen_while_io_goes_on);
	tcase_add_test(tc, smaller_size_is_refused_and_harms_nobody);
	tcase_add_test(tc, impossible_disks_are_refused);
	tcase_add_test(tc, resize_finds_a_new_number);
	tcase_add_test(tc, remap_closes_and_opens_while_io_waits);
	tcase_add_test(tc, remap_that_the_server_refuses_is_tried_again);
	tcase_add_test(tc, commands_that_cannot_begin);
	tcase_add_test(tc, session_lost_ends_a_command);
	tcase_add_test(tc, closed_while_it_is_asked_for);
	tcase_add_test(tc, closed_while_it_is_asked_for_and_lost);
	tcase_add_test(tc, forced_close_while_it_is_asked_for);
	tcase_add_test(tc, commands_find_only_what_somebody_has);
	tcase_add_test(tc, device_that_was_let_go_of_is_not_told_of);
	tcase_add_test(tc, lost_session_without_a_known_reason_names_none);
	tcase_add_test(tc, writer_waits_for_the_answer_to_a_command);
	tcase_add_test(tc, freed_with_a_command_under_way);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
