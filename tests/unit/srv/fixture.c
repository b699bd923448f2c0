/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/srv/fixture.h"

#include <stdio.h>

static void
rng_fill(void *user, void *buf, size_t len)
{
	memset(buf, 0x5a, len);
}

static void
sink(void *user, enum log_level level, const char *line)
{
	struct fx *f = user;

	if (strstr(line, " closes: "))
		snprintf(f->last_close, sizeof(f->last_close), "%s", line);
	if (level > LOG_LVL_WARNING)
		return;
	f->warnings++;
	snprintf(f->last_warning, sizeof(f->last_warning), "%s", line);
}

static int
on_path_new(void *user, const struct rtrs_srv_new_path *np)
{
	struct fx *f = user;

	f->asked++;
	f->new_path = *np;
	f->new_path.sess_uuid = f->new_path.path_uuid = NULL;
	f->new_path.addrs = NULL;
	f->addrs = *np->addrs;
	if (f->path_new_err)
		return f->path_new_err;
	f->counted++;
	return 0;
}

static void
on_path_gone(void *user, const struct rtrs_uuid *sess_uuid,
	     const struct rtrs_uuid *path_uuid)
{
	struct fx *f = user;

	ck_assert_int_gt(f->counted, 0);
	f->counted--;
}

static int
on_sess_up(void *user, struct rtrs_srv_sess *sess, const char *name,
	   const struct fabric_addrs *addrs, void **ret_sess_user)
{
	struct fx *f = user;

	if (f->close_in_up)
		rtrs_srv_sess_close(sess);
	if (f->sess_up_err)
		return f->sess_up_err;
	f->ups++;
	f->sess = sess;
	f->addrs = *addrs;
	snprintf(f->name, sizeof(f->name), "%s", name);
	/* Preset when the session is up already. */
	ck_assert(!*ret_sess_user || *ret_sess_user == f);
	*ret_sess_user = f;
	return 0;
}

static void
on_sess_down(void *sess_user, struct rtrs_srv_sess *sess)
{
	struct fx *f = sess_user;

	f->downs++;
	if (!f->down_later)
		rtrs_srv_sess_down_done(sess);
}

static void
on_requests_lost(void *sess_user)
{
	struct fx *f = sess_user;

	f->losses++;
}

static void
on_answer_fate(void *sess_user, const struct rtrs_srv_op *op, bool told)
{
	struct fx *f = sess_user;

	f->told += told;
	f->untold += !told;
	f->tag = op->tag;
}

static void
on_request(void *sess_user, struct rtrs_srv_op *op)
{
	struct fx *f = sess_user;

	f->sess_user = sess_user;
	ck_assert_uint_lt(f->n_ops, ARRAY_SIZE(f->ops));
	f->ops[f->n_ops++] = op;
	if (f->close_in_request)
		rtrs_srv_sess_close(f->sess);
	if (f->auto_done)
		rtrs_srv_op_done(op, f->auto_err);
}

static void
on_sess_gone(void *user, const struct rtrs_uuid *sess_uuid)
{
	struct fx *f = user;

	f->gones++;
	f->closed_in_gone = rtrs_srv_closed(f->srv);
}

static void
on_conn_request(void *user, struct rtrs_conn_request *req)
{
	struct fx *f = user;

	int err = 0;

	if (f->keep_requests)
		f->kept = req;
	else
		err = rtrs_srv_take(f->srv, req);
	/* Not taken: it is still the listener's. */
	if (err)
		rtrs_conn_request_reject(req, err);
}

void
fx_init(struct fx *f, unsigned caps, const struct rtrs_srv_params *p)
{
	const struct sockaddr_storage any = {.ss_family = AF_INET};
	struct rtrs_listener_params lp = {
		.addr = (const struct sockaddr *)&any,
		.addr_len = sizeof(any),
		.rng = {.fill = rng_fill},
		.fabric_priv = &f->m,
		.max_cons = MAX_CIDS,
		.request = on_conn_request,
		.user = f,
	};
	struct rtrs_srv_params sp = {0};

	memset(f, 0, sizeof(*f));
	mock_init(&f->m, caps);
	f->now = SEC(1000);
	f->log = (struct log){sink, f, LOG_LVL_DEBUG};
	lp.fabric = &f->m.ops;
	lp.log = &f->log;
	lp.now = f->now;
	ck_assert_int_eq(rtrs_listener_new(&lp, &f->lsn), 0);
	if (p)
		sp = *p;
	if (!sp.queue_depth)
		sp.queue_depth = 2;
	sp.rng = lp.rng;
	sp.log = &f->log;
	sp.now = f->now;
	sp.fabric_priv = &f->m;
	sp.user = f;
	sp.path_new = on_path_new;
	sp.path_gone = on_path_gone;
	sp.sess_up = on_sess_up;
	sp.sess_down = on_sess_down;
	sp.request = on_request;
	sp.requests_lost = on_requests_lost;
	sp.answer_fate = on_answer_fate;
	sp.sess_gone = on_sess_gone;
	ck_assert_int_eq(rtrs_srv_new(&sp, &f->srv), 0);
}

void
fx_fini(struct fx *f)
{
	rtrs_srv_close(f->srv);
	fx_run(f);
	ck_assert(rtrs_srv_closed(f->srv));
	ck_assert_uint_eq(fx_n_paths(f), 0);
	ck_assert_int_eq(f->counted, 0);
	rtrs_srv_free(f->srv);
	rtrs_listener_free(f->lsn);
	mock_fini(&f->m);
}

void
fx_run(struct fx *f)
{
	int rounds = 0;

	do {
		ck_assert_int_lt(rounds++, 2000);
		rtrs_listener_progress(f->lsn, f->now);
		rtrs_srv_progress(f->srv, f->now);
	} while (rtrs_srv_arm(f->srv) || rtrs_listener_arm(f->lsn));
}

void
fx_until(struct fx *f, uint64_t t)
{
	uint64_t next;

	fx_run(f);
	while ((next = rtrs_srv_deadline(f->srv)) <= t) {
		ck_assert_uint_ge(next, f->now);
		f->now = next;
		fx_run(f);
		/* What was due is done: no spinning. */
		ck_assert_uint_gt(rtrs_srv_deadline(f->srv), f->now);
	}
	f->now = t;
	fx_run(f);
}

/* --- the client */

void
fx_path_init(struct fx *f, struct fx_path *p, uint8_t sess, uint8_t path,
	     uint16_t cid_num)
{
	memset(p, 0, sizeof(*p));
	p->f = f;
	p->local = LOCAL;
	p->peer = PEER;
	p->req.version = RTRS_PROTO_VER;
	p->req.cid_num = cid_num;
	p->req.recon_cnt = 1;
	p->req.first_conn = true;
	memset(p->req.sess_uuid.b, sess, sizeof(p->req.sess_uuid.b));
	memset(p->req.path_uuid.b, path, sizeof(p->req.path_uuid.b));
}

void
fx_init_two(struct fx *f, struct fx_path *a, struct fx_path *b, unsigned caps,
	    const struct rtrs_srv_params *p)
{
	fx_init(f, caps, p);
	fx_path_init(f, a, 1, 1, 2);
	fx_path_init(f, b, 1, 2, 2);
	b->peer = OTHER;
}

struct mock_conn *
fx_knock(struct fx_path *p, uint16_t cid)
{
	uint8_t buf[RTRS_CONN_REQ_LEN];

	p->req.cid = cid;
	rtrs_msg_conn_req_encode(&p->req, buf);
	p->con[cid] =
		mock_connect(&p->f->m, buf, sizeof(buf), p->local, p->peer);
	return p->con[cid];
}

struct mock_conn *
fx_connect(struct fx_path *p, uint16_t cid)
{
	struct mock_conn *c = fx_knock(p, cid);

	fx_run(p->f);
	return c;
}

void
fx_connect_all(struct fx_path *p)
{
	for (uint16_t cid = 0; cid < p->req.cid_num; cid++) {
		struct mock_conn *c = fx_connect(p, cid);

		ck_assert(c->accepted);
		ck_assert_uint_eq(c->priv_len, RTRS_CONN_RSP_LEN);
		ck_assert_int_eq(
			rtrs_msg_conn_rsp_decode(c->priv, c->priv_len, &p->rsp),
			0);
		ck_assert_int_eq(p->rsp.err, 0);
		mock_event(c, FABRIC_EV_ESTABLISHED, 0);
	}
	fx_run(p->f);
}

void
fx_info_req(struct fx_path *p, const char *name)
{
	struct rtrs_msg_info_req msg = {0};
	uint8_t buf[RTRS_INFO_REQ_LEN];

	snprintf(msg.name, sizeof(msg.name), "%s", name);
	rtrs_msg_info_req_encode(&msg, buf);
	mock_send(p->con[0], buf, sizeof(buf));
	fx_run(p->f);
}

static void
take_info_rsp(struct fx_path *p)
{
	const struct mock_sent *s;
	uint32_t chunk = 0;

	/* The binds of the windows come first. */
	while ((s = mock_next_sent(p->con[0])) && s->wr.op == FABRIC_WR_MW_BIND)
		;
	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq(s->wr.op, FABRIC_WR_SEND);
	/* The mock keeps the first bytes only. */
	ck_assert_int_ge(s->len, rtrs_msg_info_rsp_len(1));
	p->sg_cnt = (uint16_t)(s->data[2] | s->data[3] << 8);
	ck_assert_int_eq(s->len, rtrs_msg_info_rsp_len(p->sg_cnt));
	for (unsigned i = 0; i < p->sg_cnt && i < 3; i++) {
		struct rtrs_desc *d = &p->desc[i];

		ck_assert_int_eq(rtrs_msg_info_rsp_desc(s->data, s->len, i, d),
				 0);
		for (uint32_t k = 0; k < d->len / CHUNK; k++) {
			if (chunk == ARRAY_SIZE(p->key))
				return;
			p->addr[chunk] = d->addr + k * (uint64_t)CHUNK;
			p->key[chunk++] = d->key;
		}
	}
}

void
fx_path_up(struct fx_path *p)
{
	fx_connect_all(p);
	fx_info_req(p, "clt1-srv1");
	take_info_rsp(p);
}

struct walk {
	unsigned i, want;
	bool found;
	struct rtrs_srv_path_info info;
};

static void
walk_one(void *user, const struct rtrs_srv_path_info *info)
{
	struct walk *w = user;

	if (w->i++ == w->want) {
		w->info = *info;
		w->found = true;
	}
}

bool
fx_path_info(struct fx *f, unsigned i, struct rtrs_srv_path_info *ret)
{
	struct walk w = {.want = i};

	rtrs_srv_for_each_path(f->srv, walk_one, &w);
	*ret = w.info;
	return w.found;
}

unsigned
fx_n_paths(struct fx *f)
{
	struct walk w = {.want = ~0u};

	rtrs_srv_for_each_path(f->srv, walk_one, &w);
	return w.i;
}

enum rtrs_srv_path_state
fx_state(struct fx *f, unsigned i)
{
	struct rtrs_srv_path_info info;

	/* A path that is gone has no other state. */
	return fx_path_info(f, i, &info) ? info.state : RTRS_SRV_CLOSED;
}

void
fx_rejects(struct fx *f, unsigned n, enum rtrs_srv_reject reject,
	   unsigned of_these)
{
	struct rtrs_srv_counts c;
	uint64_t all = 0;

	rtrs_srv_counts(f->srv, &c);
	for (unsigned i = 0; i < RTRS_SRV_N_REJECTS; i++)
		all += c.rejected[i];
	ck_assert_uint_eq(all, n);
	ck_assert_uint_eq(c.rejected[reject], of_these);
}

int
fx_reject_errno(const struct mock_conn *c)
{
	struct rtrs_msg_conn_rsp rsp;

	ck_assert(c->rejected);
	ck_assert_uint_eq(c->priv_len, RTRS_CONN_RSP_LEN);
	ck_assert_int_eq(rtrs_msg_conn_rsp_decode(c->priv, c->priv_len, &rsp),
			 0);
	ck_assert_uint_eq(rsp.queue_depth, 0);
	ck_assert_uint_eq(rsp.max_io_size, 0);
	return rsp.err;
}

/* --- requests */

void
fx_imm(struct fx_path *p, unsigned cid, uint32_t imm)
{
	mock_write_imm(p->con[cid], 0, 0, NULL, 0, imm);
	fx_run(p->f);
}

void
fx_raw(struct fx_path *p, unsigned cid, unsigned id, uint32_t at,
       const void *bytes, size_t len, uint32_t off)
{
	uint32_t imm =
		rtrs_imm_io_req(rtrs_imm_mem_bits(p->rsp.queue_depth), id, off);

	ck_assert(mock_write_imm(p->con[cid], p->key[id], p->addr[id] + at,
				 bytes, len, imm));
	fx_run(p->f);
}

static void
request(struct fx_path *p, unsigned cid, unsigned id,
	const struct rtrs_msg_req *msg, const void *data, uint32_t skip,
	const void *usr, uint16_t usr_len)
{
	uint32_t data_len = data ? skip : 0;
	uint8_t *buf = calloc(1, data_len + usr_len + RTRS_REQ_HDR_MAX);
	size_t hdr_len;

	if (data_len)
		memcpy(buf, data, data_len);
	if (usr_len)
		memcpy(buf + data_len, usr, usr_len);
	hdr_len = rtrs_msg_req_encode(msg, buf + data_len + usr_len);
	fx_raw(p, cid, id, data ? 0 : skip, buf, data_len + usr_len + hdr_len,
	       skip + usr_len);
	free(buf);
}

void
fx_write(struct fx_path *p, unsigned cid, unsigned id, const void *data,
	 uint32_t len, const void *usr, uint16_t usr_len)
{
	const struct rtrs_msg_req msg = {
		.type = RTRS_MSG_WRITE,
		.usr_len = usr_len,
	};

	request(p, cid, id, &msg, data, len, usr, usr_len);
}

void
fx_read(struct fx_path *p, unsigned cid, unsigned id, uint32_t len,
	const void *usr, uint16_t usr_len, const struct rtrs_desc *desc,
	uint16_t flags)
{
	struct rtrs_msg_req msg = {
		.type = RTRS_MSG_READ,
		.usr_len = usr_len,
		.flags = flags,
	};

	if (desc) {
		msg.sg_cnt = 1;
		msg.desc = *desc;
	}
	request(p, cid, id, &msg, NULL, len, usr, usr_len);
}

void
fx_reply(struct fx_path *p, unsigned cid, struct fx_reply *ret)
{
	const struct mock_sent *s;
	struct rtrs_imm imm;
	uint32_t id;

	memset(ret, 0, sizeof(*ret));
	for (;;) {
		s = mock_next_sent(p->con[cid]);
		ck_assert_msg(s != NULL, "no reply");
		if (s->wr.op == FABRIC_WR_MW_INV)
			continue;
		ck_assert_uint_lt(ret->n, 4);
		ret->wr[ret->n++] = *s;
		switch (s->wr.op) {
		case FABRIC_WR_RDMA_WRITE:
			ck_assert(!ret->data && !ret->inv && !ret->bind);
			ret->data = true;
			continue;
		case FABRIC_WR_SEND_WITH_INV:
			ck_assert(!ret->inv && !ret->bind);
			ck_assert_uint_eq(s->len, 0);
			ret->inv = true;
			continue;
		case FABRIC_WR_MW_BIND:
			ck_assert(!ret->bind);
			ret->bind = true;
			continue;
		case FABRIC_WR_SEND_WITH_IMM: {
			struct rtrs_msg_rkey_rsp rsp;

			ck_assert_uint_eq(s->len, RTRS_RKEY_RSP_LEN);
			ck_assert_int_eq(
				rtrs_msg_rkey_rsp_decode(s->data, s->len, &rsp),
				0);
			ret->rkey_rsp = true;
			ret->rkey = rsp.rkey;
			p->key[rsp.buf_id] = rsp.rkey;
			ret->msg_id = rsp.buf_id;
			break;
		}
		case FABRIC_WR_RDMA_WRITE_WITH_IMM:
			ck_assert_uint_eq(s->len, 0);
			ck_assert_uint_eq(s->wr.raddr, 0);
			ck_assert_uint_eq(s->wr.rkey, 0);
			break;
		default:
			ck_abort_msg("unexpected send %d", s->wr.op);
		}
		break;
	}
	imm = rtrs_imm_decode(s->wr.imm);
	ck_assert(imm.type == RTRS_IMM_IO_RSP ||
		  imm.type == RTRS_IMM_IO_RSP_W_INV);
	ret->w_inv = imm.type == RTRS_IMM_IO_RSP_W_INV;
	ck_assert(ret->w_inv == ret->inv);
	rtrs_imm_io_rsp_payload(imm.payload, &id, &ret->err);
	if (ret->rkey_rsp)
		ck_assert_uint_eq(id, ret->msg_id);
	ret->msg_id = id;
}
