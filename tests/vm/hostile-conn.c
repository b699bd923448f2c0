/* SPDX-License-Identifier: BSD-3-Clause */
/* Connection requests: each has its errno in the reject. */
#include "tests/vm/hostile.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "proto/rtrs-imm.h"

static void
magic(void)
{
	struct peer *p = peer_new(2);
	struct rtrs_msg_conn_req m = peer_conn_req(p, 0);
	uint8_t priv[RTRS_CONN_REQ_LEN];

	rtrs_msg_conn_req_encode(&m, priv);
	priv[2] ^= 0xff;
	peer_rejected(p, priv, sizeof(priv), -ECONNRESET);
	memset(priv, 0xff, sizeof(priv));
	priv[0] = priv[1] = 0;
	peer_rejected(p, priv, sizeof(priv), -ECONNRESET);
}

static void
version(void)
{
	static const uint16_t bad[] = {0, 0x0100, 0x0300, 0xff00};
	struct peer *p = peer_new(1);
	struct rtrs_msg_conn_req m = peer_conn_req(p, 0);

	steps(i, ARRAY_SIZE(bad)) {
		m.version = bad[i];
		peer_req_rejected(p, &m, -ECONNRESET);
	}
	/* Another minor version is none of the server's business. */
	m.version = RTRS_PROTO_VER | 0x7f;
	peer_connect_req(p, &m);
}

static void
cids(void)
{
	static const uint16_t bad[][2] = {
		{2, 2}, {0, 0}, {65535, 2}, {0, 4097}, {65534, 65535}};
	struct peer *p = peer_new(2);
	struct rtrs_msg_conn_req m = peer_conn_req(p, 0);

	steps(i, ARRAY_SIZE(bad)) {
		m.cid = bad[i][0];
		m.cid_num = bad[i][1];
		peer_req_rejected(p, &m, -ECONNRESET);
	}
}

/* The CM fills up with zeroes, so what is cut is seen as zero. */
static void
short_private_data(void)
{
	struct peer *p = peer_new(2);
	struct rtrs_msg_conn_req m = peer_conn_req(p, 0);
	uint8_t priv[RTRS_CONN_REQ_LEN];

	rtrs_msg_conn_req_encode(&m, priv);
	peer_rejected(p, NULL, 0, -ECONNRESET);
	peer_rejected(p, priv, 3, -ECONNRESET);
	peer_rejected(p, priv, 8, -ECONNRESET);
	peer_rejected(p, priv, 44, -ENXIO);
}

static void
unknown_session(void)
{
	struct peer *p = peer_new(2);
	struct rtrs_msg_conn_req m = peer_conn_req(p, 0);

	m.first_conn = false;
	peer_req_rejected(p, &m, -ENXIO);
}

static void
cid_twice(void)
{
	struct peer *p = peer_new(3);
	struct rtrs_msg_conn_req m = peer_conn_req(p, 0);

	peer_connect(p, 0);
	peer_req_rejected(p, &m, -ECONNRESET);
	peer_connect(p, 1);
	m.cid = 1;
	peer_req_rejected(p, &m, -ECONNRESET);
	m.cid = 2;
	m.cid_num = 4;
	peer_req_rejected(p, &m, -ECONNRESET);
	/* None of that harmed the path. */
	peer_connect(p, 2);
	peer_info(p);
	peer_alive(p);
	peer_req_rejected(p, &m, -ECONNRESET);
	peer_alive(p);
}

static void
same_addresses(void)
{
	struct peer *p = peer_up(peer_new(2)), *q = peer_path_of(p, 2);
	struct rtrs_msg_conn_req m = peer_conn_req(q, 0);

	peer_req_rejected(q, &m, -EEXIST);
	m.first_conn = false;
	peer_req_rejected(q, &m, -EEXIST);
	peer_alive(p);
}

/* Of a session that is still connecting, too. */
static void
same_addresses_early(void)
{
	struct peer *p = peer_new(2), *q = peer_path_of(p, 2);
	struct rtrs_msg_conn_req m = peer_conn_req(q, 0);

	peer_connect(p, 0);
	peer_req_rejected(q, &m, -EEXIST);
	peer_connect(p, 1);
	peer_info(p);
	peer_alive(p);
}

/* The service connection comes last. */
static void
cids_backwards(void)
{
	struct peer *p = peer_new(3);

	for (unsigned cid = 3; cid--;)
		peer_connect(p, cid);
	peer_info(p);
	peer_alive(p);
	steps(i, 100) {
		struct usr u = usr_sess_info(RNBD_PROTO_VER_MAJOR);

		peer_read(p, i % 3, i % 4, u.b, u.len, RNBD_SESS_INFO_LEN);
		peer_replied(p, i % 4, 0);
	}
}

static void
one_connection(void)
{
	struct peer *p = peer_up(peer_new(1));
	struct rnbd_msg_open_rsp geo;
	uint32_t dev = peer_open_soon(p, names.disk, RNBD_ACCESS_RO, &geo);

	peer_io_read(p, 1, dev, 0, 4096, 0);
	peer_alive(p);
}

/* An old path of the same process answers its disconnects meanwhile. */
static void *
answer_disconnects(void *user)
{
	struct peer *p = user;
	struct rv_event ev;

	while (!p->con[0]->gone || !p->con[1]->gone)
		if (rv_wait(&p->rv, PEER_MS, &ev) || ev.what == RV_NOTHING)
			break;
	return NULL;
}

/* The client gave its old path up and says so. */
static void
starting_over(void)
{
	struct peer *p = peer_up(peer_new(2)), *q = peer_path_of(p, 2);
	struct rtrs_msg_conn_req m;
	uint8_t priv[RTRS_CONN_REQ_LEN];
	struct rv_answer a;
	pthread_t thread;

	q->path = p->path;
	q->recon_cnt = p->recon_cnt + 1;
	m = peer_conn_req(q, 0);
	rtrs_msg_conn_req_encode(&m, priv);
	expect(!pthread_create(&thread, NULL, answer_disconnects, p),
	       "no thread");
	q->con[0] = peer_ask(q, priv, sizeof(priv), &a);
	pthread_join(thread, NULL);
	expect(q->con[0], "rejected with status %d", a.status);
	expect(p->con[0]->gone && p->con[1]->gone,
	       "accepted before the old path was gone");
	peer_free(q);
	/* And once more from the start: the former attempt is one as well. */
	q = peer_path_of(p, 2);
	q->path = p->path;
	q->recon_cnt = p->recon_cnt + 2;
	peer_up(q);
	peer_alive(q);
}

/* A connection that ends before its answer. */
static void
hurried(void)
{
	steps(i, 10) {
		struct peer *p = peer_new(2);

		peer_connect(p, 0);
		if (i % 2)
			rv_kill(p->con[0]);
		peer_free(p);
	}
}

/*
 * Accepts that are not taken: refused, or left by who had asked. The server may
 * have too many of them for a while. What it has of the connection manager is
 * counted by the scenario.
 */
static void
refused_accept(void)
{
	uint64_t end = rv_now_ms() + 5 * PEER_MS;
	unsigned refused = 0;

	steps(i, 300) {
		struct peer *p = peer_new(2);
		struct rtrs_msg_conn_req m = peer_conn_req(p, 0);
		struct rv_answer a;
		struct rv_con *con = peer_ask_half(p, &m, &a);

		expect(con || a.event == RDMA_CM_EVENT_REJECTED, "%s",
		       rdma_event_str(a.event));
		if (!con) {
			i--;
			refused++;
			usleep(100000);
		} else if (i % 2) {
			expect(!rv_refuse(con), "cannot refuse");
		}
		peer_free(p);
		expect(rv_now_ms() < end, "%u were refused", refused);
	}
	peer_alive(peer_up(peer_new(2)));
}

/*
 * An accept whose answer comes when the server has left that connection: there
 * is an end to it all the same, and the client hears of it.
 */
static void
late_answer(void)
{
	struct peer *p = peer_new(2), *q = peer_path_of(p, 2);
	struct rtrs_msg_conn_req m = peer_conn_req(p, 0);
	struct rv_answer a;
	struct rv_event ev;
	struct rv_con *con;

	con = peer_ask_half(p, &m, &a);
	expect(con, "%s, status %d", rdma_event_str(a.event), a.status);
	/* It starts over: accepted as soon as the former attempt is gone. */
	q->path = p->path;
	q->recon_cnt = p->recon_cnt + 1;
	peer_up(q);
	expect(!rv_establish(con), "cannot establish");
	for (uint64_t end = rv_now_ms() + PEER_MS; !con->gone;) {
		expect(!rv_wait(&p->rv, 100, &ev), "cannot wait");
		expect(rv_now_ms() < end, "left, and nobody says so");
	}
	peer_alive(q);
}

/*
 * Paths that are never finished. They cost the server promises of memory: it
 * may refuse some, by its own limit or that of one address, but says why, and
 * as soon as they are gone it takes new sessions again.
 */
static void
half_open_flood(void)
{
	struct rtrs_msg_conn_rsp rsp;
	struct rv_answer a;
	uint8_t priv[RTRS_CONN_REQ_LEN];
	unsigned refused = 0;
	struct peer *p;

	steps(i, 48) {
		struct rtrs_msg_conn_req m;

		p = peer_new(8);
		m = peer_conn_req(p, 0);
		rtrs_msg_conn_req_encode(&m, priv);
		if (peer_ask(p, priv, sizeof(priv), &a))
			continue;
		refused++;
		expect(a.event == RDMA_CM_EVENT_REJECTED &&
			       a.status == RV_CONSUMER &&
			       !rtrs_msg_conn_rsp_decode(a.priv, a.priv_len,
							 &rsp) &&
			       (rsp.err == -ENOMEM || rsp.err == -EDQUOT),
		       "refused by %s, status %d", rdma_event_str(a.event),
		       a.status);
	}
	expect(refused < 48, "none was accepted");
	while (case_run->peers)
		peer_free(case_run->peers);
	for (uint64_t end = rv_now_ms() + PEER_MS;;) {
		struct rv_con *con;
		struct rtrs_msg_conn_req m;

		p = peer_new(2);
		m = peer_conn_req(p, 0);
		rtrs_msg_conn_req_encode(&m, priv);
		con = peer_ask(p, priv, sizeof(priv), &a);
		peer_free(p);
		if (con)
			break;
		expect(rv_now_ms() < end, "no session is taken any more");
	}
	peer_alive(peer_up(peer_new(2)));
}

const struct hostile_case hostile_conn[] = {
	{"conn-magic", magic, true},
	{"conn-version", version, true},
	{"conn-cid", cids, true},
	{"conn-short-private-data", short_private_data, true},
	{"conn-unknown-session", unknown_session, true},
	{"conn-cid-twice", cid_twice, true},
	{"conn-same-addresses", same_addresses, true},
	{"conn-same-addresses-early", same_addresses_early, true},
	{"conn-one-connection", one_connection, true},
	{"conn-cids-backwards", cids_backwards, false},
	{"conn-starting-over", starting_over, false},
	{"conn-hurried", hurried, false},
	{"conn-refused-accept", refused_accept, false},
	{"conn-late-answer", late_answer, false},
	{"conn-half-open-flood", half_open_flood, false},
};
const unsigned n_hostile_conn = ARRAY_SIZE(hostile_conn);
