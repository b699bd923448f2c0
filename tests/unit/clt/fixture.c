/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

/* The first two draws give the UUIDs of the worked session. */
static void
fill(void *user, void *buf, size_t len)
{
	struct fx *f = user;
	uint8_t *p = buf;

	if (len == sizeof(f->rnd32)) {
		memcpy(buf, &f->rnd32, len);
		return;
	}
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(f->n_fills == 0   ? 0xa0 + i
				 : f->n_fills == 1 ? 0x11 * i
						   : f->n_fills + i);
	f->n_fills++;
}

static void
sink(void *user, enum log_level level, const char *line)
{
	struct fx *f = user;

	if (level <= LOG_LVL_WARNING)
		strcpy(f->last_line, line);
}

void
fx_note(struct fx *f, char what)
{
	ck_assert_uint_lt(f->n_order, sizeof(f->order) - 1);
	f->order[f->n_order++] = what;
	f->order[f->n_order] = '\0';
}

static void
link_up(void *user)
{
	struct fx *f = user;

	f->n_up++;
	fx_note(f, 'U');
}

static void
link_down(void *user)
{
	struct fx *f = user;

	f->n_down++;
	fx_note(f, 'D');
}

static void
failed(void *user, int err)
{
	struct fx *f = user;

	f->n_failed++;
	f->failed_err = err;
	fx_note(f, 'F');
}

void
fx_init(struct fx *f, unsigned caps, unsigned n_paths)
{
	memset(f, 0, sizeof(*f));
	mock_init(&f->m, caps);
	f->now = SEC(1000);
	f->log = (struct log){
		.sink = sink, .user = f, .threshold = LOG_LVL_DEBUG};
	for (unsigned i = 0; i < n_paths; i++) {
		struct sockaddr_in in = {
			.sin_family = AF_INET,
			.sin_port = htons(1234),
			.sin_addr.s_addr = htonl(0x7f000001 + i),
		};

		f->addrs[i].fabric = &f->m.ops;
		memcpy(&f->addrs[i].dst, &in, sizeof(in));
		f->addrs[i].dst_len = sizeof(in);
	}
	f->p = (struct rtrs_clt_params){
		.name = "clt1-srv1",
		.paths = f->addrs,
		.n_paths = n_paths,
		.policy = RTRS_MP_MIN_INFLIGHT,
		.n_cons = 2,
		.reconnect_delay_ms = 30000,
		.reconnect_backoff_ms = 1000,
		.max_reconnect_attempts = -1,
		.rng = {.fill = fill, .user = f},
		.log = &f->log,
		.now = f->now,
		.fabric_priv = &f->m,
		.link_up = link_up,
		.link_down = link_down,
		.failed = failed,
		.user = f,
	};
	f->rsp = (struct rtrs_msg_conn_rsp){
		.version = RTRS_PROTO_VER,
		.queue_depth = 8,
		.max_io_size = 126976,
		.max_hdr_size = 4096,
	};
}

void
fx_open(struct fx *f)
{
	ck_assert_int_eq(rtrs_clt_new(&f->p, &f->clt), 0);
}

void
fx_deinit(struct fx *f)
{
	rtrs_clt_free(f->clt);
	mock_deinit(&f->m);
}

void
fx_fence_answer(struct fx *f, int err)
{
	struct rtrs_msg_conn_rsp rsp = {.version = RTRS_PROTO_VER, .err = err};
	uint8_t buf[RTRS_CONN_RSP_LEN];

	rtrs_msg_conn_rsp_encode(&rsp, buf);
	mock_rejected(mock_last_conn(&f->m), buf, sizeof(buf));
	fx_run(f);
}

void
fx_run(struct fx *f)
{
	/* Until quiet, as a caller that obeys arm() would. */
	for (int i = 0; i < 10; i++) {
		rtrs_clt_progress(f->clt, f->now);
		if (!rtrs_clt_arm(f->clt))
			return;
	}
	ck_abort_msg("the engine does not come to rest");
}

void
fx_run_at(struct fx *f, uint64_t now)
{
	f->now = now;
	fx_run(f);
}

void
fx_accept_conn(struct fx *f, struct fabric_conn *c)
{
	uint8_t buf[RTRS_CONN_RSP_LEN];

	rtrs_msg_conn_rsp_encode(&f->rsp, buf);
	mock_established(c, buf, sizeof(buf));
	fx_run(f);
}

void
fx_accept(struct fx *f)
{
	fx_accept_conn(f, mock_last_conn(&f->m));
}

void
fx_accept_all(struct fx *f)
{
	for (unsigned i = 0; i < f->p.n_cons; i++)
		fx_accept(f);
}

struct fabric_conn *
fx_conn(struct fx *f, unsigned p, unsigned cid)
{
	struct fabric_conn *c = f->clt->paths[p]->cons[cid].conn;

	ck_assert_ptr_nonnull(c);
	return c;
}

void
fx_info_rsp(struct fx *f, unsigned p)
{
	unsigned n = f->rsp.queue_depth;
	struct rtrs_desc desc[64];
	uint8_t buf[8 + 64 * 16];
	int len;

	ck_assert_uint_le(n, 64);
	for (unsigned i = 0; i < n; i++)
		desc[i] = (struct rtrs_desc){
			.addr = CHUNK_ADDR(f, p, i),
			.key = CHUNK_KEY(p, i),
			.len = f->rsp.max_io_size + f->rsp.max_hdr_size,
		};
	len = rtrs_msg_info_rsp_encode(desc, (uint16_t)n, buf, sizeof(buf));
	ck_assert_int_gt(len, 0);
	mock_peer_send(fx_conn(f, p, 0), buf, (uint32_t)len);
	fx_run(f);
}

void
fx_path_up(struct fx *f, unsigned p)
{
	fx_accept_all(f);
	fx_info_rsp(f, p);
	ck_assert_int_eq(fx_state(f, p), RTRS_CLT_CONNECTED);
}

void
fx_up(struct fx *f)
{
	fx_open(f);
	for (unsigned p = 0; p < f->p.n_paths; p++)
		fx_path_up(f, p);
	ck_assert_uint_eq(f->n_up, 1);
	ck_assert(rtrs_clt_is_up(f->clt));
}

enum rtrs_clt_path_state
fx_state(struct fx *f, unsigned p)
{
	struct rtrs_clt_path_info info;

	ck_assert_int_eq(rtrs_clt_path_info(f->clt, p, &info), 0);
	return info.state;
}

struct rtrs_clt_stats
fx_stats(struct fx *f, unsigned p)
{
	struct rtrs_clt_path_info info;

	ck_assert_int_eq(rtrs_clt_path_info(f->clt, p, &info), 0);
	return info.stats;
}

static void
req_done(struct rtrs_clt_req *req, int err)
{
	struct fx_req *r = container_of(req, struct fx_req, req);

	r->n_done++;
	r->err = err;
	r->f->depth++;
	ck_assert_uint_eq(r->f->depth, 1);
	/* The buffer is the caller's again: nobody else can write it. */
	ck_assert(!mock_is_exposed(&r->f->m, r->data));
	fx_note(r->f, 'r');
	rtrs_clt_permit_put(r->f->clt, req->permit);
	if (r->again) {
		r->again--;
		ck_assert_int_eq(fx_resubmit(r), 0);
	}
	r->f->depth--;
}

int
fx_resubmit(struct fx_req *r)
{
	unsigned before = r->n_done;
	int err;

	r->req.permit = rtrs_clt_permit_get(r->f->clt, r->type, 0);
	ck_assert_ptr_nonnull(r->req.permit);
	err = rtrs_clt_submit(r->f->clt, &r->req);
	if (err)
		rtrs_clt_permit_put(r->f->clt, r->req.permit);
	/* Never from within submit. */
	ck_assert_uint_eq(r->n_done, before);
	return err;
}

int
fx_submit(struct fx *f, struct fx_req *r, enum rtrs_dir dir,
	  enum rtrs_permit_type type, const void *usr, uint16_t usr_len,
	  uint32_t data_len)
{
	r->f = f;
	r->n_done = 0;
	r->again = 0;
	r->type = type;
	r->req = (struct rtrs_clt_req){
		.dir = dir,
		.usr = usr,
		.usr_len = usr_len,
		.data = data_len ? r->data : NULL,
		.data_len = data_len,
		.done = req_done,
	};
	return fx_resubmit(r);
}

void
fx_reply(struct fx *f, unsigned p, unsigned cid, unsigned id, int err)
{
	mock_peer_write_imm(fx_conn(f, p, cid),
			    rtrs_imm_io_rsp(id, err, false));
	fx_run(f);
}

int
fx_main(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int n_failed;

	srunner_run_all(sr, CK_ENV);
	n_failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return n_failed ? 1 : 0;
}
