/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NBD servers that hang and NBD servers that are gone: what is under way is
 * executed once, and nothing older after something newer.
 */
#include <errno.h>
#include <event2/event.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "gateway/backend/nbd.h"
#include "gateway/worker-events.h"
#include "tests/unit/backend/fake-nbd.h"
#include "tests/unit/backend/rig.h"

#define MS NSEC_PER_MSEC

/* ---------------------------------------------------------- the judgement */

/* Looks each second from the first on, at most n times, at what the system
 * says; the second at which the peer was called dead, or 0. */
struct moment {
	unsigned tries, heard_s;
};

static unsigned
judge(const struct moment *m, unsigned n)
{
	struct nbd_silence s = {0};

	for (unsigned i = 0; i < n; i++) {
		const struct nbd_line line = {
			.tries = m[i].tries,
			.heard_ns = m[i].heard_s * NSEC_PER_SEC,
		};

		if (nbd_silence_is_death(&s, &line, (1000 + i) * NSEC_PER_SEC,
					 4 * NSEC_PER_SEC))
			return i;
	}
	return 0;
}

START_TEST(gone_is_who_does_not_answer_several_tries_for_long)
{
	/* Heard last when it was idle, long ago. */
	static const struct moment gone[] = {
		{0, 500}, {1, 501}, {2, 502}, {3, 503}, {4, 504}, {4, 505},
	};
	/* Tries that were before the first look do not count. */
	static const struct moment late[] = {
		{5, 500}, {5, 501}, {6, 502}, {6, 503},
		{7, 504}, {7, 505}, {8, 506},
	};

	ck_assert_uint_eq(judge(gone, ARRAY_SIZE(gone)), 4);
	ck_assert_uint_eq(judge(late, ARRAY_SIZE(late)), 6);
}
END_TEST

START_TEST(alive_is_who_answers_or_was_hardly_asked)
{
	/* Nothing to answer: all is acknowledged. */
	static const struct moment quiet[] = {
		{0, 9}, {0, 10}, {0, 11}, {0, 12}, {0, 13}, {0, 14}, {0, 15},
	};
	/* No room, and asked seldom; one probe is under way, or lost. */
	static const struct moment full[] = {
		{0, 9},  {1, 10}, {1, 11}, {1, 12}, {1, 13}, {1, 14},
		{1, 15}, {2, 16}, {2, 17}, {0, 0},  {0, 1},  {1, 2},
	};
	/* Answers that acknowledge nothing new; the tries add up. */
	static const struct moment stubborn[] = {
		{1, 0}, {2, 0}, {3, 1}, {3, 2}, {3, 3}, {3, 4}, {3, 5},
		{4, 0}, {4, 1}, {4, 2}, {4, 3}, {4, 4}, {4, 5}, {5, 0},
	};

	ck_assert_uint_eq(judge(quiet, ARRAY_SIZE(quiet)), 0);
	ck_assert_uint_eq(judge(full, ARRAY_SIZE(full)), 0);
	ck_assert_uint_eq(judge(stubborn, ARRAY_SIZE(stubborn)), 0);
}
END_TEST

/* ---------------------------------------------------------------- the rig */

#define MAX_IOS   32
#define MAX_WRITE (512u << 10)

struct link_io {
	struct backend_io io;
	int err;
	unsigned n_done;
};

static struct rig rig;
static struct fake_nbd server;
static struct loop *loop;
static struct loop_watch *exec_watch;
static struct worker_events events;
static struct backend *backend;
static struct link_io ios[MAX_IOS], detach_io;
static unsigned n_pending;
static uint8_t *data;

static void
on_exec(void *user)
{
	gw_pool_exec_reap(rig.pexec);
}

static struct nbd_backend *
nbd(void)
{
	return nbd_of(backend);
}

static void
begin(const char *options, bool multi_conn)
{
	char path[128], text[GW_TEXT_MAX] = "";
	struct backend_open_params p = {
		.log = &rig.log,
		.fd = -1,
		.path = path,
		.cancel_fd = -1,
		.events = &events.base,
		.err_text = text,
	};

	rig_init(&rig, true);
	fake_nbd_init(&server, multi_conn);
	ck_assert_int_eq(loop_new(&loop), 0);
	ck_assert_int_eq(loop_watch_fd(loop, gw_pool_exec_fd(rig.pexec),
				       on_exec, NULL, &exec_watch),
			 0);
	worker_events_init(&events, loop, rig.exec);
	p.exec = rig.exec;
	snprintf(path, sizeof(path), "nbd://127.0.0.1:%u%s", server.port,
		 options);
	ck_assert_msg(!backend_nbd.open(&p, &backend), "%s", text);
	ck_assert_int_eq(backend_nbd.attach(backend), 0);
	memset(ios, 0, sizeof(ios));
	memset(&detach_io, 0, sizeof(detach_io));
	n_pending = 0;
	data = rig_buf(MAX_WRITE);
	memset(data, 0x5a, MAX_WRITE);
}

static void
on_done(struct backend_io *io, int err)
{
	struct link_io *l = container_of(io, struct link_io, io);

	l->err = err;
	l->n_done++;
	n_pending--;
}

static void
write_some(unsigned first, unsigned n, uint64_t len)
{
	for (unsigned i = first; i < first + n; i++) {
		ios[i].io = (struct backend_io){
			.op = BACKEND_WRITE,
			.len = len,
			.buf = data,
			.done = on_done,
		};
		n_pending++;
		backend_nbd.submit(backend, &ios[i].io);
	}
}

static void
start_detach(void)
{
	detach_io.io.done = on_done;
	n_pending++;
	backend_nbd.detach(backend, &detach_io.io);
}

static void
run_once(void)
{
	ck_assert_int_ge(event_base_loop(loop_base(loop), EVLOOP_ONCE), 0);
}

/* Until nothing is under way any more. */
static void
run_all(void)
{
	while (n_pending)
		run_once();
}

static void
on_time(void *user)
{
	*(bool *)user = true;
}

/* What is not to happen has that much time to happen. */
static void
run_for(uint64_t ns)
{
	const struct gw_events_ops *ops = events.base.ops;
	struct gw_alarm *a;
	bool over = false;

	ck_assert_int_eq(ops->alarm(&events.base, on_time, &over, &a), 0);
	ck_assert_int_eq(ops->set(&events.base, a, ops->now(&events.base) + ns),
			 0);
	while (!over)
		run_once();
	ops->unalarm(&events.base, a);
}

static void
check_all(unsigned first, unsigned n, int err)
{
	for (unsigned i = first; i < first + n; i++) {
		ck_assert_uint_eq(ios[i].n_done, 1);
		ck_assert_int_eq(ios[i].err, err);
	}
}

static bool
was_logged(const char *words)
{
	for (unsigned i = 0; i < RIG_LOG_LINES; i++)
		if (strstr(rig.log_lines[i], words))
			return true;
	return false;
}

static void
end(void)
{
	if (!detach_io.io.done)
		start_detach();
	run_all();
	ck_assert_uint_eq(detach_io.n_done, 1);
	ck_assert_uint_eq(events.n_watches, 0);
	backend_nbd.close(backend);
	loop_unwatch(exec_watch);
	loop_free(loop);
	fake_nbd_deinit(&server);
	rig_deinit(&rig);
	free(data);
}

/* ------------------------------------------------------------------- TCP */

START_TEST(server_that_has_no_room_for_long_is_waited_for)
{
	int unsent;

	begin("", false);
	nbd()->silence_ns = 300 * MS;
	fake_nbd_stop(&server, true);
	write_some(0, MAX_IOS, MAX_WRITE);
	run_for(2500 * MS);
	ck_assert_uint_eq(n_pending, MAX_IOS);
	/* It is full, and was all the time. */
	ck_assert_int_eq(
		ioctl(nbd_aio_get_fd(nbd()->conns[0].h), SIOCOUTQ, &unsent), 0);
	ck_assert_int_gt(unsent, 0);
	ck_assert_uint_eq(fake_nbd_n_writes(&server, 0), 0);
	fake_nbd_stop(&server, false);
	run_all();
	check_all(0, MAX_IOS, 0);
	ck_assert_uint_eq(fake_nbd_n_conns(&server), 1);
	ck_assert_uint_eq(fake_nbd_n_writes(&server, 0), MAX_IOS);
	end();
}
END_TEST

START_TEST(server_that_reads_and_does_not_answer_is_waited_for)
{
	begin("", false);
	nbd()->silence_ns = 200 * MS;
	fake_nbd_stop(&server, true);
	write_some(0, 2, 512);
	run_for(1000 * MS);
	ck_assert_uint_eq(n_pending, 2);
	fake_nbd_stop(&server, false);
	run_all();
	check_all(0, 2, 0);
	ck_assert_uint_eq(fake_nbd_n_conns(&server), 1);
	end();
}
END_TEST

static uint16_t
local_port(unsigned i)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	ck_assert_int_eq(getsockname(nbd_aio_get_fd(nbd()->conns[i].h),
				     (struct sockaddr *)&sin, &len),
			 0);
	return ntohs(sin.sin_port);
}

/* Does the system know a connection from that port to the server, perhaps one
 * that is closed and still sends? */
static bool
is_connection(uint16_t port)
{
	FILE *f = fopen("/proc/net/tcp", "re");
	char line[512];
	bool found = false;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned from, to;

		if (sscanf(line, "%*u: %*x:%x %*x:%x", &from, &to) == 2)
			found |= from == port && to == server.port;
	}
	fclose(f);
	return found;
}

START_TEST(server_that_is_gone_is_noticed_and_gets_nothing_later)
{
	uint16_t port;

	begin("", false);
	port = local_port(0);
	ck_assert(is_connection(port));
	nbd()->silence_ns = 300 * MS;
	fake_nbd_deafen(&server, 0, true);
	write_some(0, 4, 4096);
	/* An alarm that comes early is not the last one. */
	ck_assert_int_eq(
		nbd()->events->ops->set(nbd()->events, nbd()->alarm, 1), 0);
	run_all();
	check_all(0, 4, 0);
	ck_assert(was_logged("lost: no sign of life"));
	ck_assert_uint_eq(fake_nbd_n_conns(&server), 2);
	ck_assert_uint_eq(fake_nbd_n_writes(&server, 1), 4);
	ck_assert(!is_connection(port));
	/* The first is back, and hears that nobody knows it any more. */
	fake_nbd_deafen(&server, 0, false);
	ck_assert_int_eq(fake_nbd_poke(&server, 0), ECONNRESET);
	ck_assert_uint_eq(fake_nbd_n_writes(&server, 0), 0);
	end();
}
END_TEST

/* --------------------------------------------------------------- the end */

START_TEST(end_waits_for_a_server_that_is_there)
{
	begin("", false);
	fake_nbd_stop(&server, true);
	write_some(0, 2, 4096);
	start_detach();
	run_for(300 * MS);
	ck_assert_uint_eq(n_pending, 3);
	/* It goes on with what it has, in order, before the end. */
	fake_nbd_stop(&server, false);
	while (n_pending > 1) {
		ck_assert_uint_eq(detach_io.n_done, 0);
		run_once();
	}
	check_all(0, 2, 0);
	ck_assert_uint_eq(fake_nbd_n_writes(&server, 0), 2);
	end();
}
END_TEST

START_TEST(end_waits_for_the_connections_that_are_left)
{
	begin("/,connections=2,hold=0", true);
	fake_nbd_stop(&server, true);
	write_some(0, 2, 4096);
	start_detach();
	fake_nbd_close(&server, 0);
	while (n_pending > 2)
		run_once();
	check_all(0, 1, -EIO);
	/* The time to hold is over, and the other may still be executed. */
	run_for(300 * MS);
	ck_assert_uint_eq(n_pending, 2);
	fake_nbd_stop(&server, false);
	run_all();
	check_all(1, 1, 0);
	ck_assert_uint_eq(fake_nbd_n_writes(&server, 1), 1);
	ck_assert_uint_eq(fake_nbd_n_conns(&server), 2);
	end();
}
END_TEST

START_TEST(end_does_not_wait_for_a_server_that_is_gone)
{
	begin("", false);
	nbd()->silence_ns = 300 * MS;
	fake_nbd_deafen(&server, 0, true);
	write_some(0, 2, 4096);
	start_detach();
	run_all();
	check_all(0, 2, -EIO);
	ck_assert_uint_eq(fake_nbd_n_conns(&server), 1);
	end();
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, gone_is_who_does_not_answer_several_tries_for_long);
	tcase_add_test(tc, alive_is_who_answers_or_was_hardly_asked);
	tcase_add_test(tc, server_that_has_no_room_for_long_is_waited_for);
	tcase_add_test(tc, server_that_reads_and_does_not_answer_is_waited_for);
	tcase_add_test(tc,
		       server_that_is_gone_is_noticed_and_gets_nothing_later);
	tcase_add_test(tc, end_waits_for_a_server_that_is_there);
	tcase_add_test(tc, end_waits_for_the_connections_that_are_left);
	tcase_add_test(tc, end_does_not_wait_for_a_server_that_is_gone);
}

int
main(void)
{
	return rig_main("nbd-link", add_tests);
}
