/* SPDX-License-Identifier: BSD-3-Clause */
/* The worked session of rnbd-protocol(7), step by step and byte for byte. */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

static size_t
unhex(const char *hex, uint8_t *buf)
{
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(sscanf(hex + 2 * i, "%2hhx", &buf[i]), 1);
	return n;
}

struct step {
	enum rtrs_dir dir;
	enum rtrs_permit_type type;
	unsigned cid, chunk;
	uint16_t usr_len;
	uint32_t data_len;
	uint64_t mr_addr; /* of the read's target */
	uint32_t mr_key;
	/* What must go out: user message, header, descriptor. */
	const char *msg;
	uint64_t raddr;
	uint32_t rkey, imm;
	/* What comes back. */
	const char *rkey_rsp;
	uint32_t rsp_imm;
};

#define Z32 "0000000000000000000000000000000000000000000000000000000000000000"
#define Z16 "00000000000000000000000000000000"

static const struct step worked[] = {
	{RTRS_READ, RTRS_PERMIT_ADMIN, 0, 0, 36, 36, 0x560000001000, 0x701,
	 "00000000020000000000000000000000" Z16
	 "00000000030024000100010000100000"
	 "005600000107000024000000",
	 0x7f1000000024, 0x1100, 0x00000048, "0400000001110000", 0x20000000},
	{RTRS_READ, RTRS_PERMIT_ADMIN, 0, 1, 264, 56, 0x560000002000, 0x802,
	 "020000000100"
	 "72616d30"
	 "000000000000" Z16 Z32 Z32 Z32 Z32 Z32 Z32 Z32 "0000000000000000"
	 "030008010100010000200000"
	 "00560000"
	 "02080000"
	 "38000000",
	 0x7f1000020038, 0x2200, 0x08000140, "0400010001220000", 0x20000001},
	{RTRS_WRITE, RTRS_PERMIT_IO, 1, 0, 32, 4096, 0, 0,
	 "04000000000000000008000000000000"
	 "01010000001000000000000000000000"
	 "02002000",
	 0x7f1000000000, 0x1101, 0x00001020, "0400000002110000", 0x10000000},
	{RTRS_READ, RTRS_PERMIT_IO, 1, 1, 32, 4096, 0x560000100000, 0x903,
	 "04000000000000000008000000000000"
	 "00010000001000000000000000000000"
	 "03002000010001000000100000560000"
	 "0309000000100000",
	 0x7f1000021000, 0x2201, 0x08001020, "0400010002220000", 0x20000001},
	{RTRS_READ, RTRS_PERMIT_IO, 1, 0, 32, 0, 0, 0,
	 "0400000000000000ffffffffffffffff"
	 "02030000000000000000000000000000"
	 "0300200000000000",
	 0x7f1000000000, 0x1102, 0x00000020, "0400000003110000", 0x10000000},
	{RTRS_WRITE, RTRS_PERMIT_ADMIN, 0, 1, 8, 0, 0, 0,
	 "050000000000000002000800", 0x7f1000020000, 0x2202, 0x08000008,
	 "0400010003220000", 0x10000001},
};

/* Takes permits until it has the one that the session uses. */
static struct rtrs_permit *
permit_of(struct fx *f, const struct step *st, struct rtrs_permit **spare)
{
	struct rtrs_permit *p;

	*spare = NULL;
	p = rtrs_clt_permit_get(f->clt, RTRS_PERMIT_ADMIN, 0);
	if (p->id != st->chunk) {
		*spare = p;
		p = rtrs_clt_permit_get(f->clt, RTRS_PERMIT_ADMIN, 0);
	}
	ck_assert_uint_eq(p->id, st->chunk);
	p->type = (uint8_t)st->type; /* the reserve would refuse IO here */
	return p;
}

static void
keep_done(struct rtrs_clt_req *req, int err)
{
	struct fx_req *r = container_of(req, struct fx_req, req);

	r->n_done++;
	r->err = err;
}

static void
play(struct fx *f, const struct step *st)
{
	struct fx_req r = {.f = f};
	struct rtrs_permit *spare;
	struct mock_send *s;
	uint8_t msg[400], answer[4096], rkey_rsp[8];
	size_t len = unhex(st->msg, msg);
	size_t head = st->dir == RTRS_WRITE ? st->data_len : 0;

	memset(r.data, 0xa5, sizeof(r.data));
	r.req = (struct rtrs_clt_req){
		.dir = st->dir,
		.permit = permit_of(f, st, &spare),
		.usr = msg,
		.usr_len = st->usr_len,
		.data = st->data_len ? r.data : NULL,
		.data_len = st->data_len,
		.done = keep_done,
	};
	f->m.next_raddr = st->mr_addr;
	f->m.next_rkey = st->mr_key;
	ck_assert_int_eq(rtrs_clt_submit(f->clt, &r.req), 0);
	s = mock_last_send(&f->m);
	ck_assert_ptr_eq(s->conn, fx_conn(f, 0, st->cid));
	ck_assert_int_eq(s->wr.op, FABRIC_WR_RDMA_WRITE_WITH_IMM);
	ck_assert_uint_eq(s->wr.raddr, st->raddr);
	ck_assert_uint_eq(s->wr.rkey, st->rkey);
	ck_assert_uint_eq(s->wr.imm, st->imm);
	ck_assert_uint_eq(s->len, head + len);
	ck_assert_mem_eq(s->bytes, r.data, head);
	ck_assert_mem_eq(s->bytes + head, msg, len);
	ck_assert_uint_eq(s->wr.num_sge, head ? 2 : 1);
	fx_run(f);
	ck_assert_uint_eq(r.n_done, 0);

	if (st->mr_key) {
		memset(answer, 0x5c, sizeof(answer));
		ck_assert(mock_peer_write(s->conn, st->mr_addr, st->mr_key,
					  answer, st->data_len));
		ck_assert(!mock_peer_write(s->conn, st->mr_addr, st->mr_key,
					   answer, st->data_len + 1));
		mock_peer_send_inv(s->conn, st->mr_key);
	}
	unhex(st->rkey_rsp, rkey_rsp);
	mock_peer_send_imm(s->conn, rkey_rsp, 8, st->rsp_imm);
	fx_run(f);
	ck_assert_uint_eq(r.n_done, 1);
	ck_assert_int_eq(r.err, 0);
	if (st->mr_key)
		ck_assert_mem_eq(r.data, answer, st->data_len);
	rtrs_clt_permit_put(f->clt, r.req.permit);
	rtrs_clt_permit_put(f->clt, spare);
}

START_TEST(worked_session_byte_for_byte)
{
	struct fx f;
	unsigned recvs[2];

	fx_init(&f, CHEAP_INV, 1);
	f.p.need_inval = true;
	f.rsp.queue_depth = 2;
	f.rsp.flags = RTRS_RSP_F_NEW_RKEY;
	fx_up(&f);
	for (int c = 0; c < 2; c++)
		recvs[c] = f.m.conns[c]->n_recvs;
	for (unsigned i = 0; i < ARRAY_SIZE(worked); i++)
		play(&f, &worked[i]);
	/* Every receive that was used is posted again. */
	for (int c = 0; c < 2; c++)
		ck_assert_uint_eq(f.m.conns[c]->n_recvs, recvs[c]);
	ck_assert_uint_eq(f.m.live_mrs, 1);
	fx_deinit(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("worked");
	TCase *tc = tcase_create("worked");

	tcase_add_test(tc, worked_session_byte_for_byte);
	suite_add_tcase(s, tc);
	return fx_main(s);
}
