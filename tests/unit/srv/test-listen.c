/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/srv/fixture.h"

#include <netinet/in.h>

static struct fx f;
static struct fx_path p;

static void
setup(void)
{
	fx_init(&f, 0, NULL);
	fx_path_init(&f, &p, 1, 1, 2);
}

static void
teardown(void)
{
	fx_fini(&f);
}

/* Sends a request with some bytes changed; returns the errno of the reject. */
static int
refused(size_t len, unsigned at, uint8_t value)
{
	uint8_t buf[RTRS_CONN_REQ_LEN];
	struct mock_conn *c;

	rtrs_msg_conn_req_encode(&p.req, buf);
	buf[at] = value;
	c = mock_connect(&f.m, buf, len, LOCAL, PEER);
	fx_run(&f);
	return fx_reject_errno(c);
}

START_TEST(check1_short_private_data)
{
	ck_assert_int_eq(refused(RTRS_CONN_REQ_LEN - 1, 0, 0), -ECONNRESET);
	ck_assert_int_eq(refused(0, 0, 0), -ECONNRESET);
	ck_assert_uint_eq(rtrs_listener_stats(f.lsn)->malformed, 2);
}
END_TEST

START_TEST(longer_private_data_is_padding)
{
	uint8_t buf[196] = {0};
	struct mock_conn *c;

	rtrs_msg_conn_req_encode(&p.req, buf);
	c = mock_connect(&f.m, buf, sizeof(buf), LOCAL, PEER);
	fx_run(&f);
	ck_assert(c->accepted);
}
END_TEST

START_TEST(check2_magic)
{
	ck_assert_int_eq(refused(RTRS_CONN_REQ_LEN, 2, 0), -ECONNRESET);
}
END_TEST

START_TEST(check3_major_version)
{
	ck_assert_int_eq(refused(RTRS_CONN_REQ_LEN, 5, 1), -ECONNRESET);
	ck_assert_int_eq(refused(RTRS_CONN_REQ_LEN, 5, 3), -ECONNRESET);
}
END_TEST

START_TEST(minor_version_is_ignored)
{
	p.req.version = 0x0207;
	ck_assert(fx_connect(&p, 0)->accepted);
}
END_TEST

START_TEST(check4_too_many_connections)
{
	p.req.cid_num = MAX_CIDS + 1;
	ck_assert(fx_connect(&p, 0)->rejected);
	ck_assert_int_eq(fx_reject_errno(p.con[0]), -ECONNRESET);
	p.req.cid_num = MAX_CIDS;
	ck_assert(fx_connect(&p, 0)->accepted);
}
END_TEST

START_TEST(check5_cid_below_cid_num)
{
	ck_assert_int_eq(fx_reject_errno(fx_connect(&p, 2)), -ECONNRESET);
	p.req.cid_num = 0;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&p, 0)), -ECONNRESET);
	ck_assert_uint_eq(rtrs_listener_stats(f.lsn)->malformed, 2);
	ck_assert_uint_eq(rtrs_listener_stats(f.lsn)->requests, 0);
}
END_TEST

START_TEST(the_caller_may_look_and_reject)
{
	const struct rtrs_msg_conn_req *msg;

	f.keep_requests = true;
	fx_connect(&p, 1);
	ck_assert_ptr_nonnull(f.kept);
	msg = rtrs_conn_request_msg(f.kept);
	ck_assert_uint_eq(msg->cid, 1);
	ck_assert_uint_eq(msg->cid_num, 2);
	ck_assert_mem_eq(&msg->sess_uuid, &p.req.sess_uuid, 16);
	ck_assert_mem_eq(&msg->path_uuid, &p.req.path_uuid, 16);
	ck_assert_ptr_eq(rtrs_conn_request_fabric(f.kept), &f.m.ops);
	ck_assert_mem_eq(&rtrs_conn_request_addrs(f.kept)->peer,
			 &p.con[1]->addrs.peer, sizeof(struct sockaddr_in));
	rtrs_conn_request_reject(f.kept, -EACCES);
	ck_assert_int_eq(fx_reject_errno(p.con[1]), -EACCES);
	ck_assert_uint_eq(rtrs_listener_stats(f.lsn)->requests, 1);
}
END_TEST

START_TEST(a_reject_never_says_zero)
{
	f.keep_requests = true;
	fx_connect(&p, 0);
	rtrs_conn_request_reject(f.kept, 0);
	ck_assert_int_eq(fx_reject_errno(p.con[0]), -ECONNRESET);
}
END_TEST

START_TEST(bytes_of_a_reject)
{
	static const uint8_t want[8] = {0xbd, 0x1b, 0x00, 0x02,
					0x98, 0xff, 0x00, 0x00};

	ck_assert(fx_connect(&p, 2)->rejected);
	ck_assert_mem_eq(p.con[2]->priv, want, sizeof(want));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("srv/listen");
	TCase *tc = tcase_create("listen");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, check1_short_private_data);
	tcase_add_test(tc, longer_private_data_is_padding);
	tcase_add_test(tc, check2_magic);
	tcase_add_test(tc, check3_major_version);
	tcase_add_test(tc, minor_version_is_ignored);
	tcase_add_test(tc, check4_too_many_connections);
	tcase_add_test(tc, check5_cid_below_cid_num);
	tcase_add_test(tc, the_caller_may_look_and_reject);
	tcase_add_test(tc, a_reject_never_says_zero);
	tcase_add_test(tc, bytes_of_a_reject);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
