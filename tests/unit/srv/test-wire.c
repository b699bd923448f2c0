/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worked session of rnbd-protocol(7), bytes against bytes: what the server
 * posts for a kernel-like client, with NEW_RKEY and without.
 */
#include "tests/unit/srv/fixture.h"

static struct fx f;
static struct fx_path p;

static const uint8_t sess_info_req[] = {
	0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x03, 0x00, 0x24, 0x00, 0x01, 0x00, 0x01, 0x00, 0x00, 0x10, 0x00, 0x00,
	0x00, 0x56, 0x00, 0x00, 0x01, 0x07, 0x00, 0x00, 0x24, 0x00, 0x00, 0x00,
};
static const uint8_t sess_info_rsp[36] = {0x01, 0x00, 0x00, 0x00, 0x02};
static const uint8_t write_req[] = {
	0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x20, 0x00,
};
static const uint8_t read_req[] = {
	0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x20, 0x00,
	0x01, 0x00, 0x01, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x56, 0x00, 0x00,
	0x03, 0x09, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00,
};
static const uint8_t flush_req[] = {
	0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x03, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x03, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00,
};
static const uint8_t close_req[] = {
	0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x08, 0x00,
};

static void
start(bool always_invalidate)
{
	const struct rtrs_srv_params sp = {
		.always_invalidate = always_invalidate,
	};

	fx_init(&f, FABRIC_CAP_MW_PD, &sp);
	fx_path_init(&f, &p, 1, 1, 2);
	fx_path_up(&p);
}

static void
setup_new_rkey(void)
{
	start(true);
}

static void
setup_static(void)
{
	start(false);
}

static void
teardown(void)
{
	fx_fini(&f);
}

/* The client's write, by the numbers of the document. */
static void
client(unsigned cid, uint64_t raddr, uint32_t rkey, const void *bytes,
       size_t len, uint32_t imm)
{
	ck_assert(mock_write_imm(p.con[cid], rkey, raddr, bytes, len, imm));
	fx_run(&f);
	ck_assert_uint_gt(f.n_ops, 0);
}

static struct rtrs_srv_op *
last_op(void)
{
	return f.ops[f.n_ops - 1];
}

static const struct mock_sent *
next(unsigned cid)
{
	const struct mock_sent *s;

	do
		s = mock_next_sent(p.con[cid]);
	while (s &&
	       (s->wr.op == FABRIC_WR_MW_INV || s->wr.op == FABRIC_WR_MW_BIND));
	ck_assert_ptr_nonnull(s);
	return s;
}

static void
expect_data(unsigned cid, uint64_t raddr, uint32_t rkey, const void *bytes,
	    uint32_t len)
{
	const struct mock_sent *s = next(cid);

	ck_assert_int_eq(s->wr.op, FABRIC_WR_RDMA_WRITE);
	ck_assert(!s->wr.signaled);
	ck_assert_uint_eq(s->wr.raddr, raddr);
	ck_assert_uint_eq(s->wr.rkey, rkey);
	ck_assert_uint_eq(s->len, len);
	ck_assert_mem_eq(s->data, bytes, len < 64 ? len : 64);
}

static void
expect_inv(unsigned cid, uint32_t rkey)
{
	const struct mock_sent *s = next(cid);

	ck_assert_int_eq(s->wr.op, FABRIC_WR_SEND_WITH_INV);
	ck_assert_uint_eq(s->wr.inv_rkey, rkey);
	ck_assert_uint_eq(s->wr.num_sge, 0);
}

static void
expect_done(unsigned cid, uint32_t imm, const uint8_t rkey_rsp[8])
{
	const struct mock_sent *s = next(cid);

	if (rkey_rsp) {
		ck_assert_int_eq(s->wr.op, FABRIC_WR_SEND_WITH_IMM);
		ck_assert_uint_eq(s->len, 8);
		ck_assert_mem_eq(s->data, rkey_rsp, 8);
	} else {
		ck_assert_int_eq(s->wr.op, FABRIC_WR_RDMA_WRITE_WITH_IMM);
		ck_assert_uint_eq(s->wr.num_sge, 0);
		ck_assert_uint_eq(s->wr.raddr, 0);
		ck_assert_uint_eq(s->wr.rkey, 0);
	}
	ck_assert_uint_eq(s->wr.imm, imm);
	ck_assert_uint_eq(mock_unseen(p.con[cid]), 0);
}

START_TEST(conn_rsp_and_info_rsp)
{
	static const uint8_t conn_rsp[20] = {
		0xbd, 0x1b, 0x00, 0x02, 0x00, 0x00, 0x02, 0x00, 0x00, 0xf0,
		0x01, 0x00, 0x00, 0x10, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
	};
	static const uint8_t info_rsp[40] = {
		0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x10, 0x7f, 0x00, 0x00, 0x00, 0x11, 0x00, 0x00,
		0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x02, 0x00, 0x10, 0x7f,
		0x00, 0x00, 0x00, 0x22, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00,
	};
	const struct mock_sent *s = &p.con[0]->sent[2];

	ck_assert_mem_eq(p.con[0]->priv, conn_rsp, sizeof(conn_rsp));
	ck_assert_mem_eq(p.con[1]->priv, conn_rsp, sizeof(conn_rsp));
	/* Behind the two binds. */
	ck_assert_int_eq(p.con[0]->sent[0].wr.op, FABRIC_WR_MW_BIND);
	ck_assert_int_eq(p.con[0]->sent[1].wr.op, FABRIC_WR_MW_BIND);
	ck_assert_int_eq(s->wr.op, FABRIC_WR_SEND);
	ck_assert_uint_eq(s->len, sizeof(info_rsp));
	ck_assert_mem_eq(s->data, info_rsp, sizeof(info_rsp));
}
END_TEST

START_TEST(worked_session_new_rkey)
{
	static const uint8_t done1[8] = {4, 0, 0, 0, 1, 0x11, 0, 0};
	static const uint8_t done2[8] = {4, 0, 1, 0, 1, 0x22, 0, 0};
	static const uint8_t done3[8] = {4, 0, 0, 0, 2, 0x11, 0, 0};
	static const uint8_t done4[8] = {4, 0, 1, 0, 2, 0x22, 0, 0};
	static const uint8_t done5[8] = {4, 0, 0, 0, 3, 0x11, 0, 0};
	static const uint8_t done6[8] = {4, 0, 1, 0, 3, 0x22, 0, 0};
	uint8_t open_req[288] = {2, 0, 0, 0, 1, 0, 'r', 'a', 'm', '0'};
	static const uint8_t open_hdr[24] = {
		0x03, 0x00, 0x08, 0x01, 0x01, 0x00, 0x01, 0x00,
		0x00, 0x20, 0x00, 0x00, 0x00, 0x56, 0x00, 0x00,
		0x02, 0x08, 0x00, 0x00, 0x38, 0x00, 0x00, 0x00,
	};
	uint8_t write[4096 + 36], open_rsp[56], page[4096];

	memcpy(open_req + 264, open_hdr, sizeof(open_hdr));
	memset(open_rsp, 0x3c, sizeof(open_rsp));
	memset(write, 0xa5, 4096);
	memset(page, 0xa5, sizeof(page));
	memcpy(write + 4096, write_req, sizeof(write_req));

	/* 10.3 SESS_INFO */
	client(0, 0x00007f1000000024, 0x1100, sess_info_req,
	       sizeof(sess_info_req), 0x00000048);
	ck_assert_int_eq(last_op()->dir, RTRS_READ);
	ck_assert_uint_eq(last_op()->usr_len, 36);
	ck_assert_uint_eq(last_op()->data_len, 36);
	ck_assert_mem_eq(last_op()->usr, sess_info_req, 36);
	memcpy(last_op()->data, sess_info_rsp, 36);
	rtrs_srv_op_done(last_op(), 0);
	expect_data(0, 0x0000560000001000, 0x701, sess_info_rsp, 36);
	expect_inv(0, 0x701);
	expect_done(0, 0x20000000, done1);

	/* 10.4 OPEN */
	client(0, 0x00007f1000020038, 0x2200, open_req, sizeof(open_req),
	       0x08000140);
	ck_assert_uint_eq(last_op()->usr_len, 264);
	ck_assert_uint_eq(last_op()->data_len, 56);
	memcpy(last_op()->data, open_rsp, 56);
	rtrs_srv_op_done(last_op(), 0);
	expect_data(0, 0x0000560000002000, 0x802, open_rsp, 56);
	expect_inv(0, 0x802);
	expect_done(0, 0x20000001, done2);

	/* 10.5 write */
	client(1, 0x00007f1000000000, 0x1101, write, sizeof(write), 0x00001020);
	ck_assert_int_eq(last_op()->dir, RTRS_WRITE);
	ck_assert_uint_eq(last_op()->data_len, 4096);
	ck_assert_mem_eq(last_op()->data, page, 4096);
	ck_assert_mem_eq(last_op()->usr, write_req, 32);
	rtrs_srv_op_done(last_op(), 0);
	expect_done(1, 0x10000000, done3);

	/* 10.6 read */
	client(1, 0x00007f1000021000, 0x2201, read_req, sizeof(read_req),
	       0x08001020);
	ck_assert_uint_eq(last_op()->data_len, 4096);
	memcpy(last_op()->data, page, 4096);
	rtrs_srv_op_done(last_op(), 0);
	expect_data(1, 0x0000560000100000, 0x903, page, 4096);
	expect_inv(1, 0x903);
	expect_done(1, 0x20000001, done4);

	/* 10.7 flush */
	client(1, 0x00007f1000000000, 0x1102, flush_req, sizeof(flush_req),
	       0x00000020);
	ck_assert_int_eq(last_op()->dir, RTRS_READ);
	ck_assert_uint_eq(last_op()->data_len, 0);
	rtrs_srv_op_done(last_op(), 0);
	expect_done(1, 0x10000000, done5);

	/* 10.9 CLOSE */
	client(0, 0x00007f1000020000, 0x2202, close_req, sizeof(close_req),
	       0x08000008);
	ck_assert_uint_eq(last_op()->usr_len, 8);
	rtrs_srv_op_done(last_op(), 0);
	expect_done(0, 0x10000001, done6);
}
END_TEST

START_TEST(chain_of_a_read_new_rkey)
{
	static const enum fabric_wr_op want[] = {
		FABRIC_WR_MW_INV,        FABRIC_WR_RDMA_WRITE,
		FABRIC_WR_SEND_WITH_INV, FABRIC_WR_MW_BIND,
		FABRIC_WR_SEND_WITH_IMM,
	};

	client(1, 0x00007f1000021000, 0x2200, read_req, sizeof(read_req),
	       0x08001020);
	rtrs_srv_op_done(last_op(), 0);
	ck_assert_uint_eq(mock_unseen(p.con[1]), ARRAY_SIZE(want));
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		const struct mock_sent *s = mock_next_sent(p.con[1]);

		ck_assert_int_eq(s->wr.op, want[i]);
		if (s->wr.op == FABRIC_WR_MW_BIND) {
			ck_assert_uint_eq(s->wr.bind_off, CHUNK);
			ck_assert_uint_eq(s->wr.bind_len, CHUNK);
			ck_assert_uint_eq(s->wr.bind_access,
					  FABRIC_ACCESS_REMOTE_WRITE);
		}
	}
}
END_TEST

START_TEST(failed_read_new_rkey)
{
	static const uint8_t done[8] = {4, 0, 1, 0, 1, 0x22, 0, 0};

	client(1, 0x00007f1000021000, 0x2200, read_req, sizeof(read_req),
	       0x08001020);
	rtrs_srv_op_done(last_op(), -EIO);
	/* No data, but what the client waits for. */
	expect_inv(1, 0x903);
	expect_done(1, 0x20000001 | 5u << 19, done);
}
END_TEST

START_TEST(failed_write_new_rkey)
{
	static const uint8_t done[8] = {4, 0, 0, 0, 1, 0x11, 0, 0};

	client(1, 0x00007f1000000000, 0x1100, write_req, sizeof(write_req),
	       0x00000020);
	rtrs_srv_op_done(last_op(), -ENOTCONN);
	expect_done(1, 0x10000000 | 107u << 19, done);
}
END_TEST

START_TEST(static_keys_kernel_client)
{
	uint8_t page[4096];

	ck_assert_uint_eq(p.rsp.flags, 0);
	memset(page, 0x77, sizeof(page));
	client(1, 0x00007f1000000000, 0x1100, write_req, sizeof(write_req),
	       0x00000020);
	rtrs_srv_op_done(last_op(), 0);
	expect_done(1, 0x10000000, NULL);

	client(1, 0x00007f1000021000, 0x1100, read_req, sizeof(read_req),
	       0x08001020);
	memcpy(last_op()->data, page, 4096);
	rtrs_srv_op_done(last_op(), 0);
	expect_data(1, 0x0000560000100000, 0x903, page, 4096);
	expect_inv(1, 0x903);
	expect_done(1, 0x20000001, NULL);

	client(1, 0x00007f1000000000, 0x1100, flush_req, sizeof(flush_req),
	       0x00000020);
	rtrs_srv_op_done(last_op(), 0);
	expect_done(1, 0x10000000, NULL);
}
END_TEST

START_TEST(static_keys_userspace_client)
{
	uint8_t req[sizeof(read_req)], page[4096];

	memset(page, 0x78, sizeof(page));
	memcpy(req, read_req, sizeof(req));
	req[36] = 0; /* no NEED_INVAL */
	client(1, 0x00007f1000021000, 0x1100, req, sizeof(req), 0x08001020);
	memcpy(last_op()->data, page, 4096);
	rtrs_srv_op_done(last_op(), 0);
	expect_data(1, 0x0000560000100000, 0x903, page, 4096);
	expect_done(1, 0x10000001, NULL);
}
END_TEST

START_TEST(static_keys_errors)
{
	client(1, 0x00007f1000021000, 0x1100, read_req, sizeof(read_req),
	       0x08001020);
	rtrs_srv_op_done(last_op(), -EIO);
	expect_inv(1, 0x903);
	expect_done(1, 0x20000001 | 5u << 19, NULL);

	client(1, 0x00007f1000000000, 0x1100, write_req, sizeof(write_req),
	       0x00000020);
	rtrs_srv_op_done(last_op(), -ENOSPC);
	expect_done(1, 0x10000000 | 28u << 19, NULL);
}
END_TEST

START_TEST(need_inval_without_descriptor_is_not_set)
{
	uint8_t req[sizeof(flush_req)];

	memcpy(req, flush_req, sizeof(req));
	req[36] = 1;
	client(1, 0x00007f1000000000, 0x1100, req, sizeof(req), 0x00000020);
	rtrs_srv_op_done(last_op(), 0);
	expect_done(1, 0x10000000, NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("srv/wire");
	TCase *tc = tcase_create("new rkey");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup_new_rkey, teardown);
	tcase_add_test(tc, conn_rsp_and_info_rsp);
	tcase_add_test(tc, worked_session_new_rkey);
	tcase_add_test(tc, chain_of_a_read_new_rkey);
	tcase_add_test(tc, failed_read_new_rkey);
	tcase_add_test(tc, failed_write_new_rkey);
	suite_add_tcase(s, tc);
	tc = tcase_create("static");
	tcase_add_checked_fixture(tc, setup_static, teardown);
	tcase_add_test(tc, static_keys_kernel_client);
	tcase_add_test(tc, static_keys_userspace_client);
	tcase_add_test(tc, static_keys_errors);
	tcase_add_test(tc, need_inval_without_descriptor_is_not_set);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
