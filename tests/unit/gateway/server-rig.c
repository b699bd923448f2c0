/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/gateway/server-rig.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/backend/events.h"
#include "gateway/backend/uring.h"
#include "tests/unit/gateway/access-rig.h"

struct rig rig;
void *rig_sess;

/* ------------------------------------------------------------ RTRS double */

struct rtrs_srv {
	struct rtrs_srv_params p;
};

static struct rtrs_srv *the_srv;
static struct rtrs_srv_sess *const a_sess = (void *)&rig;

int
rtrs_srv_new(const struct rtrs_srv_params *p, struct rtrs_srv **ret)
{
	if (rig.new_err)
		return rig.new_err;
	the_srv = malloc(sizeof(*the_srv));
	ck_assert_ptr_nonnull(the_srv);
	the_srv->p = *p;
	*ret = the_srv;
	return 0;
}

void
rtrs_srv_free(struct rtrs_srv *srv)
{
	free(srv);
}

void
rtrs_srv_progress(struct rtrs_srv *srv, uint64_t now)
{
	rig.now = now;
}

uint64_t
rtrs_srv_deadline(const struct rtrs_srv *srv)
{
	return rig.rtrs_deadline;
}

bool
rtrs_srv_op_lost(const struct rtrs_srv_op *op)
{
	return container_of(op, struct rig_op, op)->lost;
}

unsigned
rtrs_srv_sess_peers(const struct rtrs_srv_sess *sess,
		    struct sockaddr_storage *ret, unsigned max)
{
	ck_assert_ptr_eq(sess, a_sess);
	if (rig.no_peers)
		return 0;
	ret[0] = rig.peer;
	return 1;
}

unsigned
rtrs_srv_close_paths(struct rtrs_srv *srv,
		     bool (*match)(void *user,
				   const struct rtrs_srv_path_info *),
		     void *user)
{
	struct rtrs_srv_path_info info = {
		.sess_name = "sess",
		.state = rig.path_state,
		.addrs.peer = rig.peer,
	};

	if (!rig_sess || !match(user, &info))
		return 0;
	rig.paths_closed++;
	return 1;
}

uint64_t
rtrs_srv_now(const struct rtrs_srv *srv)
{
	return rig.now;
}

uint32_t
rtrs_srv_max_io_size(const struct rtrs_srv *srv)
{
	return RIG_CHUNK_SIZE - 4096;
}

void
rtrs_srv_op_done(struct rtrs_srv_op *op, int err)
{
	struct rig_op *r = container_of(op, struct rig_op, op);

	ck_assert_int_le(err, 0);
	ck_assert_uint_eq(r->answers, 0);
	r->answers++;
	r->err = err;
	ck_assert(!r->lost || !op->vital);
	if (op->vital && !rig.fates_open)
		rig_answer_fate(r, true);
}

void
rtrs_srv_sess_down_done(struct rtrs_srv_sess *sess)
{
	rig.downs_done++;
}

void *
rig_sess_up(const char *name)
{
	const struct fabric_addrs addrs = {.peer = rig.peer};
	void *user = NULL;
	int r = the_srv->p.sess_up(the_srv->p.user, a_sess, name, &addrs,
				   &user);

	return r < 0 ? NULL : user;
}

int
rig_path_up(void *sess, const char *name, const struct sockaddr_storage *peer)
{
	const struct fabric_addrs addrs = {.peer = *peer};
	void *user = sess;
	int r = the_srv->p.sess_up(the_srv->p.user, a_sess, name, &addrs,
				   &user);

	ck_assert(user == sess);
	return r;
}

int
rig_path_new(const struct rtrs_srv_new_path *np)
{
	return the_srv->p.path_new(the_srv->p.user, np);
}

void
rig_path_gone(const struct rtrs_uuid *sess_uuid,
	      const struct rtrs_uuid *path_uuid)
{
	the_srv->p.path_gone(the_srv->p.user, sess_uuid, path_uuid);
}

void
rig_sess_down(void *sess)
{
	the_srv->p.sess_down(sess, a_sess);
}

void
rig_requests_lost(void *sess)
{
	the_srv->p.requests_lost(sess);
}

void
rig_answer_fate(struct rig_op *op, bool told)
{
	ck_assert(op->op.vital);
	the_srv->p.answer_fate(op->sess, &op->op, told);
}

void
rig_request(void *sess, struct rig_op *r, enum rtrs_dir dir, const void *usr,
	    uint16_t usr_len, uint32_t data_len)
{
	ck_assert_uint_le(usr_len, sizeof(r->usr));
	memset(r->data, 0xaa, sizeof(r->data));
	memcpy(r->usr, usr, usr_len);
	r->err = RIG_PENDING;
	r->answers = 0;
	r->lost = false;
	r->sess = sess;
	r->op = (struct rtrs_srv_op){
		.dir = dir,
		.usr = r->usr,
		.usr_len = usr_len,
		.data = data_len ? r->data : NULL,
		.data_len = data_len,
	};
	the_srv->p.request(sess, &r->op);
}

/* --------------------------------------------------------- exports double */

struct gw_claim {
	struct rig_export *ex;
};

static const struct backend_ops rig_backend_ops, plain_ops, loop_ops;

static struct rig_export *
export_named(const char *name)
{
	struct rig_export *ex = NULL;

	for (unsigned i = 0; i < rig.n_exports; i++)
		if (!strcmp(rig.exports[i].name, name))
			ex = &rig.exports[i];
	return ex;
}

bool
gw_exports_is_remote(struct gw_exports *x, const char *name)
{
	const struct rig_export *ex = export_named(name);

	return ex && ex->remote;
}

int
gw_exports_open(struct gw_exports *x, const struct gw_open_params *p,
		struct gw_opened *ret, char err_text[GW_TEXT_MAX])
{
	struct rig_export *ex = export_named(p->dev_name);
	struct pollfd cancel = {.fd = p->cancel_fd, .events = POLLIN};
	struct backend *b;
	struct gw_claim *claim;

	ck_assert_int_eq(p->cancel_fd >= 0, ex && ex->remote);
	if (poll(&cancel, 1, 0) == 1)
		return -ECANCELED;
	if (!ex || ex->open_err) {
		snprintf(err_text, GW_TEXT_MAX, "%s",
			 ex ? ex->open_text : "no such export");
		return ex ? ex->open_err : -ENOENT;
	}
	b = calloc(1, sizeof(*b));
	claim = malloc(sizeof(*claim));
	ck_assert(b && claim);
	claim->ex = ex;
	b->ops = ex->attaches ? &loop_ops
		 : ex->plain  ? &plain_ops
			      : &rig_backend_ops;
	b->geo = ex->geo;
	b->id = ex->id;
	ex->opens++;
	ex->mode = p->access_mode;
	*ret = (struct gw_opened){
		.backend = b,
		.claim = claim,
		.durable = &ex->durable,
		.export = (struct gw_export *)ex,
	};
	return 0;
}

static int
judge(const struct rig_export *ex, const struct gw_asker *who,
      char err_text[GW_TEXT_MAX])
{
	ck_assert_uint_ne(strlen(who->sess_name), 0);
	ck_assert_uint_eq(who->n_peers, 1);
	if (ex->allow_err)
		snprintf(err_text, GW_TEXT_MAX, "not allowed");
	return ex->allow_err;
}

int
gw_exports_allow(struct gw_exports *x, const char *dev_name,
		 const struct gw_asker *who, char err_text[GW_TEXT_MAX])
{
	for (unsigned i = 0; i < rig.n_exports; i++)
		if (!strcmp(rig.exports[i].name, dev_name))
			return judge(&rig.exports[i], who, err_text);
	return 0;
}

int
gw_export_allow(struct gw_exports *x, const struct gw_opened *o,
		const struct gw_asker *who, uint64_t *ret_size,
		char err_text[GW_TEXT_MAX])
{
	const struct rig_export *r = (const void *)o->export;

	*ret_size = r->size_now;
	if (r->gone) {
		snprintf(err_text, GW_TEXT_MAX, "gone");
		return -ENOENT;
	}
	return judge(r, who, err_text);
}

const char *
gw_export_name(const struct gw_export *ex)
{
	return ((const struct rig_export *)(const void *)ex)->name;
}

bool
gw_export_is_writethrough(const struct gw_export *ex)
{
	return ((const struct rig_export *)(const void *)ex)->writethrough;
}

struct gw_throttle *
gw_export_throttle(struct gw_export *ex)
{
	struct rig_export *r = (void *)ex;

	return r->shared ? r->shared : &r->throttle;
}

void
gw_exports_close(struct gw_exports *x, const struct gw_opened *o)
{
	struct backend *b = o->backend;
	struct gw_claim *claim = o->claim;

	for (unsigned i = 0; i < rig.n_held; i++)
		ck_assert_ptr_ne(rig.held[i]->backend, b);
	claim->ex->closes++;
	free(claim);
	free(b);
}

int
gw_exports_name_claim(struct gw_exports *x, const char *sess_name)
{
	if (!rig.name_err)
		rig.names_claimed++;
	return rig.name_err;
}

void
gw_exports_name_release(struct gw_exports *x, const char *sess_name)
{
	rig.names_released++;
}

struct rig_export *
rig_add_export(const char *name)
{
	struct rig_export *ex = &rig.exports[rig.n_exports++];

	*ex = (struct rig_export){
		.name = name,
		.geo =
			{
				.size_bytes = 1 << 20,
				.logical_block_size = 512,
				.physical_block_size = 4096,
				.max_discard_bytes = UINT64_C(1) << 40,
				.discard_granularity = 4096,
				.max_write_zeroes_bytes = UINT64_C(1) << 40,
				.writeback = true,
			},
		.id = {.kind = 1, .a = rig.n_exports},
	};
	return ex;
}

/* --------------------------------------------------------- backend double */

static void
rig_submit(struct backend *b, struct backend_io *io)
{
	ck_assert_uint_lt(rig.n_ios, RIG_MAX_IOS);
	rig.ios[rig.n_ios++] = (struct rig_io){
		.op = io->op,
		.flags = io->flags,
		.off = io->off,
		.len = io->len,
		.buf = io->buf,
	};
	io->backend = b;
	if (rig.complete_at_once) {
		io->done(io, rig.io_err);
		return;
	}
	ck_assert_uint_lt(rig.n_held, RIG_MAX_IOS);
	rig.held[rig.n_held++] = io;
}

static void
rig_kick(struct backend *b)
{
	rig.kicks++;
}

static struct rig_export *
export_of(const struct backend *b)
{
	for (unsigned i = 0; i < rig.n_exports; i++)
		if (rig.exports[i].id.a == b->id.a)
			return &rig.exports[i];
	ck_abort_msg("a backend of no export");
}

static int
rig_attach(struct backend *b)
{
	struct rig_export *ex = export_of(b);

	ex->attached += !ex->attach_err;
	return ex->attach_err;
}

/* Ends like an IO, when the test says so. */
static void
rig_detach(struct backend *b, struct backend_io *io)
{
	export_of(b)->detached++;
	io->backend = b;
	ck_assert_uint_lt(rig.n_held, RIG_MAX_IOS);
	rig.held[rig.n_held++] = io;
}

static const struct backend_ops plain_ops = {
	.name = "plain",
	.submit = rig_submit,
};

static const struct backend_ops loop_ops = {
	.name = "loop",
	.attach = rig_attach,
	.detach = rig_detach,
	.submit = rig_submit,
	.kick = rig_kick,
};

static const struct backend_ops rig_backend_ops = {
	.name = "rig",
	.submit = rig_submit,
	.kick = rig_kick,
	.grows = true,
};

void
rig_complete(int err)
{
	struct backend_io *io = rig.held[0];

	ck_assert_uint_gt(rig.n_held, 0);
	rig.n_held--;
	memmove(&rig.held[0], &rig.held[1], rig.n_held * sizeof(rig.held[0]));
	io->done(io, err);
}

void
gw_io_engine_submit(struct gw_io_engine *e)
{
	rig.engine_submits++;
}

/* -------------------------------------------------------- executor double */

static struct gw_job *jobs;

static void
exec_run(struct gw_exec *exec, struct gw_job *job)
{
	struct gw_job **p = &jobs;

	while (*p)
		p = &(*p)->next;
	job->next = NULL;
	*p = job;
}

static void
remote_run(struct gw_exec *e, struct gw_job *job)
{
	rig.remote_jobs++;
	exec_run(e, job);
}

static struct gw_exec exec = {.run = exec_run};
static struct gw_exec remote_exec = {.run = remote_run};
static struct gw_events events = {.exec = &remote_exec};

bool
rig_run_jobs(void)
{
	struct gw_job *job = jobs;

	if (!job)
		return false;
	jobs = job->next;
	job->work(job);
	job->done(job);
	return true;
}

void
rig_settle(void)
{
	bool moved;

	do {
		moved = rig_run_jobs();
		gw_server_kick(rig.server);
	} while (moved || jobs);
}

/* --------------------------------------------------------------- fixtures */

static void
on_sess_gone(void *user, const struct rtrs_uuid *sess_uuid)
{
	rig.sess_gone++;
}

/* Device ids start at 0. */
static void
fill_zeroes(void *user, void *buf, size_t len)
{
	(void)user;
	memset(buf, 0, len);
}

static uint64_t
clock_now(void *user)
{
	rig.clock_reads++;
	return rig.now;
}

static void
on_line(void *user, enum log_level level, const char *line)
{
	snprintf(rig.heard, sizeof(rig.heard), "%s", line);
}

void
rig_hear(void)
{
	rig.log = (struct log){.sink = on_line, .threshold = LOG_LVL_DEBUG};
}

struct gw_server_params
rig_params(void)
{
	return (struct gw_server_params){
		.exec = &exec,
		.events = &events,
		.rtrs = {.queue_depth = RIG_QUEUE_DEPTH,
			 .log = &rig.log,
			 .rng = {.fill = fill_zeroes}},
		.sess_gone = on_sess_gone,
		.now = clock_now,
	};
}

void
rig_setup(void)
{
	struct gw_server_params p = rig_params();

	rig_setup_with(&p);
}

void
rig_setup_with(const struct gw_server_params *params)
{
	const struct gw_access_params ap = {.now = rig_now};
	struct gw_server_params p = *params;

	memset(&rig, 0, sizeof(rig));
	rig.tells_gone = p.sess_gone;
	rig.path_state = RTRS_SRV_CONNECTED;
	rig.rtrs_deadline = TIME_NEVER;
	rig_sess = NULL;
	ck_assert_int_eq(gw_access_new(&ap, &rig.access), 0);
	p.access = rig.access;
	ck_assert_int_eq(gw_server_new(&p, &rig.server), 0);
	rig_sess = rig_sess_up("sess");
	ck_assert_ptr_nonnull(rig_sess);
}

void
rig_teardown(void)
{
	struct gw_server_stats st;
	struct rtrs_uuid uuid = {0};

	while (rig.n_held)
		rig_complete(-EIO);
	if (rig_sess)
		rig_sess_down(rig_sess);
	rig_settle();
	for (unsigned i = 0; i < rig.n_exports; i++)
		ck_assert_uint_eq(rig.exports[i].opens, rig.exports[i].closes);
	ck_assert_uint_eq(rig.names_claimed, rig.names_released);
	ck_assert_uint_eq(rig.names_claimed, rig.downs_done);
	gw_server_stats(rig.server, &st);
	ck_assert_uint_eq(st.sessions, 0);
	ck_assert_uint_eq(st.devices, 0);
	ck_assert_uint_eq(st.inflight, 0);
	ck_assert_uint_eq(st.throttled_now, 0);
	ck_assert_uint_eq(gw_server_deadline(rig.server), rig.rtrs_deadline);
	the_srv->p.sess_gone(the_srv->p.user, &uuid);
	ck_assert_uint_eq(rig.sess_gone, rig.tells_gone);
	gw_server_free(rig.server);
	gw_access_free(rig.access);
}

/* --------------------------------------------------------------- messages */

void
rig_open(struct rig_op *op, const char *name, uint8_t mode)
{
	struct rnbd_msg_open m = {.access_mode = mode};
	uint8_t buf[RNBD_OPEN_LEN];

	snprintf(m.dev_name, sizeof(m.dev_name), "%s", name);
	rnbd_msg_open_encode(&m, buf);
	rig_request(rig_sess, op, RTRS_READ, buf, sizeof(buf),
		    RNBD_OPEN_RSP_LEN);
}

void
rig_close(struct rig_op *op, uint32_t device_id)
{
	struct rnbd_msg_close m = {.device_id = device_id};
	uint8_t buf[RNBD_CLOSE_LEN];

	rnbd_msg_close_encode(&m, buf);
	rig_request(rig_sess, op, RTRS_WRITE, buf, sizeof(buf), 0);
}

void
rig_io_raw(struct rig_op *op, enum rtrs_dir dir, const struct rnbd_msg_io *m,
	   uint32_t data_len)
{
	uint8_t buf[RNBD_IO_LEN];

	rnbd_msg_io_encode(m, buf);
	rig_request(rig_sess, op, dir, buf, sizeof(buf), data_len);
}

void
rig_io(struct rig_op *op, uint32_t device_id, uint32_t rw, uint64_t sector,
       uint32_t bi_size)
{
	struct rnbd_msg_io m = {
		.device_id = device_id,
		.sector = sector,
		.rw = rw,
		.bi_size = bi_size,
	};
	unsigned rop = rw & RNBD_RW_OP_MASK;
	bool has_data = rop == RNBD_OP_READ || rop == RNBD_OP_WRITE;
	enum rtrs_dir dir = rop == RNBD_OP_READ || rop == RNBD_OP_FLUSH
				    ? RTRS_READ
				    : RTRS_WRITE;

	rig_io_raw(op, dir, &m, has_data ? bi_size : 0);
}

uint32_t
rig_opened(const char *name, uint8_t mode)
{
	struct rnbd_msg_open_rsp rsp;
	struct rig_op op;

	rig_open(&op, name, mode);
	rig_settle();
	ck_assert_int_eq(op.err, 0);
	ck_assert_int_eq(
		rnbd_msg_open_rsp_decode(op.data, RNBD_OPEN_RSP_LEN, &rsp), 0);
	return rsp.device_id;
}
