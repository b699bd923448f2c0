/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/plugin/fake-paths.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/plugin/fake-clt.h"

struct fake_paths fake_paths;

/* The one command that is under way of each kind. */
static struct rtrs_clt_path_op *op;
static enum rtrs_clt_path_state to_state;
static bool removing;
static rnbd_clt_asked_fn asked;
static void *asked_user;

static struct rtrs_clt_path_info *
find(unsigned id)
{
	for (unsigned i = 0; i < fake_paths.n; i++)
		if (fake_paths.path[i].id == id)
			return &fake_paths.path[i];
	return NULL;
}

static void
add(const struct rtrs_path_addr *addr, enum rtrs_clt_path_state state)
{
	struct rtrs_clt_path_info *p = &fake_paths.path[fake_paths.n++];

	*p = (struct rtrs_clt_path_info){
		.id = ++fake_paths.last_id,
		.state = state,
		.addr = *addr,
		.hca_name = "",
		.why = "",
	};
}

void
fake_paths_reset(void)
{
	struct rtrs_path_addr addr = {.fabric = fabric_by_name("tcp")};
	char err[64];

	memset(&fake_paths, 0, sizeof(fake_paths));
	op = NULL;
	asked = NULL;
	atomic_store(&fake_paths.why, "");
	rtrs_addr_parse_ip("127.0.0.1", 1234, &addr.dst, &addr.dst_len, err,
			   sizeof(err));
	add(&addr, RTRS_CLT_CONNECTED);
	fake_paths.path[0].actual.peer = addr.dst;
	fake_paths.path[0].actual.local = addr.dst;
	fake_paths.path[0].stats = (struct rtrs_clt_stats){
		.rd_cnt = 1,
		.rd_bytes = 2,
		.wr_cnt = 3,
		.wr_bytes = 4,
		.inflight = 5,
		.failovers = 6,
		.reconnects_ok = 7,
		.reconnects_err = 8,
		.hb_latency_ns = 9,
		.hb_latency_min_ns = 5,
	};
	fake.on_progress = fake_paths_progress;
}

void
fake_paths_progress(void)
{
	int err = atomic_load(&fake_paths.end_err);
	const char *why = atomic_load(&fake_paths.why);

	if (fake.freeing)
		err = -ESHUTDOWN;
	else if (atomic_load(&fake_paths.hold))
		return;
	if (op) {
		struct rtrs_clt_path_op *done = op;
		struct rtrs_clt_path_info *p = find(op->path_id);

		op = NULL;
		if (p && !err) {
			p->state = to_state;
			p->held_down = to_state == RTRS_CLT_CLOSED;
			if (removing)
				*p = fake_paths.path[--fake_paths.n];
		}
		done->done(done, err, err ? why : "");
	}
	if (asked) {
		rnbd_clt_asked_fn fn = asked;

		asked = NULL;
		fn(asked_user, err, fake_paths.dev_size, err ? why : "");
	}
}

static int
begin(unsigned id, enum rtrs_clt_path_state state, bool remove,
      struct rtrs_clt_path_op *o)
{
	int err = atomic_load(&fake_paths.begin_err);

	if (err)
		return err;
	if (op)
		return -EBUSY;
	o->path_id = id;
	op = o;
	to_state = state;
	removing = remove;
	return 0;
}

int
rtrs_clt_add_path(struct rtrs_clt *clt, const struct rtrs_path_addr *addr,
		  struct rtrs_clt_path_op *o)
{
	int err = begin(fake_paths.last_id + 1, RTRS_CLT_CONNECTED, false, o);

	if (!err)
		add(addr, RTRS_CLT_CONNECTING);
	return err;
}

int
rtrs_clt_remove_path(struct rtrs_clt *clt, unsigned id,
		     struct rtrs_clt_path_op *o)
{
	return begin(id, RTRS_CLT_CLOSED, true, o);
}

int
rtrs_clt_disconnect_path(struct rtrs_clt *clt, unsigned id,
			 struct rtrs_clt_path_op *o)
{
	return begin(id, RTRS_CLT_CLOSED, false, o);
}

int
rtrs_clt_reconnect_path(struct rtrs_clt *clt, unsigned id,
			struct rtrs_clt_path_op *o)
{
	return begin(id, RTRS_CLT_CONNECTED, false, o);
}

int
rtrs_clt_path_info(const struct rtrs_clt *clt, unsigned i,
		   struct rtrs_clt_path_info *ret)
{
	if (i >= fake_paths.n)
		return -EINVAL;
	*ret = fake_paths.path[i];
	return 0;
}

int
rtrs_clt_path_stats_reset(struct rtrs_clt *clt, unsigned id)
{
	struct rtrs_clt_path_info *p = find(id);

	if (!p)
		return -ENOENT;
	p->stats = (struct rtrs_clt_stats){.inflight = p->stats.inflight};
	return 0;
}

enum rtrs_mp_policy
rtrs_clt_policy(const struct rtrs_clt *clt)
{
	return fake_paths.policy;
}

void
rtrs_clt_set_policy(struct rtrs_clt *clt, enum rtrs_mp_policy policy)
{
	fake_paths.policy = policy;
}

unsigned
rtrs_clt_queue_depth(const struct rtrs_clt *clt)
{
	return 64;
}

uint32_t
rtrs_clt_max_io_size(const struct rtrs_clt *clt)
{
	return 65536;
}

void
rnbd_clt_stats(const struct rnbd_clt *c, struct rnbd_clt_stats *ret)
{
	*ret = (struct rnbd_clt_stats){
		.held = 11, .resent = 12, .timeouts = 13};
}

void
rnbd_clt_for_each_dev(const struct rnbd_clt *c,
		      void (*fn)(void *user,
				 const struct rnbd_clt_dev_info *info),
		      void *user)
{
	struct rnbd_clt_dev_info info = {
		.name = "disk",
		.state = "open",
		.why = "",
		.mode = RNBD_ACCESS_RW,
		.users = 2,
		.id = 77,
		.geo = {.size_bytes = fake_paths.dev_size,
			.logical_block_size = 512},
	};

	if (fake_paths.dev_size)
		fn(user, &info);
}

int
rnbd_clt_dev_ask(struct rnbd_clt *c, const char *name, enum rnbd_clt_ask what,
		 rnbd_clt_asked_fn fn, void *user, char *text, size_t text_len)
{
	int err = atomic_load(&fake_paths.begin_err);

	if (!err && (!fake_paths.dev_size || strcmp(name, "disk")))
		err = -ENOENT;
	if (!err && asked)
		err = -EBUSY;
	if (err) {
		snprintf(text, text_len, "it is as it is");
		return err;
	}
	asked = fn;
	asked_user = user;
	atomic_fetch_add(&fake_paths.asked, 1);
	atomic_fetch_add(&fake_paths.remaps, what == RNBD_CLT_REMAP);
	return 0;
}
