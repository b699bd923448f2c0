/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/vm/raw-client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "proto/rtrs-imm.h"

/* Layout of the buffer of an endpoint. */
#define TX_LEN   24576 /* data and messages of one request */
#define N_ROOMS  64
#define INFO_LEN (8 + 16 * 4096)
#define RECV_LEN 64
/* Of each connection: for all answers that a case may leave lying. Without a
 * receive the server waits by the RNR timer and sends again, and then soft-RoCE
 * of 6.1 loses its queue pair if a window was bound meanwhile. */
#define N_RECVS  256
#define ROOM_OFF ((size_t)PEER_TX_SLOTS * TX_LEN)
#define INFO_OFF (ROOM_OFF + (size_t)N_ROOMS * PEER_ROOM)
#define RECV_OFF (INFO_OFF + INFO_LEN)
#define BUF_LEN  (RECV_OFF + (size_t)PEER_CIDS * N_RECVS * RECV_LEN)

/* wr_id: what it was for. A number follows: of the buffer, of the slot. */
#define ID_INFO 1
#define ID_RECV 2
#define ID_TX   (UINT64_C(1) << 32)

_Thread_local struct case_run *case_run;
struct peer_where peer_where;

void
bail(const char *fmt, ...)
{
	va_list ap;
	int n = 0;

	if (case_run->step)
		n = snprintf(case_run->why, sizeof(case_run->why),
			     "step %u: ", case_run->step);
	va_start(ap, fmt);
	vsnprintf(case_run->why + n, sizeof(case_run->why) - (size_t)n, fmt,
		  ap);
	va_end(ap);
	longjmp(case_run->out, 1);
}

static void
random_bytes(void *buf, size_t len)
{
	expect(getrandom(buf, len, 0) == (ssize_t)len, "getrandom");
}

static struct peer *
new_peer(unsigned cid_num)
{
	struct peer *p = calloc(1, sizeof(*p));

	expect(p, "no memory");
	expect(!rv_init(&p->rv, BUF_LEN), "no endpoint");
	p->cid_num = cid_num;
	p->recon_cnt = 1;
	p->n_recvs = N_RECVS;
	random_bytes(&p->path, sizeof(p->path));
	p->next = case_run->peers;
	case_run->peers = p;
	return p;
}

struct peer *
peer_new(unsigned cid_num)
{
	struct peer *p = new_peer(cid_num);
	uint32_t r;

	random_bytes(&p->sess, sizeof(p->sess));
	random_bytes(&r, sizeof(r));
	snprintf(p->name, sizeof(p->name), "hostile-%08x", r);
	return p;
}

struct peer *
peer_path_of(const struct peer *other, unsigned cid_num)
{
	struct peer *p = new_peer(cid_num);

	p->sess = other->sess;
	memcpy(p->name, other->name, sizeof(p->name));
	return p;
}

void
peer_free(struct peer *p)
{
	struct peer **list = &case_run->peers;

	while (*list != p)
		list = &(*list)->next;
	*list = p->next;
	rv_free(&p->rv);
	free(p->chunks);
	free(p);
}

/* ------------------------------------------------------------- connecting */

struct rtrs_msg_conn_req
peer_conn_req(const struct peer *p, unsigned cid)
{
	return (struct rtrs_msg_conn_req){
		.version = RTRS_PROTO_VER,
		.cid = (uint16_t)cid,
		.cid_num = (uint16_t)p->cid_num,
		.recon_cnt = p->recon_cnt,
		.path_uuid = p->path,
		.sess_uuid = p->sess,
		.first_conn = true,
	};
}

struct rv_con *
peer_ask(struct peer *p, const void *priv, unsigned len,
	 struct rv_answer *answer)
{
	struct rv_con *con;
	int r;

	r = rv_connect(&p->rv, peer_where.has_src ? &peer_where.src : NULL,
		       &peer_where.dst, priv, (uint8_t)len, &con, answer);
	expect(!r, "cannot connect: %s", strerror(-r));
	return con;
}

struct rv_con *
peer_ask_half(struct peer *p, const struct rtrs_msg_conn_req *m,
	      struct rv_answer *answer)
{
	uint8_t priv[RTRS_CONN_REQ_LEN];
	struct rv_con *con;
	int r;

	rtrs_msg_conn_req_encode(m, priv);
	r = rv_connect_half(&p->rv, peer_where.has_src ? &peer_where.src : NULL,
			    &peer_where.dst, priv, sizeof(priv), &con, answer);
	expect(!r, "cannot connect: %s", strerror(-r));
	return con;
}

void
peer_rejected(struct peer *p, const void *priv, unsigned len, int err)
{
	struct rtrs_msg_conn_rsp rsp;
	struct rv_answer a;

	peer_ask(p, priv, len, &a);
	expect(a.event == RDMA_CM_EVENT_REJECTED, "%s instead of a reject",
	       rdma_event_str(a.event));
	expect(a.status == RV_CONSUMER, "rejected with status %d", a.status);
	expect(!rtrs_msg_conn_rsp_decode(a.priv, a.priv_len, &rsp),
	       "rejected without a conn_rsp");
	expect(rsp.err == err, "rejected with %d instead of %d", rsp.err, err);
	/* Zero, or positive, is no failure to a kernel client. */
	expect(a.priv[5] & 0x80, "the errno of the reject is not negative");
}

void
peer_req_rejected(struct peer *p, const struct rtrs_msg_conn_req *m, int err)
{
	uint8_t priv[RTRS_CONN_REQ_LEN];

	rtrs_msg_conn_req_encode(m, priv);
	peer_rejected(p, priv, sizeof(priv), err);
}

void
peer_connect_req(struct peer *p, const struct rtrs_msg_conn_req *m)
{
	uint8_t priv[RTRS_CONN_REQ_LEN];
	struct rtrs_msg_conn_rsp rsp = {0};
	struct rv_answer a;
	struct rv_con *con;

	rtrs_msg_conn_req_encode(m, priv);
	con = peer_ask(p, priv, sizeof(priv), &a);
	if (!con) {
		rtrs_msg_conn_rsp_decode(a.priv, a.priv_len, &rsp);
		bail("connection %u: %s, status %d, errno %d", m->cid,
		     rdma_event_str(a.event), a.status, rsp.err);
	}
	p->con[m->cid] = con;
	con->user = &p->con[m->cid];
	expect(!rtrs_msg_conn_rsp_decode(a.priv, a.priv_len, &rsp),
	       "malformed conn_rsp");
	expect(!rsp.err, "accepted with errno %d", rsp.err);
	if (p->mem_bits)
		return;
	p->rsp = rsp;
	p->chunk_size = rsp.max_io_size + rsp.max_hdr_size;
	p->mem_bits = rtrs_imm_mem_bits(rsp.queue_depth);
	p->new_rkey = rsp.flags & RTRS_RSP_F_NEW_RKEY;
}

void
peer_connect(struct peer *p, unsigned cid)
{
	struct rtrs_msg_conn_req m = peer_conn_req(p, cid);

	peer_connect_req(p, &m);
}

void
peer_connect_all(struct peer *p)
{
	for (unsigned cid = 0; cid < p->cid_num; cid++)
		peer_connect(p, cid);
}

static void
post_recv(struct peer *p, unsigned n)
{
	struct rv_con *con = p->con[n / N_RECVS];

	expect(!rv_recv(con, ID_RECV + n, RECV_OFF + (size_t)n * RECV_LEN,
			RECV_LEN),
	       "no receive");
}

void
peer_recvs(struct peer *p)
{
	expect(!rv_recv(p->con[0], ID_INFO, INFO_OFF, INFO_LEN), "no receive");
	for (unsigned cid = 0; cid < p->cid_num; cid++)
		for (unsigned i = 0; i < p->n_recvs; i++)
			post_recv(p, cid * N_RECVS + i);
}

static int
free_slot(const struct peer *p)
{
	for (int i = 0; i < PEER_TX_SLOTS; i++)
		if (!p->tx_busy[i])
			return i;
	return -1;
}

/* Sends data, after waiting for room for it in the buffer. */
static void
post(struct peer *p, unsigned cid, struct rv_send *s, const void *data,
     unsigned len)
{
	struct peer_reply unwanted;
	int slot, r;

	expect(len <= TX_LEN, "%u bytes do not fit", len);
	while ((slot = free_slot(p)) < 0) {
		enum peer_got got = peer_wait(p, PEER_MS, &unwanted);

		expect(got == PEER_SENT || got == PEER_REPLY,
		       "sends do not complete");
	}
	s->wr_id = ID_TX + (unsigned)slot;
	s->off = (size_t)slot * TX_LEN;
	s->len = len;
	if (len)
		memcpy(p->rv.buf + s->off, data, len);
	r = rv_send(p->con[cid], s);
	expect(!r, "cannot send: %s", strerror(-r));
	p->tx_busy[slot] = true;
}

void
peer_send_bytes(struct peer *p, unsigned cid, const void *data, unsigned len)
{
	struct rv_send s = {.op = IBV_WR_SEND};

	post(p, cid, &s, data, len);
}

void
peer_info_req(const struct peer *p, uint8_t buf[RTRS_INFO_REQ_LEN])
{
	struct rtrs_msg_info_req m = {0};

	snprintf(m.name, sizeof(m.name), "%s", p->name);
	rtrs_msg_info_req_encode(&m, buf);
}

static void
put_chunk(void *user, uint32_t chunk, uint64_t addr, uint32_t key)
{
	struct peer *p = user;

	p->chunks[chunk].addr = addr;
	p->chunks[chunk].key = key;
}

static void
take_info(struct peer *p, uint32_t len)
{
	free(p->chunks);
	p->chunks = calloc(p->rsp.queue_depth, sizeof(*p->chunks));
	expect(p->chunks, "no memory");
	expect(!rtrs_msg_info_rsp_chunks(p->rv.buf + INFO_OFF, len,
					 p->rsp.queue_depth, p->chunk_size,
					 put_chunk, p),
	       "malformed INFO_RSP");
}

void
peer_info(struct peer *p)
{
	uint8_t msg[RTRS_INFO_REQ_LEN];
	struct peer_reply r;

	peer_recvs(p);
	peer_info_req(p, msg);
	peer_send_bytes(p, 0, msg, sizeof(msg));
	while (!p->chunks) {
		enum peer_got got = peer_wait(p, PEER_MS, &r);

		expect(got == PEER_SENT, "%s instead of INFO_RSP",
		       got == PEER_ENDED ? "the end" : "something else");
	}
}

struct peer *
peer_up(struct peer *p)
{
	peer_connect_all(p);
	peer_info(p);
	return p;
}

/* --------------------------------------------------------------- requests */

uint32_t
peer_imm(const struct peer *p, unsigned id, uint32_t off)
{
	return rtrs_imm_io_req(p->mem_bits, id, off);
}

void
peer_put(struct peer *p, unsigned cid, unsigned id, uint32_t at,
	 const void *data, unsigned len, uint32_t off)
{
	struct rv_send s = {
		.op = IBV_WR_RDMA_WRITE_WITH_IMM,
		.raddr = p->chunks[id].addr + at,
		.rkey = p->chunks[id].key,
		.imm = peer_imm(p, id, off),
	};

	post(p, cid, &s, data, len);
}

void
peer_poke(struct peer *p, unsigned cid, uint64_t raddr, uint32_t rkey,
	  const void *data, unsigned len)
{
	struct rv_send s = {
		.op = IBV_WR_RDMA_WRITE,
		.raddr = raddr,
		.rkey = rkey,
	};

	post(p, cid, &s, data, len);
}

void
peer_bell(struct peer *p, unsigned cid, uint32_t imm)
{
	struct rv_send s = {.op = IBV_WR_RDMA_WRITE_WITH_IMM, .imm = imm};

	post(p, cid, &s, NULL, 0);
}

uint8_t *
peer_room(struct peer *p, unsigned id)
{
	return p->rv.buf + ROOM_OFF + (size_t)(id % N_ROOMS) * PEER_ROOM;
}

void
peer_read_to(struct peer *p, unsigned cid, unsigned id, const void *usr,
	     unsigned usr_len, uint32_t data_len, unsigned flags,
	     const struct rtrs_desc *desc, unsigned sg_cnt)
{
	uint8_t msg[RNBD_USR_LEN_MAX + RTRS_REQ_HDR_MAX];
	struct rtrs_msg_req m = {
		.type = RTRS_MSG_READ,
		.usr_len = (uint16_t)usr_len,
		.flags = (uint16_t)flags,
		.sg_cnt = (uint16_t)sg_cnt,
	};

	if (sg_cnt)
		m.desc = *desc;
	if (usr_len)
		memcpy(msg, usr, usr_len);
	usr_len += (unsigned)rtrs_msg_req_encode(&m, msg + usr_len);
	peer_put(p, cid, id, data_len, msg, usr_len, data_len + m.usr_len);
}

void
peer_read(struct peer *p, unsigned cid, unsigned id, const void *usr,
	  unsigned usr_len, uint32_t data_len)
{
	const struct rtrs_desc desc = {
		.addr = (uintptr_t)peer_room(p, id),
		.key = p->rv.mr->rkey,
		.len = data_len,
	};

	expect(data_len <= PEER_ROOM, "no room for %u bytes", data_len);
	peer_read_to(p, cid, id, usr, usr_len, data_len, 0, &desc, 1);
}

void
peer_write(struct peer *p, unsigned cid, unsigned id, const void *usr,
	   unsigned usr_len, const void *data, uint32_t data_len)
{
	uint8_t msg[TX_LEN];
	struct rtrs_msg_req m = {
		.type = RTRS_MSG_WRITE,
		.usr_len = (uint16_t)usr_len,
	};

	expect(data_len + usr_len + RTRS_WRITE_HDR_LEN <= TX_LEN,
	       "%u bytes do not fit", data_len);
	if (data_len)
		memcpy(msg, data, data_len);
	if (usr_len)
		memcpy(msg + data_len, usr, usr_len);
	rtrs_msg_req_encode(&m, msg + data_len + usr_len);
	peer_put(p, cid, id, 0, msg, data_len + usr_len + RTRS_WRITE_HDR_LEN,
		 data_len + usr_len);
}

/* ------------------------------------------------------------ completions */

static bool
all_gone(const struct peer *p)
{
	for (const struct rv_con *con = p->rv.cons; con; con = con->next)
		if (!con->gone)
			return false;
	return true;
}

static void
ack_hb(struct peer *p)
{
	struct rv_send s = {
		.op = IBV_WR_RDMA_WRITE_WITH_IMM,
		.wr_id = ID_TX + PEER_TX_SLOTS,
		.imm = rtrs_imm_hb_ack(),
	};

	p->hb_msgs++;
	/* No room means that the connection is dead: that is seen elsewhere. */
	if (!p->mute && !p->con[0]->gone)
		rv_send(p->con[0], &s);
}

static void
take_rkey(struct peer *p, const struct ibv_wc *wc, unsigned msg_id)
{
	size_t off = RECV_OFF + (size_t)(wc->wr_id - ID_RECV) * RECV_LEN;
	struct rtrs_msg_rkey_rsp m;

	expect(!rtrs_msg_rkey_rsp_decode(p->rv.buf + off, wc->byte_len, &m),
	       "malformed RKEY_RSP");
	expect(m.buf_id == msg_id, "RKEY_RSP for chunk %u in the reply to %u",
	       m.buf_id, msg_id);
	p->chunks[m.buf_id].key = m.rkey;
}

/* A receive completed. Returns true if it is a reply. */
static bool
received(struct peer *p, struct rv_con *con, const struct ibv_wc *wc,
	 struct peer_reply *ret)
{
	struct rtrs_imm imm;
	bool reply = false;

	if (wc->wr_id == ID_INFO) {
		expect(wc->opcode == IBV_WC_RECV &&
			       !(wc->wc_flags & IBV_WC_WITH_IMM),
		       "something else came before INFO_RSP");
		take_info(p, wc->byte_len);
		return false;
	}
	if (wc->wc_flags & IBV_WC_WITH_IMM) {
		imm = rtrs_imm_decode(ntohl(wc->imm_data));
		switch (imm.type) {
		case RTRS_IMM_IO_RSP:
		case RTRS_IMM_IO_RSP_W_INV:
			rtrs_imm_io_rsp_payload(imm.payload, &ret->id,
						&ret->err);
			ret->cid = (unsigned)((struct rv_con **)con->user -
					      p->con);
			ret->w_inv = imm.type == RTRS_IMM_IO_RSP_W_INV;
			if (wc->opcode == IBV_WC_RECV)
				take_rkey(p, wc, ret->id);
			reply = true;
			break;
		case RTRS_IMM_HB_MSG:
			ack_hb(p);
			break;
		case RTRS_IMM_HB_ACK:
			p->hb_acks++;
			break;
		default:
			bail("immediate of unknown type %u", imm.type);
		}
	}
	/* Without immediate: SEND_WITH_INV. */
	if (!con->gone && !p->hoards)
		post_recv(p, (unsigned)(wc->wr_id - ID_RECV));
	return reply;
}

/* A receive that fails, or a send, is how a QP tells that it is dead. */
static bool
completed(struct peer *p, const struct rv_event *ev, struct peer_reply *ret,
	  bool *ret_sent)
{
	const struct ibv_wc *wc = &ev->wc;

	*ret_sent = wc->wr_id >= ID_TX;
	if (*ret_sent && wc->wr_id - ID_TX < PEER_TX_SLOTS)
		p->tx_busy[wc->wr_id - ID_TX] = false;
	if (*ret_sent)
		p->sent = wc->status;
	if (!ev->con || wc->status != IBV_WC_SUCCESS || *ret_sent)
		return false;
	return received(p, ev->con, wc, ret);
}

enum peer_got
peer_wait(struct peer *p, int ms, struct peer_reply *ret)
{
	uint64_t end = rv_now_ms() + (uint64_t)ms;
	struct rv_event ev;
	bool sent;

	for (;;) {
		uint64_t now = rv_now_ms();

		if (all_gone(p))
			return PEER_ENDED;
		expect(!rv_wait(&p->rv, now < end ? (int)(end - now) : 0, &ev),
		       "waiting failed");
		if (ev.what == RV_NOTHING)
			return PEER_LATE;
		if (ev.what != RV_WC)
			continue;
		if (completed(p, &ev, ret, &sent))
			return PEER_REPLY;
		if (sent)
			return PEER_SENT;
		/* INFO_RSP: whoever waits for it looks again. */
		if (ev.wc.wr_id == ID_INFO && ev.wc.status == IBV_WC_SUCCESS)
			return PEER_SENT;
	}
}

enum peer_got
peer_outcome(struct peer *p, struct peer_reply *ret)
{
	uint64_t end = rv_now_ms() + PEER_MS, now;
	enum peer_got got;

	/* Answers to heartbeats are sent, too: they must not prolong it. */
	do {
		now = rv_now_ms();
		got = peer_wait(p, now < end ? (int)(end - now) : 0, ret);
	} while (got == PEER_SENT);
	return got;
}

struct peer_reply
peer_reply(struct peer *p)
{
	struct peer_reply r;

	switch (peer_outcome(p, &r)) {
	case PEER_REPLY:
		return r;
	case PEER_ENDED:
		bail("the path ended instead of a reply");
	default:
		bail("no reply in %d ms", PEER_MS);
	}
}

void
peer_replied(struct peer *p, unsigned id, int err)
{
	struct peer_reply r = peer_reply(p);

	expect(r.id == id, "reply to request %u instead of %u", r.id, id);
	expect(r.err == err, "reply %d instead of %d", r.err, err);
}

void
peer_send_fails(struct peer *p)
{
	struct peer_reply r;
	enum peer_got got = peer_wait(p, PEER_MS, &r);

	expect(got == PEER_SENT || got == PEER_ENDED, "no completion");
	expect(got == PEER_ENDED || p->sent != IBV_WC_SUCCESS,
	       "what must be refused succeeded");
}

void
peer_ends_in(struct peer *p, int min_ms, int max_ms)
{
	uint64_t start = rv_now_ms(), took;
	struct peer_reply r;
	enum peer_got got;

	do {
		took = rv_now_ms() - start;
		got = peer_wait(p, (int)took < max_ms ? max_ms - (int)took : 0,
				&r);
	} while (got == PEER_REPLY || got == PEER_SENT);
	took = rv_now_ms() - start;
	expect(got == PEER_ENDED, "the path did not end in %d ms", max_ms);
	expect((int)took >= min_ms, "the path ended after %d ms already",
	       (int)took);
}

void
peer_ends(struct peer *p)
{
	peer_ends_in(p, 0, PEER_END_MS);
}

void
peer_pump(struct peer *p)
{
	struct peer_reply r;
	enum peer_got got;

	do
		got = peer_wait(p, 0, &r);
	while (got == PEER_REPLY || got == PEER_SENT);
}

/* ------------------------------------------------------------------- RNBD */

struct usr
usr_sess_info(unsigned ver)
{
	const struct rnbd_msg_sess_info m = {.ver = (uint8_t)ver};
	struct usr u = {.len = RNBD_SESS_INFO_LEN};

	rnbd_msg_sess_info_encode(&m, false, u.b);
	return u;
}

struct usr
usr_open(const char *name, unsigned mode)
{
	struct rnbd_msg_open m = {.access_mode = (uint8_t)mode};
	struct usr u = {.len = RNBD_OPEN_LEN};

	snprintf(m.dev_name, sizeof(m.dev_name), "%s", name);
	rnbd_msg_open_encode(&m, u.b);
	return u;
}

struct usr
usr_io(uint32_t device_id, unsigned op, uint64_t sector, uint32_t bi_size)
{
	const struct rnbd_msg_io m = {
		.device_id = device_id,
		.sector = sector,
		.rw = op,
		.bi_size = bi_size,
	};
	struct usr u = {.len = RNBD_IO_LEN};

	rnbd_msg_io_encode(&m, u.b);
	return u;
}

struct usr
usr_close(uint32_t device_id)
{
	const struct rnbd_msg_close m = {.device_id = device_id};
	struct usr u = {.len = RNBD_CLOSE_LEN};

	rnbd_msg_close_encode(&m, u.b);
	return u;
}

uint32_t
peer_open(struct peer *p, const char *name, unsigned mode, int err)
{
	struct usr u = usr_open(name, mode);
	struct rnbd_msg_open_rsp rsp = {0};

	peer_read(p, 0, 0, u.b, u.len, RNBD_OPEN_RSP_LEN);
	peer_replied(p, 0, err);
	expect(err || !rnbd_msg_open_rsp_decode(peer_room(p, 0),
						RNBD_OPEN_RSP_LEN, &rsp),
	       "malformed OPEN_RSP");
	return rsp.device_id;
}

uint32_t
peer_open_soon(struct peer *p, const char *name, unsigned mode,
	       struct rnbd_msg_open_rsp *ret)
{
	uint64_t end = rv_now_ms() + PEER_MS;
	struct usr u = usr_open(name, mode);
	struct peer_reply r;

	for (;;) {
		peer_read(p, 0, 0, u.b, u.len, RNBD_OPEN_RSP_LEN);
		r = peer_reply(p);
		if (!r.err)
			break;
		expect(r.err == -EPERM && rv_now_ms() < end,
		       "%s cannot be opened: %d", name, r.err);
	}
	expect(!rnbd_msg_open_rsp_decode(peer_room(p, 0), RNBD_OPEN_RSP_LEN,
					 ret),
	       "malformed OPEN_RSP");
	return ret->device_id;
}

void
peer_io_read(struct peer *p, unsigned id, uint32_t dev, uint64_t sector,
	     uint32_t len, int err)
{
	struct usr u = usr_io(dev, RNBD_OP_READ, sector, len);

	peer_read(p, p->cid_num > 1, id, u.b, u.len, len);
	peer_replied(p, id, err);
}

void
peer_io_write(struct peer *p, unsigned id, uint32_t dev, uint64_t sector,
	      const void *data, uint32_t len, int err)
{
	struct usr u = usr_io(dev, RNBD_OP_WRITE, sector, len);

	peer_write(p, p->cid_num > 1, id, u.b, u.len, data, len);
	peer_replied(p, id, err);
}

void
peer_alive(struct peer *p)
{
	struct usr u = usr_sess_info(RNBD_PROTO_VER_MAJOR);

	peer_read(p, 0, 0, u.b, u.len, RNBD_SESS_INFO_LEN);
	peer_replied(p, 0, 0);
}
