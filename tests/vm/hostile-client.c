/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that breaks each rule of RTRS and RNBD over RDMA, one after the
 * other, while another session of the same program obeys them all: after each
 * case that one must have gone on without an error. Output is TAP.
 *
 *   hostile-client [--kernel] [--port N] [--source ADDR] ADDR CALM DISK RODISK
 *                  [CASE...]
 *
 * CALM is the device of the session alongside, DISK may be overwritten, RODISK
 * is one that the server has read-only. --kernel: the server is the kernel's;
 * only what it survives is sent to it.
 */
#include "tests/vm/hostile.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct hostile_names names;
struct hostile_stranger stranger;

/* ------------------------------------------------------- session alongside */

#define CALM_LEN 4096

static struct {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	unsigned rounds; /* written, read back and compared */
	bool stop, failed;
	const char *device;
	struct case_run run;
} calm = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.moved = PTHREAD_COND_INITIALIZER,
};

static void
calm_round(struct peer *p, uint32_t dev, uint64_t n_sectors)
{
	uint64_t sector = (uint64_t)calm.rounds * (CALM_LEN / RNBD_SECTOR_SIZE);
	unsigned id = calm.rounds % p->rsp.queue_depth;
	uint8_t data[CALM_LEN];

	sector %= n_sectors - CALM_LEN / RNBD_SECTOR_SIZE + 1;
	for (unsigned i = 0; i < CALM_LEN; i++)
		data[i] = (uint8_t)(calm.rounds * 7 + i / 512 + i);
	peer_io_write(p, id, dev, sector, data, CALM_LEN, 0);
	memset(peer_room(p, id), 0xee, CALM_LEN);
	peer_io_read(p, id, dev, sector, CALM_LEN, 0);
	expect(!memcmp(peer_room(p, id), data, CALM_LEN),
	       "sector %llu reads back as something else",
	       (unsigned long long)sector);
}

static void
calm_run(void)
{
	struct rnbd_msg_open_rsp geo;
	struct peer *p = peer_up(peer_new(2));
	struct usr u = usr_sess_info(RNBD_PROTO_VER_MAJOR);
	struct peer_reply r;
	uint32_t dev;

	peer_read(p, 0, 0, u.b, u.len, RNBD_SESS_INFO_LEN);
	peer_replied(p, 0, 0);
	dev = peer_open_soon(p, calm.device, RNBD_ACCESS_RW, &geo);
	pthread_mutex_lock(&calm.lock);
	stranger.addr = p->chunks[0].addr;
	stranger.key = p->chunks[0].key;
	memcpy(stranger.name, p->name, sizeof(stranger.name));
	while (!calm.stop) {
		pthread_mutex_unlock(&calm.lock);
		calm_round(p, dev, geo.nsectors);
		/* A pause in which heartbeats are answered. */
		peer_wait(p, 10, &r);
		expect(!p->con[0]->gone && !p->con[1]->gone, "disconnected");
		pthread_mutex_lock(&calm.lock);
		calm.rounds++;
		pthread_cond_broadcast(&calm.moved);
	}
	pthread_mutex_unlock(&calm.lock);
}

static void
end_run(struct case_run *run)
{
	while (run->peers)
		peer_free(run->peers);
}

static bool
run_case(struct case_run *run, void (*fn)(void))
{
	case_run = run;
	run->why[0] = '\0';
	if (!setjmp(run->out)) {
		fn();
		end_run(run);
		return true;
	}
	end_run(run);
	return false;
}

static void *
calm_thread(void *unused)
{
	bool ok = run_case(&calm.run, calm_run);

	pthread_mutex_lock(&calm.lock);
	calm.failed = !ok;
	pthread_cond_broadcast(&calm.moved);
	pthread_mutex_unlock(&calm.lock);
	return unused;
}

/* Waits for two more rounds: one may have begun before. */
static bool
calm_goes_on(void)
{
	struct timespec ts;
	unsigned end;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 2 * PEER_MS / 1000;
	pthread_mutex_lock(&calm.lock);
	end = calm.rounds + 2;
	while (calm.rounds < end && !calm.failed && !r)
		r = pthread_cond_timedwait(&calm.moved, &calm.lock, &ts);
	r = r || calm.failed;
	pthread_mutex_unlock(&calm.lock);
	return !r;
}

/* ------------------------------------------------------------------- cases */

static const struct {
	const struct hostile_case *cases;
	const unsigned *n;
} groups[] = {
	{hostile_conn, &n_hostile_conn},
	{hostile_path, &n_hostile_path},
	{hostile_rnbd, &n_hostile_rnbd},
	{hostile_io, &n_hostile_io},
};

static bool
wanted(const struct hostile_case *c, char **only)
{
	if ((names.kernel && !c->kernel) ||
	    (names.without && !strcmp(names.without, c->name)))
		return false;
	if (!*only)
		return true;
	for (; *only; only++)
		if (!strcmp(*only, c->name))
			return true;
	return false;
}

static unsigned
run_all(char **only, unsigned *ret_n)
{
	unsigned n = 0, bad = 0;

	for (unsigned g = 0; g < ARRAY_SIZE(groups); g++) {
		for (unsigned i = 0; i < *groups[g].n; i++) {
			const struct hostile_case *c = &groups[g].cases[i];
			struct case_run run = {.peers = NULL};
			uint64_t start = rv_now_ms();
			bool ok;

			if (!wanted(c, only))
				continue;
			ok = run_case(&run, c->run);
			if (ok && !calm_goes_on()) {
				ok = false;
				snprintf(run.why, sizeof(run.why),
					 "the session alongside: %.200s",
					 calm.failed ? calm.run.why
						     : "stands still");
			}
			bad += !ok;
			printf("%sok %u - %s # %u ms\n", ok ? "" : "not ", ++n,
			       c->name, (unsigned)(rv_now_ms() - start));
			if (!ok)
				printf("# %s: %s\n", c->name, run.why);
			fflush(stdout);
		}
	}
	*ret_n = n;
	return bad;
}

static void
usage(void)
{
	fprintf(stderr, "usage: hostile-client [--kernel] [--port N] "
			"[--source ADDR] [--without CASE] ADDR CALM DISK "
			"RODISK [CASE...]\n");
	exit(2);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"kernel", no_argument, NULL, 'k'},
		{"port", required_argument, NULL, 'p'},
		{"source", required_argument, NULL, 's'},
		{"without", required_argument, NULL, 'w'},
		{NULL, 0, NULL, 0},
	};
	const char *source = NULL;
	unsigned port = RTRS_DEFAULT_PORT, n, bad;
	pthread_t thread;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'k':
			names.kernel = true;
			break;
		case 'p':
			port = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 's':
			source = optarg;
			break;
		case 'w':
			names.without = optarg;
			break;
		default:
			usage();
		}
	}
	if (argc - optind < 4)
		usage();
	argv += optind;
	calm.device = argv[1];
	names.disk = argv[2];
	names.ro = argv[3];
	peer_where.has_src = source;
	if (rv_addr(argv[0], port, &peer_where.dst) ||
	    (source && rv_addr(source, 0, &peer_where.src)))
		return 2;
	if (pthread_create(&thread, NULL, calm_thread, NULL))
		return 2;
	if (!calm_goes_on()) {
		printf("Bail out! the session alongside: %s\n", calm.run.why);
		return 1;
	}
	bad = run_all(argv + 4, &n);
	pthread_mutex_lock(&calm.lock);
	calm.stop = true;
	pthread_mutex_unlock(&calm.lock);
	pthread_join(thread, NULL);
	printf("1..%u\n# %u rounds of the session alongside\n", n, calm.rounds);
	return bad || !n ? 1 : 0;
}
