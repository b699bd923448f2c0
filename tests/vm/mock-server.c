/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server of RTRS and RNBD over raw verbs, with a disk of 4 MiB in memory.
 * It is honest but for the one thing that its case is about.
 *
 *   mock-server ADDR PORT [CASE]   says "listening"; serves until it is ended
 *   mock-server --list             a line for each case: name, outcome, hook,
 *                                  arguments of the plugin, complaint; by tabs
 */
#include "tests/vm/mock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/rtrs-imm.h"

/* Layout of the buffer. */
#define DISK_OFF ((size_t)MOCK_DEPTH * MOCK_CHUNK)
#define TX_OFF   (DISK_OFF + MOCK_DISK)
#define TX_LEN   (128u << 10)
#define RECV_OFF (TX_OFF + TX_LEN)
#define N_INFO   256
#define BUF_LEN  (RECV_OFF + (size_t)N_INFO * RTRS_INFO_REQ_LEN)

/* wr_id of receives; those of sends are 0 */
#define ID_EMPTY 1
#define ID_INFO  2 /* and more: the number of the buffer */

#define N_EMPTY (2 * MOCK_DEPTH + 16)

static volatile sig_atomic_t ended;

static void
on_signal(int sig)
{
	(void)sig;
	ended = 1;
}

/* ------------------------------------------------------------ primitives */

uint8_t *
mock_chunk(struct mock *m, unsigned id)
{
	return m->rv.buf + (size_t)id * MOCK_CHUNK;
}

struct mock_path *
mock_path_of(const struct rv_con *con)
{
	const struct mock_con *mc = con->user;

	return mc->path;
}

/* A place for bytes that are sent: old ones are long gone. */
static size_t
tx(struct mock *m, const void *data, unsigned len)
{
	static size_t next;
	size_t off;

	if (next + len > TX_LEN)
		next = 0;
	off = TX_OFF + next;
	next += len;
	if (len)
		memcpy(m->rv.buf + off, data, len);
	return off;
}

static void
post(struct rv_con *con, const struct rv_send *s)
{
	int r = con->gone ? 0 : rv_send(con, s);

	/* Said, but no reason to end: the peer may have died just now. */
	if (r == -ENOBUFS)
		fprintf(stderr, "send queue full\n");
}

void
mock_send(struct mock *m, struct rv_con *con, const void *data, unsigned len)
{
	const struct rv_send s = {
		.op = IBV_WR_SEND, .off = tx(m, data, len), .len = len};

	post(con, &s);
}

void
mock_send_imm(struct mock *m, struct rv_con *con, const void *data,
	      unsigned len, uint32_t imm)
{
	const struct rv_send s = {.op = IBV_WR_SEND_WITH_IMM,
				  .off = tx(m, data, len),
				  .len = len,
				  .imm = imm};

	post(con, &s);
}

void
mock_send_inv(struct mock *m, struct rv_con *con, uint32_t key)
{
	const struct rv_send s = {.op = IBV_WR_SEND_WITH_INV, .inv_rkey = key};

	(void)m;
	post(con, &s);
}

void
mock_imm(struct mock *m, struct rv_con *con, uint32_t imm)
{
	const struct rv_send s = {.op = IBV_WR_RDMA_WRITE_WITH_IMM, .imm = imm};

	(void)m;
	post(con, &s);
}

void
mock_data_to(struct mock *m, const struct mock_req *r, uint64_t addr,
	     uint32_t key, uint32_t len)
{
	const struct rv_send s = {
		.op = IBV_WR_RDMA_WRITE,
		.off = r->chunk_off,
		.len = len,
		.raddr = addr,
		.rkey = key,
	};

	(void)m;
	post(r->con, &s);
}

void
mock_data(struct mock *m, const struct mock_req *r, uint32_t len)
{
	mock_data_to(m, r, r->hdr.desc.addr, r->hdr.desc.key, len);
}

void
mock_rkey_rsp(const struct mock *m, unsigned id, uint8_t buf[RTRS_RKEY_RSP_LEN])
{
	const struct rtrs_msg_rkey_rsp rsp = {
		.buf_id = (uint16_t)id,
		.rkey = m->rv.mr->rkey,
	};

	rtrs_msg_rkey_rsp_encode(&rsp, buf);
}

static bool
needs_inval(const struct mock_req *r)
{
	return r->hdr.type == RTRS_MSG_READ && r->hdr.sg_cnt &&
	       r->hdr.flags & RTRS_READ_F_NEED_INVAL;
}

void
mock_done(struct mock *m, struct rv_con *con, const struct mock_req *r, int err)
{
	uint32_t imm = rtrs_imm_io_rsp(r->id, err, needs_inval(r));
	uint8_t msg[RTRS_RKEY_RSP_LEN];

	if (needs_inval(r))
		mock_send_inv(m, con, r->hdr.desc.key);
	if (!mock_path_of(con)->new_rkey) {
		mock_imm(m, con, imm);
		return;
	}
	mock_rkey_rsp(m, r->id, msg);
	mock_send_imm(m, con, msg, sizeof(msg), imm);
}

void
mock_leave(struct mock *m, struct mock_path *path)
{
	(void)m;
	for (unsigned i = 0; i < path->cid_num; i++) {
		struct rv_con *con = path->con[i];

		if (con && !con->gone)
			rv_disconnect(con);
	}
}

/* --------------------------------------------------------------- requests */

void
mock_open_rsp(struct rnbd_msg_open_rsp *ret)
{
	*ret = (struct rnbd_msg_open_rsp){
		.device_id = 7,
		.nsectors = MOCK_DISK / RNBD_SECTOR_SIZE,
		.max_hw_sectors = (MOCK_CHUNK - MOCK_HDR) / RNBD_SECTOR_SIZE,
		.physical_block_size = 4096,
		.logical_block_size = 512,
		.max_segments = 128,
		.cache_policy = RNBD_CACHE_FUA | RNBD_CACHE_WRITEBACK,
	};
}

void
mock_answer_open(struct mock *m, struct mock_req *r,
		 const struct rnbd_msg_open_rsp *rsp)
{
	rnbd_msg_open_rsp_encode(rsp, mock_chunk(m, r->id));
	mock_data(m, r, r->data_len);
	mock_done(m, r->con, r, 0);
}

int
mock_io(struct mock *m, struct mock_req *r)
{
	uint64_t off = r->io.sector * RNBD_SECTOR_SIZE;
	uint8_t *disk = m->rv.buf + DISK_OFF;
	unsigned op = r->io.rw & RNBD_RW_OP_MASK;

	if (op == RNBD_OP_FLUSH)
		return 0;
	if (off > MOCK_DISK || r->io.bi_size > MOCK_DISK - off ||
	    r->io.bi_size != r->data_len)
		return -EIO;
	if (op == RNBD_OP_READ)
		memcpy(mock_chunk(m, r->id), disk + off, r->data_len);
	else if (op == RNBD_OP_WRITE)
		memcpy(disk + off, mock_chunk(m, r->id), r->data_len);
	else
		return -EOPNOTSUPP;
	return 0;
}

void
mock_honest(struct mock *m, struct mock_req *r)
{
	struct rnbd_msg_sess_info si = {.ver = RNBD_PROTO_VER_MAJOR};
	struct rnbd_msg_open_rsp rsp;
	int err = 0;

	switch (r->type) {
	case RNBD_MSG_SESS_INFO:
		rnbd_msg_sess_info_encode(&si, true, mock_chunk(m, r->id));
		break;
	case RNBD_MSG_OPEN:
		mock_open_rsp(&rsp);
		mock_answer_open(m, r, &rsp);
		return;
	case RNBD_MSG_IO:
		err = mock_io(m, r);
		break;
	case RNBD_MSG_CLOSE:
		break;
	default:
		err = -EINVAL;
		break;
	}
	if (!err && r->hdr.type == RTRS_MSG_READ && r->hdr.sg_cnt)
		mock_data(m, r, r->hdr.desc.len);
	mock_done(m, r->con, r, err);
}

static enum mock_hook
hook_of(const struct mock_req *r)
{
	switch (r->type) {
	case RNBD_MSG_SESS_INFO:
		return MOCK_SESS_INFO;
	case RNBD_MSG_OPEN:
		return MOCK_OPEN;
	case RNBD_MSG_CLOSE:
		return MOCK_CLOSE;
	case RNBD_MSG_IO:
		if ((r->io.rw & RNBD_RW_OP_MASK) == RNBD_OP_READ)
			return MOCK_READ;
		return MOCK_WRITE;
	default:
		return MOCK_NEVER;
	}
}

/* Is it time for the case? Counts. */
static bool
due(struct mock *m, enum mock_hook hook)
{
	unsigned n = m->hits[hook]++;

	return hook != MOCK_NEVER && m->c->hook == hook && (!m->c->once || !n);
}

static void
request(struct mock *m, struct rv_con *con, uint32_t payload)
{
	struct mock_req r = {.con = con};
	uint32_t off;

	rtrs_imm_io_req_payload(payload, rtrs_imm_mem_bits(MOCK_DEPTH), &r.id,
				&off);
	r.chunk_off = (size_t)r.id * MOCK_CHUNK;
	if (r.id >= MOCK_DEPTH || off >= MOCK_CHUNK ||
	    rtrs_msg_req_decode(mock_chunk(m, r.id) + off, MOCK_CHUNK - off,
				&r.hdr) ||
	    r.hdr.usr_len > off ||
	    rnbd_msg_type_decode(mock_chunk(m, r.id) + off - r.hdr.usr_len,
				 r.hdr.usr_len, &r.type)) {
		fprintf(stderr, "malformed request, payload 0x%x\n", payload);
		mock_leave(m, mock_path_of(con));
		return;
	}
	r.data_len = off - r.hdr.usr_len;
	r.usr = mock_chunk(m, r.id) + r.data_len;
	if (r.type == RNBD_MSG_IO &&
	    rnbd_msg_io_decode(r.usr, r.hdr.usr_len, &r.io)) {
		mock_done(m, con, &r, -EINVAL);
		return;
	}
	if (!due(m, hook_of(&r)) || !m->c->req(m, &r))
		mock_honest(m, &r);
}

/* ------------------------------------------------------------ connections */

unsigned
mock_info_rsp(struct mock *m, const struct mock_path *path, uint8_t *buf)
{
	struct rtrs_desc desc[MOCK_DEPTH];
	unsigned n = path->new_rkey ? MOCK_DEPTH : 1;

	/* With new keys each chunk has a key of its own; here all are alike. */
	for (unsigned i = 0; i < n; i++)
		desc[i] = (struct rtrs_desc){
			.addr = (uintptr_t)mock_chunk(m, i),
			.key = m->rv.mr->rkey,
			.len = MOCK_DEPTH / n * MOCK_CHUNK,
		};
	return (unsigned)rtrs_msg_info_rsp_encode(
		desc, (uint16_t)n, buf, rtrs_msg_info_rsp_len(MOCK_DEPTH));
}

static void
info(struct mock *m, struct rv_con *con, const struct ibv_wc *wc)
{
	uint8_t *req = m->rv.buf + RECV_OFF +
		       (size_t)(wc->wr_id - ID_INFO) * RTRS_INFO_REQ_LEN;
	uint8_t rsp[RTRS_INFO_RSP_HDR_LEN + MOCK_DEPTH * RTRS_DESC_LEN];
	struct rtrs_msg_info_req msg;
	unsigned len;

	if (rtrs_msg_info_req_decode(req, wc->byte_len, &msg)) {
		fprintf(stderr, "malformed INFO_REQ\n");
		mock_leave(m, mock_path_of(con));
		return;
	}
	if (due(m, MOCK_INFO) && m->c->info(m, con))
		return;
	len = mock_info_rsp(m, mock_path_of(con), rsp);
	mock_send(m, con, rsp, len);
}

static struct mock_path *
path_of(struct mock *m, const struct rtrs_msg_conn_req *msg)
{
	struct mock_path *p;

	/* A new attempt is a new path: the old one is left to its end. */
	for (p = m->paths; msg->cid && p; p = p->next)
		if (!memcmp(&p->uuid, &msg->path_uuid, sizeof(p->uuid)))
			return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		abort();
	p->uuid = msg->path_uuid;
	p->cid_num = msg->cid_num;
	p->new_rkey = m->c->new_rkey;
	p->next = m->paths;
	m->paths = p;
	return p;
}

static bool
post_receives(struct mock *m, struct rv_con *con, unsigned cid)
{
	static unsigned next_info;

	(void)m;
	if (!cid) {
		unsigned n = next_info++ % N_INFO;

		if (rv_recv(con, ID_INFO + n,
			    RECV_OFF + (size_t)n * RTRS_INFO_REQ_LEN,
			    RTRS_INFO_REQ_LEN))
			return false;
	}
	for (unsigned i = 0; i < N_EMPTY; i++)
		if (rv_recv(con, ID_EMPTY, 0, 0))
			return false;
	return true;
}

static void
accept_con(struct mock *m, struct rdma_cm_id *id,
	   const struct rtrs_msg_conn_req *msg, const struct mock_answer *a)
{
	struct mock_path *path = path_of(m, msg);
	struct mock_con *mc = calloc(1, sizeof(*mc));
	struct rv_con *con;

	if (!mc || rv_accept(&m->rv, id, &con)) {
		free(mc);
		return;
	}
	mc->path = path;
	mc->cid = msg->cid;
	mc->leaves = a->leave;
	con->user = mc;
	path->con[msg->cid] = con;
	path->n_cons++;
	if (!post_receives(m, con, msg->cid) ||
	    rv_accept_send(con, a->priv, (uint8_t)a->priv_len))
		fprintf(stderr, "connection %u not accepted\n", msg->cid);
}

static void
connect_request(struct mock *m, const struct rv_event *ev)
{
	struct mock_answer a = {
		.rsp = {.version = RTRS_PROTO_VER,
			.queue_depth = MOCK_DEPTH,
			.max_io_size = MOCK_CHUNK - MOCK_HDR,
			.max_hdr_size = MOCK_HDR,
			.flags = m->c->new_rkey ? RTRS_RSP_F_NEW_RKEY : 0},
		.priv_len = RTRS_CONN_RSP_LEN,
	};
	struct rtrs_msg_conn_req msg;

	if (rtrs_msg_conn_req_decode(ev->priv, ev->priv_len, &msg) ||
	    msg.cid >= msg.cid_num || msg.cid_num > MOCK_CIDS) {
		fprintf(stderr, "malformed connection request\n");
		rv_reject(ev->id, NULL, 0);
		return;
	}
	if (due(m, msg.cid == 0   ? MOCK_CONNECT
		   : msg.cid == 1 ? MOCK_CONNECT_1
				  : MOCK_NEVER))
		m->c->connect(m, &a);
	if (!a.raw)
		rtrs_msg_conn_rsp_encode(&a.rsp, a.priv);
	if (a.silent)
		return; /* the id stays, and so does the peer's question */
	if (a.reject)
		rv_reject(ev->id, a.priv, (uint8_t)a.priv_len);
	else
		accept_con(m, ev->id, &msg, &a);
}

/* ------------------------------------------------------------------- loop */

static void
received(struct mock *m, struct rv_con *con, const struct ibv_wc *wc)
{
	struct rtrs_imm imm;

	if (wc->wr_id >= ID_INFO) {
		info(m, con, wc);
		return;
	}
	if (!con->gone)
		rv_recv(con, ID_EMPTY, 0, 0);
	if (wc->opcode != IBV_WC_RECV_RDMA_WITH_IMM) {
		fprintf(stderr, "a message without immediate\n");
		return;
	}
	imm = rtrs_imm_decode(ntohl(wc->imm_data));
	if (imm.type == RTRS_IMM_IO_REQ)
		request(m, con, imm.payload);
	else if (imm.type == RTRS_IMM_HB_MSG && mock_path_of(con)->con[0])
		mock_imm(m, mock_path_of(con)->con[0], rtrs_imm_hb_ack());
}

static void
drop_con(struct rv_con *con)
{
	struct mock_con *mc = con->user;

	if (mc->path->con[mc->cid] == con)
		mc->path->con[mc->cid] = NULL;
	free(mc);
	rv_drop(con);
}

static void
serve(struct mock *m)
{
	struct rv_event ev;

	/* A short wait: a signal may come just before it. */
	while (!ended && !rv_wait(&m->rv, 200, &ev)) {
		if (ev.what == RV_CM) {
			if (ev.cm == RDMA_CM_EVENT_CONNECT_REQUEST)
				connect_request(m, &ev);
			else if (ev.cm == RDMA_CM_EVENT_DISCONNECTED)
				drop_con(ev.con);
			else if (ev.cm == RDMA_CM_EVENT_ESTABLISHED &&
				 ((struct mock_con *)ev.con->user)->leaves)
				rv_disconnect(ev.con);
			continue;
		}
		if (ev.what != RV_WC || !ev.con || m->silent ||
		    ev.wc.status != IBV_WC_SUCCESS || !ev.wc.wr_id)
			continue;
		received(m, ev.con, &ev.wc);
	}
}

static const char *
hook_name(enum mock_hook hook)
{
	static const char *const names[MOCK_N_HOOKS] = {
		"never", "connect", "connect", "info", "sess_info",
		"open",  "read",    "write",   "close"};

	return names[hook];
}

static const struct mock_case *
find_case(const char *name)
{
	static const struct mock_case honest = {.name = "honest"};
	static const struct mock_case new_rkey = {.name = "honest-new-rkey",
						  .new_rkey = true};

	if (!strcmp(name, honest.name))
		return &honest;
	if (!strcmp(name, new_rkey.name))
		return &new_rkey;
	for (unsigned i = 0; i < n_mock_greet; i++)
		if (!strcmp(mock_greet[i].name, name))
			return &mock_greet[i];
	for (unsigned i = 0; i < n_mock_requests; i++)
		if (!strcmp(mock_requests[i].name, name))
			return &mock_requests[i];
	fprintf(stderr, "mock-server: no case '%s'\n", name);
	exit(2);
}

static void
list(const struct mock_case *c, unsigned n)
{
	for (; n--; c++)
		printf("%s\t%s\t%s\t%s\t%s\n", c->name, c->outcome,
		       hook_name(c->hook), c->args ? c->args : "-",
		       c->complaint ? c->complaint : "-");
}

int
main(int argc, char **argv)
{
	const struct sigaction sa = {.sa_handler = on_signal};
	struct mock m = {.paths = NULL};
	struct sockaddr_storage addr;
	struct mock_path *p;

	if (argc == 2 && !strcmp(argv[1], "--list")) {
		list(mock_greet, n_mock_greet);
		list(mock_requests, n_mock_requests);
		return 0;
	}
	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: mock-server --list | ADDR PORT "
				"[CASE]\n");
		return 2;
	}
	m.c = find_case(argc == 4 ? argv[3] : "honest");
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	if (rv_addr(argv[1], (unsigned)strtoul(argv[2], NULL, 10), &addr) ||
	    rv_init(&m.rv, BUF_LEN))
		return 1;
	m.rv.max_send_wr = 1024;
	m.rv.max_recv_wr = N_EMPTY + 8;
	m.rv.max_cqe = 32000;
	if (rv_listen(&m.rv, &addr))
		return 1;
	printf("listening\n");
	fflush(stdout);
	serve(&m);
	for (struct rv_con *con = m.rv.cons; con; con = con->next)
		free(con->user);
	while ((p = m.paths)) {
		m.paths = p->next;
		free(p);
	}
	rv_free(&m.rv);
	return 0;
}
