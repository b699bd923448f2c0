/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Offsets in conn_req. */
#define OFF_CID        6
#define OFF_CID_NUM    8
#define OFF_RECON_CNT  10
#define OFF_PATH_UUID  12
#define OFF_SESS_UUID  28
#define OFF_FIRST_CONN 44

/* The worked session of the protocol. */
static const char *const conn_req_cid0 = "0000bd1b0002000002000100"
					 "00112233445546778899aabbccddeeff"
					 "a0a1a2a3a4a546a7a8a9aaabacadaeaf"
					 "010000000000000000000000";
static const char *const conn_req_cid1 = "0000bd1b0002010002000100"
					 "00112233445546778899aabbccddeeff"
					 "a0a1a2a3a4a546a7a8a9aaabacadaeaf"
					 "010000000000000000000000";

static void
assert_hex(const void *buf, size_t len, const char *hex)
{
	char s[1024] = "";

	for (size_t i = 0; i < len; i++)
		sprintf(s + 2 * i, "%02x", ((const uint8_t *)buf)[i]);
	ck_assert_str_eq(s, hex);
}

static void
assert_failed(struct fx *f, int err, const char *words)
{
	ck_assert_uint_eq(f->n_failed, 1);
	ck_assert_int_eq(f->failed_err, err);
	ck_assert_msg(strstr(rtrs_clt_why_down(f->clt), words), "%s",
		      rtrs_clt_why_down(f->clt));
	ck_assert(!strncmp(rtrs_clt_why_down(f->clt), "mock:127.0.0.", 13));
	ck_assert(!rtrs_clt_is_up(f->clt));
	ck_assert_uint_eq(f->n_up, 0);
	fx_run(f);
	for (unsigned i = 0; i < f->p.n_paths; i++)
		ck_assert_int_eq(fx_state(f, i), RTRS_CLT_CLOSED);
	/* It does not come back by itself. */
	fx_run_at(f, f->now + SEC(1000));
	ck_assert_uint_eq(f->n_failed, 1);
	ck_assert_uint_eq(f->m.live_conns, 0);
	ck_assert_uint_eq(rtrs_clt_deadline(f->clt), TIME_NEVER);
}

START_TEST(connections_one_after_another)
{
	struct fx f;
	struct fabric_conn *c0, *c1;
	struct rtrs_msg_info_req info;

	fx_init(&f, CHEAP, 1);
	f.rsp.queue_depth = 2;
	fx_open(&f);
	fx_run(&f);
	ck_assert_uint_eq(f.m.n_conns, 1);
	c0 = f.m.conns[0];
	ck_assert_uint_eq(c0->priv_len, 56);
	assert_hex(c0->priv, 56, conn_req_cid0);
	ck_assert_uint_ge(c0->max_send_wr, 1026);
	fx_accept(&f);
	ck_assert_uint_eq(f.m.n_conns, 2);
	c1 = f.m.conns[1];
	assert_hex(c1->priv, 56, conn_req_cid1);
	ck_assert_ptr_eq(c0->pd, c1->pd);
	/* No INFO_REQ before the last connection is there. */
	ck_assert_uint_eq(f.m.n_sends, 0);
	fx_accept(&f);
	ck_assert_uint_eq(f.m.n_conns, 2);
	ck_assert_uint_eq(f.m.n_sends, 1);
	ck_assert_ptr_eq(f.m.sends[0].conn, c0);
	ck_assert_int_eq(f.m.sends[0].wr.op, FABRIC_WR_SEND);
	ck_assert_uint_eq(f.m.sends[0].len, 272);
	ck_assert_int_eq(
		rtrs_msg_info_req_decode(f.m.sends[0].bytes, 272, &info), 0);
	ck_assert_str_eq(info.name, "clt1-srv1");
	/* The buffer of the INFO_RSP is the first receive. */
	ck_assert_uint_eq(c0->recvs[0].len, 8 + 16 * 2);
	ck_assert_uint_eq(c0->n_recvs, 1 + 2 + CLT_SPARE_RECVS);
	ck_assert_uint_eq(c0->recvs[1].len, 0);
	ck_assert_uint_eq(c1->n_recvs, 2 + CLT_SPARE_RECVS);
	ck_assert_uint_eq(f.n_up, 0);
	fx_info_rsp(&f, 0);
	ck_assert_uint_eq(f.n_up, 1);
	ck_assert(rtrs_clt_is_up(f.clt));
	ck_assert_uint_eq(rtrs_clt_queue_depth(f.clt), 2);
	ck_assert_uint_eq(rtrs_clt_max_io_size(f.clt), 126976);
	ck_assert_str_eq(rtrs_clt_why_down(f.clt), "");
	/* The heartbeat runs. */
	ck_assert_uint_eq(rtrs_clt_deadline(f.clt), f.now + SEC(5));
	fx_deinit(&f);
}
END_TEST

START_TEST(worked_info_req_byte_for_byte)
{
	struct fx f;
	uint8_t want[272] = {0};

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	fx_accept_all(&f);
	memcpy(want + 2, "clt1-srv1", 9);
	ck_assert_mem_eq(f.m.sends[0].bytes, want, 272);
	fx_deinit(&f);
}
END_TEST

START_TEST(new_rkey_means_buffers_everywhere)
{
	struct fx f;

	fx_init(&f, CHEAP_INV, 1);
	f.p.need_inval = true;
	f.rsp.flags = RTRS_RSP_F_NEW_RKEY;
	fx_open(&f);
	fx_accept_all(&f);
	/* Two per permit: SEND_WITH_INV takes one. */
	ck_assert_uint_eq(f.m.conns[0]->n_recvs, 1 + 2 * 8 + CLT_SPARE_RECVS);
	ck_assert_uint_eq(f.m.conns[1]->n_recvs, 2 * 8 + CLT_SPARE_RECVS);
	for (unsigned c = 0; c < 2; c++)
		for (unsigned i = !c; i < f.m.conns[c]->n_recvs; i++)
			ck_assert_uint_eq(f.m.conns[c]->recvs[i].len, 8);
	fx_deinit(&f);
}
END_TEST

START_TEST(private_data_may_be_longer)
{
	struct fx f;
	uint8_t buf[196] = {0};

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	rtrs_msg_conn_rsp_encode(&f.rsp, buf);
	memset(buf + 56, 0xee, sizeof(buf) - 56);
	mock_established(mock_last_conn(&f.m), buf, sizeof(buf));
	fx_run(&f);
	ck_assert_uint_eq(f.m.n_conns, 2);
	fx_deinit(&f);
}
END_TEST

/* What is wrong with the bytes of a conn_rsp, on each cid. */
enum rsp_fault {
	SHORT,
	MAGIC,
	VERSION,
	ERRNO,
	NOTHING
};

START_TEST(malformed_conn_rsp)
{
	static const char *const words[] = {
		[SHORT] = "speaks something else (not RTRS over mock)",
		[MAGIC] = "speaks something else (not RTRS over mock)",
		[VERSION] = "speaks another version of RTRS",
		[ERRNO] = "accepted the connection with an error",
		[NOTHING] = "speaks something else",
	};
	unsigned fault = (unsigned)_i % 5, cid = (unsigned)_i / 5;
	struct fx f;
	uint8_t buf[56];
	size_t len = sizeof(buf);

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	for (unsigned i = 0; i < cid; i++)
		fx_accept(&f);
	if (fault == ERRNO)
		f.rsp.err = -ENOMEM;
	rtrs_msg_conn_rsp_encode(&f.rsp, buf);
	if (fault == SHORT)
		len = 55;
	if (fault == NOTHING)
		len = 0;
	if (fault == MAGIC)
		buf[0] ^= 1;
	if (fault == VERSION)
		buf[3] = 3;
	mock_established(mock_last_conn(&f.m), len ? buf : NULL, len);
	fx_run(&f);
	assert_failed(&f, -ECONNRESET, words[fault]);
	fx_deinit(&f);
}
END_TEST

static const struct {
	uint16_t depth;
	uint32_t io, hdr;
	bool ok;
} sizes[] = {
	{512, 126976, 4096, true},
	{1, 126976, 4096, true},
	{2048, 126976, 4096, true},
	{32768, 4096, 4096, true},
	{16, 7680, 512, true},
	{0, 126976, 4096, false},
	{2049, 126976, 4096, false}, /* 12 + 17 bits */
	{65535, 126976, 4096, false},
	{512, 126976, 511, false},
	{512, 0, 8192, false},
	{512, 4095, 4096, false},       /* chunk of less than 8192 */
	{512, UINT32_MAX, 4096, false}, /* sum beyond 32 bits */
	{512, UINT32_MAX - 4095, 4096, false},
	{1, UINT32_C(0x10000000), 4096, false},
};

START_TEST(sizes_are_checked)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	f.p.max_queue_depth = 16;
	f.rsp.queue_depth = sizes[_i].depth;
	f.rsp.max_io_size = sizes[_i].io;
	f.rsp.max_hdr_size = sizes[_i].hdr;
	fx_open(&f);
	fx_accept(&f);
	if (sizes[_i].ok) {
		ck_assert_uint_eq(f.m.n_conns, 2);
		ck_assert_uint_eq(f.n_failed, 0);
	} else {
		assert_failed(&f, -EPROTO, "impossible sizes");
	}
	fx_deinit(&f);
}
END_TEST

static const struct {
	int err;
	const char *words;
} rejects[] = {
	{-ECONNRESET, "rejected by the server: it takes the connection request "
		      "for malformed"},
	{-ENXIO, "does not know this session"},
	{-EEXIST, "already has a path between these two addresses (17)"},
	{-EBUSY, "the old connection is still there"},
	{-ENOMEM, "no memory for another session (12)"},
	{-EINVAL, "rejected by the server: Invalid argument (22)"},
};

START_TEST(reject_tells_why)
{
	struct rtrs_msg_conn_rsp rsp = {.version = RTRS_PROTO_VER,
					.err = rejects[_i].err};
	struct fx f;
	uint8_t buf[56];

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	rtrs_msg_conn_rsp_encode(&rsp, buf);
	mock_rejected(mock_last_conn(&f.m), buf, sizeof(buf));
	fx_run(&f);
	assert_failed(&f, rejects[_i].err, rejects[_i].words);
	fx_deinit(&f);
}
END_TEST

START_TEST(reject_without_reason)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	fx_accept(&f);
	mock_rejected(mock_last_conn(&f.m), "no", 2);
	fx_run(&f);
	assert_failed(&f, -ECONNREFUSED, "without a reason");
	fx_deinit(&f);
}
END_TEST

static const struct {
	int err;
	const char *words;
} connect_errs[] = {
	{-ECONNREFUSED, "mock:127.0.0.1:1234: connection refused"},
	{-ETIMEDOUT, "did not answer for 30000 ms"},
	{-EPROTO, "speaks something else (not RTRS over mock)"},
	{-EHOSTUNREACH, "cannot connect: No route to host"},
};

START_TEST(connect_error_tells_why)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	if (_i & 1)
		fx_accept(&f);
	mock_connect_error(mock_last_conn(&f.m), connect_errs[_i / 2].err);
	fx_run(&f);
	assert_failed(&f, connect_errs[_i / 2].err, connect_errs[_i / 2].words);
	fx_deinit(&f);
}
END_TEST

START_TEST(connect_that_fails_at_once)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	f.m.connect_err = -ENETUNREACH;
	fx_open(&f);
	/* Not from within rtrs_clt_new(). */
	ck_assert_uint_eq(f.n_failed, 0);
	ck_assert(rtrs_clt_arm(f.clt));
	fx_run(&f);
	assert_failed(&f, -ENETUNREACH, "cannot connect");
	fx_deinit(&f);
}
END_TEST

/* 8 requests, two queue entries each, and 64: 80 on the I/O connections. */
START_TEST(small_queues_are_worked_with)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	f.p.n_cons = 3;
	f.m.limit_wr = 40;
	fx_open(&f);
	fx_path_up(&f, 0);
	ck_assert_uint_eq(f.n_up, 1);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(f.clt->paths[0]->cons[i].sq_max, 40);
		ck_assert_uint_le(fx_conn(&f, 0, i)->n_recvs, 40);
	}
	fx_deinit(&f);
}
END_TEST

START_TEST(tiny_queues_are_refused_in_words)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	f.p.n_cons = 3;
	f.m.limit_wr = 39;
	fx_open(&f);
	fx_accept_all(&f);
	assert_failed(&f, -ENOBUFS,
		      "mock0 grants queues of 39 and 24 work requests; 8 "
		      "requests need 80 on 2 connections: use a smaller queue "
		      "depth");
	fx_deinit(&f);
}
END_TEST

START_TEST(silence_at_each_step_times_out)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	f.p.connect_timeout_ms = 7000;
	fx_open(&f);
	fx_run(&f);
	for (int i = 0; i < _i; i++) {
		fx_run_at(&f, f.now + SEC(5));
		fx_accept(&f);
	}
	ck_assert_uint_eq(rtrs_clt_deadline(f.clt), f.now + SEC(7));
	fx_run_at(&f, f.now + SEC(7) - 1);
	ck_assert_uint_eq(f.n_failed, 0);
	fx_run_at(&f, f.now + 1);
	assert_failed(&f, -ETIMEDOUT, "did not answer for 7000 ms");
	fx_deinit(&f);
}
END_TEST

START_TEST(disconnect_after_the_name_suggests_a_name_in_use)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	fx_accept_all(&f);
	mock_disconnected(f.m.conns[0], _i ? -ECONNRESET : 0);
	fx_run(&f);
	assert_failed(&f, -ECONNRESET,
		      "is session name 'clt1-srv1' already in use?");
	fx_deinit(&f);
}
END_TEST

START_TEST(disconnect_before_the_name)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	fx_accept(&f);
	mock_disconnected(f.m.conns[0], 0);
	fx_run(&f);
	assert_failed(&f, -ECONNRESET, "the server closed connection 0");
	fx_deinit(&f);
}
END_TEST

enum info_fault {
	INFO_SHORT,
	INFO_TYPE,
	INFO_NONE,
	INFO_INDIVISIBLE,
	INFO_LEN,
	INFO_TOO_FEW,
	N_INFO_FAULTS
};

START_TEST(malformed_info_rsp)
{
	struct fx f;
	struct rtrs_desc desc[8];
	uint8_t buf[8 + 8 * 16];
	uint16_t n = _i == INFO_INDIVISIBLE ? 3 : _i == INFO_TOO_FEW ? 4 : 8;
	int len;

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	fx_accept_all(&f);
	for (unsigned i = 0; i < 8; i++)
		desc[i] = (struct rtrs_desc){i << 20, i, 131072};
	if (_i == INFO_LEN)
		desc[3].len--;
	len = rtrs_msg_info_rsp_encode(desc, n, buf, sizeof(buf));
	if (_i == INFO_SHORT)
		len--;
	if (_i == INFO_TYPE)
		buf[0] = 2;
	if (_i == INFO_NONE)
		buf[2] = 0;
	mock_peer_send(f.m.conns[0], buf, (uint32_t)len);
	fx_run(&f);
	ck_assert_uint_eq(f.n_failed, 1);
	assert_failed(&f, f.failed_err, "malformed INFO_RSP");
	fx_deinit(&f);
}
END_TEST

START_TEST(one_descriptor_covers_all_chunks)
{
	struct fx f;
	struct rtrs_desc desc = {0x5000, 0x77, 8 * 131072};
	uint8_t buf[24];
	const struct clt_chunk *chunks;
	int len;

	fx_init(&f, CHEAP, 1);
	f.p.max_queue_depth = 5;
	fx_open(&f);
	fx_accept_all(&f);
	len = rtrs_msg_info_rsp_encode(&desc, 1, buf, sizeof(buf));
	mock_peer_send(f.m.conns[0], buf, (uint32_t)len);
	fx_run(&f);
	ck_assert_uint_eq(f.n_up, 1);
	chunks = f.clt->paths[0]->mem.chunks;
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_uint_eq(chunks[i].raddr, 0x5000 + i * 131072);
		ck_assert_uint_eq(chunks[i].rkey, 0x77);
	}
	fx_deinit(&f);
}
END_TEST

START_TEST(something_else_before_info_rsp)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	fx_accept_all(&f);
	mock_peer_write_imm(f.m.conns[_i], rtrs_imm_hb_msg());
	fx_run(&f);
	assert_failed(&f, -EPROTO, "before its INFO_RSP");
	fx_deinit(&f);
}
END_TEST

static void
assert_conn_req(struct fx *f, unsigned nr, unsigned cid, unsigned recon,
		bool first)
{
	const uint8_t *p = f->m.conns[nr]->priv;

	ck_assert_uint_eq(p[OFF_CID], cid);
	ck_assert_uint_eq(p[OFF_CID_NUM], 2);
	ck_assert_uint_eq(p[OFF_RECON_CNT], recon);
	ck_assert_uint_eq(p[OFF_FIRST_CONN], first);
	ck_assert_mem_eq(p + OFF_SESS_UUID, f->m.conns[0]->priv + OFF_SESS_UUID,
			 16);
}

START_TEST(first_conn_recon_cnt_and_uuids)
{
	struct fx f;

	fx_init(&f, CHEAP, 2);
	fx_up(&f);
	assert_conn_req(&f, 0, 0, 1, true);
	assert_conn_req(&f, 1, 1, 1, true);
	/* While one path is up, no other may create the session. */
	assert_conn_req(&f, 2, 0, 1, false);
	assert_conn_req(&f, 3, 1, 1, false);
	ck_assert_mem_ne(f.m.conns[0]->priv + OFF_PATH_UUID,
			 f.m.conns[2]->priv + OFF_PATH_UUID, 16);
	rtrs_clt_path_reset(f.clt, 1);
	fx_run(&f);
	fx_run_at(&f, f.now + SEC(31));
	ck_assert_uint_eq(f.m.n_conns, 5);
	assert_conn_req(&f, 4, 0, 2, false);
	ck_assert_mem_eq(f.m.conns[4]->priv + OFF_PATH_UUID,
			 f.m.conns[2]->priv + OFF_PATH_UUID, 16);
	fx_path_up(&f, 1);
	assert_conn_req(&f, 5, 1, 2, false);
	/* The first to come back when none is up may, whichever it is. */
	rtrs_clt_path_reset(f.clt, 0);
	rtrs_clt_path_reset(f.clt, 1);
	fx_run(&f);
	fx_run_at(&f, f.now + SEC(31));
	ck_assert_uint_eq(f.m.n_conns, 8);
	assert_conn_req(&f, 6, 0, 2, true);
	assert_conn_req(&f, 7, 0, 3, true);
	fx_deinit(&f);
}
END_TEST

START_TEST(second_path_follows_the_first_completely)
{
	struct fx f;

	fx_init(&f, CHEAP, 2);
	fx_open(&f);
	fx_accept_all(&f);
	ck_assert_uint_eq(f.m.n_conns, 2);
	fx_info_rsp(&f, 0);
	ck_assert_uint_eq(f.m.n_conns, 3);
	ck_assert_uint_eq(f.n_up, 0);
	ck_assert(!rtrs_clt_is_up(f.clt));
	fx_path_up(&f, 1);
	ck_assert_uint_eq(f.n_up, 1);
	fx_deinit(&f);
}
END_TEST

START_TEST(any_initial_path_fails_the_open)
{
	struct fx f;

	fx_init(&f, CHEAP, 2);
	fx_open(&f);
	fx_path_up(&f, 0);
	if (_i == 0) {
		mock_connect_error(mock_last_conn(&f.m), -ECONNREFUSED);
		fx_run(&f);
		assert_failed(&f, -ECONNREFUSED, "mock:127.0.0.2:1234: ");
	} else if (_i == 1) {
		/* Another depth than the first path's. */
		f.rsp.queue_depth = 4;
		fx_accept(&f);
		assert_failed(&f, -EINVAL, "queue depth 4 differs from 8");
	} else {
		/* The first one is lost again meanwhile. */
		mock_disconnected(f.m.conns[1], -ETIMEDOUT);
		fx_run(&f);
		assert_failed(&f, -ETIMEDOUT, "the server is silent");
	}
	ck_assert_str_eq(f.order, "F");
	fx_deinit(&f);
}
END_TEST

START_TEST(max_io_size_is_the_least_of_the_paths)
{
	struct fx f;

	fx_init(&f, CHEAP, 2);
	fx_open(&f);
	fx_path_up(&f, 0);
	f.rsp.max_io_size = 61440;
	fx_path_up(&f, 1);
	ck_assert_uint_eq(rtrs_clt_max_io_size(f.clt), 61440);
	fx_deinit(&f);
}
END_TEST

/* 0: just open; then one more step each; the last: up. */
START_TEST(free_or_close_at_each_step)
{
	struct fx f;
	int step = _i / 2;

	fx_init(&f, CHEAP, 2);
	fx_open(&f);
	for (int i = 1; i <= step; i++) {
		if (i % 3)
			fx_accept(&f);
		else
			fx_info_rsp(&f, i == 6);
	}
	if (_i % 2) {
		rtrs_clt_close(f.clt);
		fx_run(&f);
		ck_assert(rtrs_clt_closed(f.clt));
		ck_assert_uint_eq(f.m.live_conns, 0);
		ck_assert_uint_eq(f.m.live_mrs, 0);
		ck_assert_uint_eq(f.n_down + f.n_failed, 0);
	}
	fx_deinit(&f);
}
END_TEST

START_TEST(close_waits_for_closed)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	f.m.auto_close = false;
	fx_up(&f);
	rtrs_clt_close(f.clt);
	fx_run(&f);
	ck_assert_uint_eq(f.m.n_disconnects, 2);
	ck_assert(!rtrs_clt_closed(f.clt));
	mock_closed(f.m.conns[1], true);
	fx_run(&f);
	ck_assert(!rtrs_clt_closed(f.clt));
	mock_closed(f.m.conns[0], true);
	fx_run(&f);
	ck_assert(rtrs_clt_closed(f.clt));
	fx_deinit(&f);
}
END_TEST

/* What the peer may still write to is not given to somebody else. */
START_TEST(a_key_that_will_not_die_keeps_its_memory)
{
	struct bigmem left = {.addr = NULL};
	struct fabric_mr *mr = NULL;
	struct fx f;

	fx_init(&f, 0, 1);
	fx_up(&f);
	for (unsigned i = 0; i < f.m.n_keys; i++)
		if (f.m.keys[i].access)
			mr = f.m.keys[i].mr;
	ck_assert_ptr_nonnull(mr);
	f.m.mr_dereg_err = -EIO;
	rtrs_clt_close(f.clt);
	fx_run(&f);
	ck_assert(rtrs_clt_closed(f.clt));
	ck_assert_ptr_nonnull(strstr(f.last_line, "stay mapped"));
	ck_assert_uint_eq(f.m.live_mrs, 1);
	memset(mr->addr, 0xee, mr->len);
	left.addr = mr->addr;
	left.len = mr->len;
	f.m.mr_dereg_err = 0;
	ck_assert_int_eq(f.m.ops.mr_dereg(mr), 0);
	bigmem_free(&left);
	fx_deinit(&f);
}
END_TEST

START_TEST(wrong_parameters)
{
	struct fx f;
	struct rtrs_clt_params p;
	struct rtrs_clt *clt = NULL;

	fx_init(&f, CHEAP, 1);
	p = f.p;
	p.name = "a/b";
	ck_assert_int_eq(rtrs_clt_new(&p, &clt), -EINVAL);
	p.name = NULL;
	ck_assert_int_eq(rtrs_clt_new(&p, &clt), -EINVAL);
	p = f.p;
	p.n_paths = 0;
	ck_assert_int_eq(rtrs_clt_new(&p, &clt), -EINVAL);
	p.n_paths = RTRS_MAX_PATHS + 1;
	ck_assert_int_eq(rtrs_clt_new(&p, &clt), -EINVAL);
	p = f.p;
	p.n_cons = 1;
	ck_assert_int_eq(rtrs_clt_new(&p, &clt), -EINVAL);
	p.n_cons = RTRS_MAX_CONS + 1;
	ck_assert_int_eq(rtrs_clt_new(&p, &clt), -EINVAL);
	ck_assert_ptr_null(clt);
	rtrs_clt_free(NULL);
	mock_deinit(&f.m);
}
END_TEST

START_TEST(no_memory_for_a_path)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	f.m.mr_reg_err = -ENOMEM;
	fx_open(&f);
	fx_accept(&f);
	assert_failed(&f, -ENOMEM, "no memory for 8 requests");
	fx_deinit(&f);
}
END_TEST

START_TEST(no_memory_for_a_path_in_the_words_of_the_fabric)
{
	struct fx f;

	fx_init(&f, 0, 1);
	f.m.mr_reg_err = -ENOMEM;
	f.m.pd_why = "the limit is 64 KiB";
	fx_open(&f);
	fx_accept(&f);
	assert_failed(&f, -ENOMEM,
		      "no memory for 8 requests: the limit is 64 KiB");
	fx_deinit(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("connect");
	TCase *tc = tcase_create("connect");

	tcase_add_test(tc, connections_one_after_another);
	tcase_add_test(tc, worked_info_req_byte_for_byte);
	tcase_add_test(tc, new_rkey_means_buffers_everywhere);
	tcase_add_test(tc, private_data_may_be_longer);
	tcase_add_loop_test(tc, malformed_conn_rsp, 0, 10);
	tcase_add_loop_test(tc, sizes_are_checked, 0, (int)ARRAY_SIZE(sizes));
	tcase_add_loop_test(tc, reject_tells_why, 0, (int)ARRAY_SIZE(rejects));
	tcase_add_test(tc, reject_without_reason);
	tcase_add_loop_test(tc, connect_error_tells_why, 0,
			    2 * (int)ARRAY_SIZE(connect_errs));
	tcase_add_test(tc, connect_that_fails_at_once);
	tcase_add_test(tc, small_queues_are_worked_with);
	tcase_add_test(tc, tiny_queues_are_refused_in_words);
	tcase_add_loop_test(tc, silence_at_each_step_times_out, 0, 3);
	tcase_add_loop_test(
		tc, disconnect_after_the_name_suggests_a_name_in_use, 0, 2);
	tcase_add_test(tc, disconnect_before_the_name);
	tcase_add_loop_test(tc, malformed_info_rsp, 0, N_INFO_FAULTS);
	tcase_add_test(tc, one_descriptor_covers_all_chunks);
	tcase_add_loop_test(tc, something_else_before_info_rsp, 0, 2);
	tcase_add_test(tc, first_conn_recon_cnt_and_uuids);
	tcase_add_test(tc, second_path_follows_the_first_completely);
	tcase_add_loop_test(tc, any_initial_path_fails_the_open, 0, 3);
	tcase_add_test(tc, max_io_size_is_the_least_of_the_paths);
	tcase_add_loop_test(tc, free_or_close_at_each_step, 0, 14);
	tcase_add_test(tc, close_waits_for_closed);
	tcase_add_test(tc, a_key_that_will_not_die_keeps_its_memory);
	tcase_add_test(tc, wrong_parameters);
	tcase_add_test(tc, no_memory_for_a_path);
	tcase_add_test(tc, no_memory_for_a_path_in_the_words_of_the_fabric);
	suite_add_tcase(s, tc);
	return fx_main(s);
}
