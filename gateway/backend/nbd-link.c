/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Losing the server, holding requests, finding it again, and the end.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "gateway/backend/cancel.h"
#include "gateway/backend/nbd.h"

#define BACKOFF_MIN (100 * NSEC_PER_MSEC)
#define BACKOFF_MAX NSEC_PER_SEC
/* A connection that was up for less is no reason to hurry to the next. */
#define LIVE_ENOUGH NSEC_PER_SEC
/* How often within the time that a server may be silent it is looked at. */
#define LOOKS       6

static uint64_t
now(const struct nbd_backend *b)
{
	return b->events->ops->now(b->events);
}

static struct gw_name_text
where(const struct nbd_backend *b)
{
	return gw_name_text(b->params.where);
}

static bool
is_away(const struct nbd_backend *b)
{
	return b->state == NBD_LOSING || b->state == NBD_CONNECTING;
}

/* Once detached, nothing is held, and only those are waited for who may still
 * execute something: see nbd_detach(). */
static bool
may_give_up(const struct nbd_backend *b)
{
	return is_away(b) && !b->given_up && !b->detach_io;
}

static uint64_t
hold_until(const struct nbd_backend *b)
{
	return b->lost_at + b->params.hold_ns;
}

static void
set_alarm(struct nbd_backend *b)
{
	uint64_t due = time_min(b->retry_at, b->look_at);
	int err;

	if (may_give_up(b))
		due = time_min(due, hold_until(b));
	err = b->events->ops->set(b->events, b->alarm, due);
	if (err)
		log_err(b->log, "NBD server %s: cannot set a timer: %s",
			where(b).s, strerrordesc_np(-err));
}

/* ----------------------------------------------------- held and given up */

static int
by_seq(const struct nbd_req *a, const struct nbd_req *b)
{
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

/* Nobody will serve it. */
static void
abandon(struct nbd_backend *b, struct nbd_req *req)
{
	nbd_complete(b, req, req->was_sent ? -EIO : -ECANCELED);
}

void
nbd_hold(struct nbd_backend *b, struct nbd_req *req)
{
	uint64_t t = now(b);

	if (!req->held_since)
		req->held_since = t;
	/* The last: a request that makes each new server die ends, too. */
	if (b->detach_io || b->given_up || b->state == NBD_FAILED ||
	    t - req->held_since >= b->params.hold_ns + NSEC_PER_SEC) {
		abandon(b, req);
		return;
	}
	/* From its start: the server may have forgotten the first pieces. */
	nbd_io_of(req)->progress = 0;
	DL_INSERT_INORDER(b->held, req, by_seq);
}

/* Ends each request of a list. What their owners submit now fails as well, or
 * is held; the caller settles. */
static void
fail_all(struct nbd_backend *b, struct nbd_req **list)
{
	struct nbd_req *req;
	bool outer = b->reaping;

	b->reaping = true;
	while ((req = *list)) {
		DL_DELETE(*list, req);
		abandon(b, req);
	}
	b->reaping = outer;
}

/*
 * Closes all connections, and with them what is under way. libnbd ends some of
 * it as it does so, if the farewell finds nobody; the rest it forgets.
 */
static void
drop_and_fail(struct nbd_backend *b)
{
	nbd_drop(b);
	fail_all(b, &b->ended);
	fail_all(b, &b->sent);
}

static unsigned
count(struct nbd_req *list)
{
	struct nbd_req *req;
	unsigned n;

	DL_COUNT(list, req, n);
	return n;
}

static void
give_up(struct nbd_backend *b)
{
	b->given_up = true;
	log_err(b->log,
		"NBD server %s: away for %llu s: %u requests fail, and all "
		"others until it is back",
		where(b).s,
		(unsigned long long)(b->params.hold_ns / NSEC_PER_SEC),
		count(b->held) + count(b->sent));
	/* Those on other connections, which were waited for in vain. */
	drop_and_fail(b);
	fail_all(b, &b->held);
}

/* ------------------------------------------------------------------ lost */

void
nbd_lost(struct nbd_backend *b, const char *reason)
{
	char text[GW_TEXT_MAX];

	if (b->state != NBD_LIVE)
		return;
	b->state = NBD_LOSING;
	b->lost_at = now(b);
	/* With no time to hold anything, the alarm gives up at once. */
	b->given_up = false;
	b->failure_said = false;
	gw_text_printable(text, sizeof(text), reason);
	if (b->detach_io) {
		log_warn(b->log, "NBD server %s: lost: %s; its requests fail",
			 where(b).s, text);
		return;
	}
	log_warn(b->log,
		 "NBD server %s: lost: %s; requests are held for %llu s",
		 where(b).s, text,
		 (unsigned long long)(b->params.hold_ns / NSEC_PER_SEC));
}

/* ----------------------------------------------------- somebody there? */

void
nbd_look_later(struct nbd_backend *b)
{
	/* Rarely: it goes on by itself while anything is under way. */
	if (!b->is_tcp || b->look_at != TIME_NEVER)
		return;
	b->look_at = now(b) + b->silence_ns / LOOKS;
	set_alarm(b);
}

/*
 * A machine that is gone sends no farewell. Where nothing is under way, the
 * system's keepalive notices; where something is, it does not look. A server
 * that is there and does not answer is waited for, however long.
 *
 * What this cannot tell is a machine that is gone from one that the network
 * keeps apart: what such a server has in its queue when it is given up may be
 * executed after what is sent to it again. NBD has no way to prevent it; see
 * rnbd-gatewayd(8).
 */
static void
look(struct nbd_backend *b, uint64_t t)
{
	char reason[GW_TEXT_MAX];

	snprintf(reason, sizeof(reason), "no sign of life for %llu s",
		 (unsigned long long)(b->silence_ns / NSEC_PER_SEC));
	for (unsigned i = 0; i < b->n_conns; i++) {
		struct nbd_conn *c = &b->conns[i];

		if (!c->watch)
			continue;
		if (!c->n_sent)
			c->silence = (struct nbd_silence){0};
		else if (nbd_sock_is_dead(nbd_aio_get_fd(c->h), &c->silence, t,
					  b->silence_ns))
			nbd_cut(c, reason);
	}
	b->look_at = b->sent ? t + b->silence_ns / LOOKS : TIME_NEVER;
	nbd_reap(b);
}

/*
 * Nothing is under way any more. What was acknowledged and not flushed is as
 * safe as the server's cache is; nobody can ask the next server about it.
 */
static void
note_lost_writes(struct nbd_backend *b)
{
	uint64_t n = b->n_written - b->n_durable;

	if (!n || !b->first.flush)
		return;
	b->n_durable = b->n_written;
	b->base.losses++;
	b->flush_lies |= b->params.fail_lost_writes;
	log_warn(b->log,
		 "NBD server %s: it had acknowledged %llu writes that were not "
		 "flushed yet: if it lost its cache, they are lost%s",
		 where(b).s, (unsigned long long)n,
		 b->flush_lies ? ", so the next flush fails" : "");
}

/* ------------------------------------------------------------- reconnect */

/* NULL, or in which way the server is less than it was. */
static const char *
shortcoming(const struct nbd_backend *b, const struct nbd_facts *f,
	    char text[GW_TEXT_MAX])
{
	const struct backend_geometry *geo = &b->base.geo;

	if (f->size < geo->size_bytes)
		snprintf(text, GW_TEXT_MAX,
			 "has shrunk from %llu to %llu bytes",
			 (unsigned long long)geo->size_bytes,
			 (unsigned long long)f->size);
	else if (f->read_only && !geo->read_only)
		snprintf(text, GW_TEXT_MAX, "is read-only now");
	else if (f->min_block > geo->logical_block_size)
		snprintf(text, GW_TEXT_MAX, "has blocks of %u bytes now",
			 f->min_block);
	else if (f->max_payload < geo->logical_block_size)
		snprintf(text, GW_TEXT_MAX, "takes only %u bytes at once now",
			 f->max_payload);
	else if (geo->writeback && !f->flush)
		snprintf(text, GW_TEXT_MAX, "cannot flush any more");
	else if (geo->fua && !f->fua)
		snprintf(text, GW_TEXT_MAX, "knows no FUA any more");
	else
		return NULL;
	return text;
}

static void connect_work(struct gw_job *job);
static void connect_done(struct gw_job *job);

static void
start_connecting(struct nbd_backend *b)
{
	struct gw_exec *exec = b->events->exec;

	b->retry_at = TIME_NEVER;
	b->connecting = true;
	b->job = (struct gw_job){.work = connect_work, .done = connect_done};
	exec->run(exec, &b->job);
}

static void
connect_later(struct nbd_backend *b)
{
	b->backoff = b->backoff * 2;
	if (b->backoff < BACKOFF_MIN)
		b->backoff = BACKOFF_MIN;
	if (b->backoff > BACKOFF_MAX)
		b->backoff = BACKOFF_MAX;
	b->retry_at = now(b) + b->backoff;
}

static void
connect_work(struct gw_job *job)
{
	struct nbd_backend *b = container_of(job, struct nbd_backend, job);

	b->found_err = nbd_set_connect(&b->params, b->cancel_fd, &b->found,
				       b->found_text);
}

static void
connect_failed(struct nbd_backend *b, const char *text)
{
	log_at(b->log, b->failure_said ? LOG_LVL_DEBUG : LOG_LVL_WARNING,
	       "%s; trying again", text);
	b->failure_said = true;
	connect_later(b);
}

/* The server is back, as it was. */
static void
resume(struct nbd_backend *b)
{
	struct nbd_req *held = b->held, *req, *next;
	uint64_t t = now(b);

	log_warn(b->log,
		 "NBD server %s: back after %llu ms, with %u connections; %u "
		 "requests are sent again",
		 where(b).s,
		 (unsigned long long)((t - b->lost_at) / NSEC_PER_MSEC),
		 b->n_conns, count(held));
	b->state = NBD_LIVE;
	b->live_since = t;
	b->given_up = false;
	b->held = NULL;
	b->reaping = true;
	DL_FOREACH_SAFE(held, req, next) {
		if (b->state == NBD_LIVE)
			nbd_send(b, req);
		else
			nbd_hold(b, req);
	}
	b->reaping = false;
	nbd_reap(b);
}

static void
take_found(struct nbd_backend *b)
{
	char text[GW_TEXT_MAX];
	const char *less = shortcoming(b, &b->found.facts, text);

	if (less) {
		log_err(b->log,
			"NBD server %s: it is back, but the export %s: all "
			"requests fail until the device is opened again",
			where(b).s, less);
		nbd_set_close(&b->found);
		b->state = NBD_FAILED;
		fail_all(b, &b->held);
		return;
	}
	if (nbd_adopt(b, &b->found) < 0) {
		gw_text_err(text, 0, "NBD server %s: out of memory",
			    where(b).s);
		connect_failed(b, text);
		return;
	}
	resume(b);
}

static void
connect_done(struct gw_job *job)
{
	struct nbd_backend *b = container_of(job, struct nbd_backend, job);

	b->connecting = false;
	if (b->detach_io) {
		if (!b->found_err)
			nbd_set_close(&b->found);
	} else if (b->found_err) {
		connect_failed(b, b->found_text);
	} else {
		take_found(b);
	}
	nbd_settle(b);
}

/* --------------------------------------------------------------- the end */

static void
finish(struct nbd_backend *b)
{
	struct backend_io *io = b->detach_io;

	b->detach_io = NULL;
	nbd_unwatch(b);
	nbd_link_deinit(b);
	io->done(io, 0);
}

void
nbd_settle(struct nbd_backend *b)
{
	bool quiet = !b->sent && !b->ended;

	if (b->reaping || (b->state == NBD_LIVE && !b->detach_io))
		return;
	if (b->state == NBD_LOSING && quiet) {
		nbd_drop(b);
		note_lost_writes(b);
		b->state = NBD_CONNECTING;
		if (b->detach_io) {
			b->retry_at = TIME_NEVER;
		} else if (now(b) - b->live_since < LIVE_ENOUGH) {
			connect_later(b);
		} else {
			b->backoff = 0;
			start_connecting(b);
		}
	}
	if (b->detach_io && quiet && !b->held && !b->connecting)
		finish(b);
	else
		set_alarm(b);
}

static void
on_alarm(void *user)
{
	struct nbd_backend *b = user;
	uint64_t t = now(b);

	if (may_give_up(b) && t >= hold_until(b))
		give_up(b);
	if (t >= b->look_at)
		look(b, t);
	if (t >= b->retry_at && !b->detach_io)
		start_connecting(b);
	/* The clock of the loop is another one: this may have been early. */
	set_alarm(b);
	nbd_settle(b);
}

/*
 * What was sent on a connection that still stands can be executed at any time
 * until it is answered. It is waited for without limit, as for a disk: the
 * client's next session is let in when this one has ended, sends again what was
 * not answered, and writes over it; something older must not come after that.
 * That is so in LOSING too, for the connections that are left.
 *
 * Connections that are lost are not waited for. What their server had in its
 * queue, if it lives, can be late: that is as with all that is sent again.
 */
void
nbd_detach(struct backend *base, struct backend_io *io)
{
	struct nbd_backend *b = nbd_of(base);

	if (b->sent)
		log_info(b->log,
			 "NBD server %s: the end waits for %u requests that it "
			 "has",
			 where(b).s, count(b->sent));
	b->detach_io = io;
	b->retry_at = TIME_NEVER;
	gw_cancel(b->cancel_fd, b->log);
	fail_all(b, &b->held);
	nbd_settle(b);
}

int
nbd_link_init(struct nbd_backend *b)
{
	int err;

	b->cancel_fd = gw_cancel_new();
	if (b->cancel_fd < 0)
		return b->cancel_fd;
	err = b->events->ops->alarm(b->events, on_alarm, b, &b->alarm);
	if (err) {
		close(b->cancel_fd);
		return err;
	}
	b->retry_at = TIME_NEVER;
	b->look_at = TIME_NEVER;
	b->live_since = now(b);
	return 0;
}

void
nbd_link_deinit(struct nbd_backend *b)
{
	b->events->ops->unalarm(b->events, b->alarm);
	b->alarm = NULL;
	close(b->cancel_fd);
}
