/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A random mix of operations of all sizes, with receives that come late,
 * against a model of the memory and of the order of completions.
 */
#include "tcp-world.h"

static struct world *w;

static void
setup(void)
{
	w = world_new(NULL);
	world_connect(w);
}

static void
teardown(void)
{
	world_free(w);
}

static void
fill(uint8_t *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * 31 + (i >> 8) * 7 + seed);
}

enum {
	MIX_MEM = 1 << 20,
	MIX_BUF = 64 * 1024,
	MIX_BUFS = 32
};

struct mix {
	uint64_t seed;
	uint8_t *src, *dst, *model, *bufs;
	struct fabric_mr *mr;
	unsigned posted; /* receives */
	unsigned sent, done, got;
	/* What the receives are to see, in order. */
	struct {
		uint32_t imm, len, src_off;
		enum fabric_wc_op op;
	} want[8192];
	unsigned n_want;
};

static uint32_t
mix_rnd(struct mix *m, uint32_t n)
{
	m->seed = m->seed * UINT64_C(6364136223846793005) + 1;
	return (uint32_t)(m->seed >> 33) % n;
}

/* Mostly tiny, often a page, sometimes large; runs of each. */
static uint32_t
mix_len(struct mix *m)
{
	static const uint32_t max[] = {2, 64, 4097, 9000, 70000, 300000};

	return mix_rnd(m, max[(m->sent / 40 + mix_rnd(m, 2)) % 6]);
}

static void
mix_send(struct mix *m)
{
	struct fabric_send_wr wr = {.wr_id = m->sent, .signaled = true};
	uint32_t len = mix_len(m), at = mix_rnd(m, MIX_MEM - len + 1);
	uint32_t to = mix_rnd(m, MIX_MEM - len + 1), cut = mix_rnd(m, len + 1);
	unsigned kind = mix_rnd(m, 3);

	if (kind == 0 && len > MIX_BUF)
		len = cut = MIX_BUF;
	for (unsigned i = 0; i < 2; i++) {
		wr.sge[wr.num_sge].addr = m->src + at + (i ? cut : 0);
		wr.sge[wr.num_sge].len = i ? len - cut : cut;
		wr.num_sge += wr.sge[wr.num_sge].len > 0;
	}
	wr.imm = m->sent;
	wr.op = kind == 0   ? FABRIC_WR_SEND_WITH_IMM
		: kind == 1 ? FABRIC_WR_RDMA_WRITE
			    : FABRIC_WR_RDMA_WRITE_WITH_IMM;
	if (kind) {
		wr.raddr = m->mr->raddr + to;
		wr.rkey = m->mr->rkey;
		memcpy(m->model + to, m->src + at, len);
	}
	if (kind != 1) {
		m->want[m->n_want].imm = wr.imm;
		m->want[m->n_want].len = len;
		m->want[m->n_want].src_off = at;
		m->want[m->n_want++].op =
			kind ? FABRIC_WC_OP_RECV_RDMA_IMM : FABRIC_WC_OP_RECV;
	}
	ck_assert_int_eq(F->post_send(w->c.conn, &wr), 0);
	m->sent++;
}

static unsigned
mix_check(struct mix *m)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < w->s.n_wc; i++, m->got++) {
		const struct fabric_wc *wc = &w->s.wc[i];

		wrong += wc->status != FABRIC_WC_SUCCESS ||
			 m->got >= m->n_want || wc->op != m->want[m->got].op ||
			 wc->imm != m->want[m->got].imm ||
			 wc->byte_len != m->want[m->got].len ||
			 (wc->op == FABRIC_WC_OP_RECV &&
			  memcmp(m->bufs + wc->wr_id * MIX_BUF,
				 m->src + m->want[m->got].src_off,
				 wc->byte_len));
	}
	for (unsigned i = 0; i < w->c.n_wc; i++, m->done++)
		wrong += w->c.wc[i].wr_id != m->done ||
			 w->c.wc[i].status != FABRIC_WC_SUCCESS;
	w->s.n_wc = w->c.n_wc = 0;
	return wrong;
}

START_TEST(random_mix)
{
	enum {
		TOTAL = 3000
	};
	struct mix *m = calloc(1, sizeof(*m));
	unsigned wrong = 0;

	m->seed = (uint64_t)_i + 1;
	m->src = malloc(MIX_MEM);
	m->dst = calloc(1, MIX_MEM);
	m->model = calloc(1, MIX_MEM);
	m->bufs = malloc((size_t)MIX_BUFS * MIX_BUF);
	fill(m->src, MIX_MEM, (unsigned)_i);
	m->mr = reg(&w->s, m->dst, MIX_MEM, FABRIC_ACCESS_REMOTE_WRITE);
	for (unsigned quiet = 0; m->done < TOTAL || m->got < m->n_want;) {
		unsigned n_tx = mix_rnd(m, 20), n_rx = mix_rnd(m, 12);

		while (n_tx-- && m->sent < TOTAL && m->sent - m->done < 64)
			mix_send(m);
		/* Often late: the sender has to wait. */
		while (n_rx-- && m->posted - m->got < MIX_BUFS) {
			post_buf(&w->s, m->posted % MIX_BUFS,
				 m->bufs + m->posted % MIX_BUFS * MIX_BUF,
				 MIX_BUF);
			m->posted++;
		}
		if (!world_step(w) && ++quiet > 1000000)
			break;
		wrong += mix_check(m);
	}
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_eq(m->done, TOTAL);
	ck_assert_uint_eq(m->got, m->n_want);
	ck_assert_uint_gt(m->got, TOTAL / 2);
	WORLD_UNTIL(w, !memcmp(m->dst, m->model, MIX_MEM));
	F->mr_dereg(m->mr);
	free(m->src);
	free(m->dst);
	free(m->model);
	free(m->bufs);
	free(m);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tcp-mix");
	TCase *tc = tcase_create("tcp-mix");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, random_mix, 0, 8);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
