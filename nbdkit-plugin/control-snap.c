/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies of what the session knows, taken under its lock and read without. */
#include "nbdkit-plugin/control-priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Its device and names. */
static void
name_path(struct snap_path *p)
{
	const struct rtrs_clt_path_info *info = &p->info;
	const struct fabric_ops *fabric = info->addr.fabric;
	char src[RTRS_ADDR_TEXT_MAX], dst[RTRS_ADDR_TEXT_MAX];

	(void)rtrs_addr_text(fabric, &info->addr.dst, dst);
	if (info->addr.src_len) {
		rtrs_addr_host_text(fabric, &info->addr.src, src);
		snprintf(p->route, sizeof(p->route), "%s@%s", src, dst);
	} else {
		snprintf(p->route, sizeof(p->route), "%s", dst);
	}
	if (!info->actual.peer.ss_family) { /* it never was connected */
		rtrs_addr_host_text(fabric, &info->addr.dst, dst);
		snprintf(p->name, sizeof(p->name), "%s%s%s",
			 info->addr.src_len ? src : "",
			 info->addr.src_len ? "@" : "", dst);
		return;
	}
	rtrs_addr_host_text(fabric, &info->actual.local, src);
	rtrs_addr_host_text(fabric, &info->actual.peer, dst);
	snprintf(p->name, sizeof(p->name), "%s@%s", src, dst);
}

static void
add_device(void *user, const struct rnbd_clt_dev_info *info)
{
	struct snap *s = user;
	struct snap_device *d;

	if (s->n_devices == s->room) {
		unsigned room = s->room ? 2 * s->room : 16;

		d = reallocarray(s->devices, room, sizeof(*d));
		if (!d) {
			s->no_memory = true;
			return;
		}
		s->devices = d;
		s->room = room;
	}
	d = &s->devices[s->n_devices++];
	d->info = *info;
	snprintf(d->name, sizeof(d->name), "%s", info->name);
	snprintf(d->why, sizeof(d->why), "%s", info->why);
}

static bool
take(struct rnbd_clt *clt, void *arg)
{
	struct snap *s = arg;
	const struct rtrs_clt *rtrs;

	s->up = s->failed = s->no_memory = false;
	s->n_paths = s->n_devices = s->queue_depth = 0;
	s->max_io_size = 0;
	s->stats = (struct rnbd_clt_stats){0};
	snprintf(s->why, sizeof(s->why), "the session was not opened yet");
	if (!clt)
		return false;
	rtrs = rnbd_clt_rtrs(clt);
	s->up = rnbd_clt_is_up(clt);
	s->failed = rnbd_clt_failed(clt);
	snprintf(s->why, sizeof(s->why), "%s",
		 s->up ? "" : rtrs_clt_why_down(rtrs));
	s->policy = rtrs_clt_policy(rtrs);
	if (s->up) {
		s->queue_depth = rtrs_clt_queue_depth(rtrs);
		s->max_io_size = rtrs_clt_max_io_size(rtrs);
	}
	rnbd_clt_stats(clt, &s->stats);
	while (s->n_paths < RTRS_MAX_PATHS) {
		struct snap_path *p = &s->paths[s->n_paths];

		if (rtrs_clt_path_info(rtrs, s->n_paths, &p->info))
			break;
		snprintf(p->why, sizeof(p->why), "%s", p->info.why);
		snprintf(p->hca_name, sizeof(p->hca_name), "%s",
			 p->info.hca_name);
		s->n_paths++;
	}
	rnbd_clt_for_each_dev(clt, add_device, s);
	return false;
}

bool
snap_take(struct clt_control *cc, struct control_call *call)
{
	struct snap *s = cc->snap;

	rnbd_wait_with(cc->p.wait, take, s);
	if (s->no_memory) {
		control_fail(call, CONTROL_INTERNAL, "out of memory");
		return false;
	}
	for (unsigned i = 0; i < s->n_paths; i++) {
		s->paths[i].info.why = s->paths[i].why;
		s->paths[i].info.hca_name = s->paths[i].hca_name;
		name_path(&s->paths[i]);
	}
	for (unsigned i = 0; i < s->n_devices; i++) {
		s->devices[i].info.name = s->devices[i].name;
		s->devices[i].info.why = s->devices[i].why;
	}
	return true;
}

/* ---------------------------------------------------------------- paths */

bool
snap_path_is(const struct snap_path *path, const char *name)
{
	const struct rtrs_path_addr *addr = &path->info.addr;
	char text[RTRS_ADDR_TEXT_MAX];

	if (!strcmp(name, path->name) || !strcmp(name, path->route))
		return true;
	snprintf(text, sizeof(text), "%u", path->info.id);
	if (!strcmp(name, text))
		return true;
	(void)rtrs_addr_text(addr->fabric, &addr->dst, text);
	if (!strcmp(name, text))
		return true;
	rtrs_addr_host_text(addr->fabric, &addr->dst, text);
	return !strcmp(name, text);
}

const struct snap_path *
snap_find_path(const struct clt_control *cc, const char *name,
	       struct control_call *call)
{
	const struct snap_path *found = NULL;
	const struct snap *s = cc->snap;

	for (unsigned i = 0; i < s->n_paths; i++) {
		if (!snap_path_is(&s->paths[i], name))
			continue;
		if (found) {
			control_fail(call, CONTROL_INVALID_PARAMS,
				     "path '%s' is more than one; name it by "
				     "its number (id): %u, %u, ...",
				     name, found->info.id, s->paths[i].info.id);
			return NULL;
		}
		found = &s->paths[i];
	}
	if (!found)
		control_fail(call, CONTROL_NOT_FOUND,
			     "session '%s' has no path '%s'", cc->p.sessname,
			     name);
	return found;
}

/* --------------------------------------------------------------- counts */

struct counted {
	struct clt_control *cc;
	const struct rnbd_dev_stats *ds;
	struct rnbd_op_stats *op;
};

static bool
next_counted(struct rnbd_clt *clt, void *arg)
{
	struct counted *c = arg;

	c->ds = c->ds ? c->ds->next : rnbd_stats_first(c->cc->p.stats);
	return false;
}

const struct rnbd_dev_stats *
snap_counted(struct clt_control *cc, const struct rnbd_dev_stats *ds)
{
	struct counted c = {.cc = cc, .ds = ds};

	rnbd_wait_with(cc->p.wait, next_counted, &c);
	return c.ds;
}

static bool
copy_counted(struct rnbd_clt *clt, void *arg)
{
	struct counted *c = arg;

	memcpy(c->op, c->ds->op, sizeof(c->ds->op));
	return false;
}

/* The largest value stays that since the start. */
static void
subtract(struct rnbd_op_stats *o, const struct rnbd_op_stats *base)
{
	o->bytes -= base->bytes;
	o->errors -= base->errors;
	hist_subtract(&o->latency, &base->latency);
}

void
snap_counts(struct clt_control *cc, const struct rnbd_dev_stats *ds, bool all,
	    struct rnbd_op_stats ret[RNBD_CLT_N_OPS])
{
	struct counted c = {.cc = cc, .ds = ds, .op = ret};

	rnbd_wait_with(cc->p.wait, copy_counted, &c);
	for (const struct dev_base *b = cc->bases; b && !all; b = b->next)
		for (int op = 0; b->stats == ds && op < RNBD_CLT_N_OPS; op++)
			subtract(&ret[op], &b->op[op]);
}
