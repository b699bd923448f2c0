/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbd-check: random reads and overlapping writes from many connections to the
 * same blocks of NBD servers, each read judged (history.h).
 *
 *   nbd-check --disk URI[,URI...] [--disk ...] [options]
 *
 * Each --disk is a disk of its own; several URIs lead to the same one. It must
 * be zero where it is used. At the end every block is read once more. The exit
 * code is 0 if no read was wrong and no request failed, 1 otherwise.
 *
 * One thread, so the order in which it sees things is the order that counts.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libnbd.h>

#include "tests/load/history.h"

#define MAX_DISKS      64
#define MAX_URIS       256
#define MAX_DEPTH      64
#define MAX_COMPLAINTS 20

static struct {
	unsigned connections, depth, blocks, block_size, max_blocks;
	unsigned read_percent, fua_percent, flush_percent;
	double seconds;
	uint64_t seed;
	const char *ready; /* written to when I/O has gone through everywhere */
	bool allow_errors;
	bool quiet; /* errors are counted only */
	bool once;  /* no write is sent again */
} opt = {
	.connections = 2,
	.depth = 8,
	.blocks = 512,
	.block_size = 4096,
	.max_blocks = 40,
	.read_percent = 50,
	.fua_percent = 5,
	.flush_percent = 2,
	.seconds = 3,
	.seed = 1,
};

struct disk {
	struct history *history;
	unsigned n_cons;
};

struct con;

enum slot_op {
	SLOT_IDLE,
	SLOT_READ,
	SLOT_WRITE,
	SLOT_FLUSH
};

/* One request; the slot is its writer. */
struct slot {
	struct con *con;
	unsigned writer;
	uint64_t seq;
	enum slot_op op;
	uint64_t first, n; /* blocks */
	uint64_t begin;    /* of a read, for the history */
	uint64_t started;  /* ns */
	char *buf;
};

struct con {
	struct disk *disk;
	const char *uri;
	struct nbd_handle *nbd;
	bool dead;
	uint64_t done;
	struct slot slots[MAX_DEPTH];
};

static struct disk disks[MAX_DISKS];
static struct con *cons;
static unsigned n_disks, n_cons;
static uint64_t random_state;
static volatile sig_atomic_t interrupted;
static bool stopping;
static uint64_t sweep_next[MAX_DISKS];
static bool sweeping;

static struct {
	uint64_t reads, writes, flushes, errors, torn, wrong;
	uint64_t longest_ns;
} total;

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t
below(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 16) % n;
}

static void
die(const char *what)
{
	fprintf(stderr, "nbd-check: %s: %s\n", what,
		nbd_get_error() ? nbd_get_error() : "");
	exit(2);
}

static void
complain(const struct con *c, const char *why)
{
	if (++total.wrong <= MAX_COMPLAINTS)
		printf("WRONG: disk %td by %s: %s\n", c->disk - disks, c->uri,
		       why);
}

static void
judge(struct slot *s)
{
	struct history *h = s->con->disk->history;
	uint64_t version = 0;
	const char *why = NULL;

	for (uint64_t i = 0; i < s->n; i++) {
		const char *block = s->buf + i * opt.block_size;

		switch (block_check(block, opt.block_size, s->first + i,
				    &version)) {
		case BLOCK_WHOLE:
			why = history_saw(h, s->begin, s->first + i, version);
			break;
		case BLOCK_TORN:
			total.torn++;
			why = history_saw_torn(h, s->begin, s->first + i);
			break;
		case BLOCK_ALIEN:
			why = "a block has what was never written to it";
			break;
		}
		if (why)
			complain(s->con, why);
	}
}

static int
completed(void *user, int *error)
{
	struct slot *s = user;
	struct history *h = s->con->disk->history;
	uint64_t ns = now_ns() - s->started;
	bool ok = !*error;

	if (ns > total.longest_ns)
		total.longest_ns = ns;
	switch (s->op) {
	case SLOT_READ:
		if (ok)
			judge(s);
		history_read_end(h, s->first, s->n);
		total.reads++;
		break;
	case SLOT_WRITE:
		history_write_end(h, VERSION(s->writer, s->seq), s->first, s->n,
				  ok);
		total.writes++;
		break;
	case SLOT_FLUSH:
		total.flushes++;
		break;
	case SLOT_IDLE:
		break;
	}
	if (!ok && total.errors++ < MAX_COMPLAINTS && !opt.quiet)
		printf("error by %s: %s\n", s->con->uri, strerror(*error));
	s->op = SLOT_IDLE;
	s->con->done += ok;
	return 1;
}

/* Half of the load meets in a few blocks. */
static void
pick_range(struct slot *s)
{
	uint64_t span = below(2) ? opt.blocks : (opt.blocks + 31) / 32;

	s->first = below(span);
	s->n = 1 + (below(4) ? below(4) : below(opt.max_blocks));
	if (s->n > opt.max_blocks)
		s->n = opt.max_blocks;
	if (s->n > opt.blocks - s->first)
		s->n = opt.blocks - s->first;
}

static int64_t
send_write(struct slot *s)
{
	nbd_completion_callback cb = {.callback = completed, .user_data = s};
	uint32_t flags = 0;

	if (below(100) < opt.fua_percent && nbd_can_fua(s->con->nbd) > 0)
		flags = LIBNBD_CMD_FLAG_FUA;
	s->op = SLOT_WRITE;
	s->seq++;
	for (uint64_t i = 0; i < s->n; i++)
		block_fill(s->buf + i * opt.block_size, opt.block_size,
			   VERSION(s->writer, s->seq), s->first + i);
	history_write_begin(s->con->disk->history, VERSION(s->writer, s->seq),
			    s->first, s->n);
	return nbd_aio_pwrite(s->con->nbd, s->buf, s->n * opt.block_size,
			      s->first * opt.block_size, cb, flags);
}

static int64_t
send_read(struct slot *s)
{
	nbd_completion_callback cb = {.callback = completed, .user_data = s};

	s->op = SLOT_READ;
	s->begin = history_read_begin(s->con->disk->history, s->first, s->n);
	return nbd_aio_pread(s->con->nbd, s->buf, s->n * opt.block_size,
			     s->first * opt.block_size, cb, 0);
}

static void
send_next(struct slot *s)
{
	nbd_completion_callback cb = {.callback = completed, .user_data = s};
	int64_t r;
	int err;

	s->started = now_ns();
	pick_range(s);
	if (below(100) < opt.flush_percent && nbd_can_flush(s->con->nbd) > 0) {
		s->op = SLOT_FLUSH;
		r = nbd_aio_flush(s->con->nbd, cb, 0);
	} else if (below(100) < opt.read_percent) {
		r = send_read(s);
	} else {
		r = send_write(s);
	}
	if (r >= 0)
		return;
	/* Not sent; the callback was freed without a call. */
	err = nbd_get_errno() ? nbd_get_errno() : EIO;
	completed(s, &err);
	s->con->dead = true;
}

/* The last look: one part after another, by whatever connection is free. */
static void
send_sweep(struct slot *s)
{
	uint64_t *next = &sweep_next[s->con->disk - disks];
	int err;

	if (*next >= opt.blocks)
		return;
	s->started = now_ns();
	s->first = *next;
	s->n = opt.max_blocks;
	if (s->n > opt.blocks - s->first)
		s->n = opt.blocks - s->first;
	*next += s->n;
	if (send_read(s) >= 0)
		return;
	err = EIO;
	completed(s, &err);
	s->con->dead = true;
}

static bool
feed(struct con *c)
{
	bool busy = false;

	for (unsigned i = 0; i < opt.depth; i++) {
		struct slot *s = &c->slots[i];

		if (s->op == SLOT_IDLE && !c->dead && sweeping)
			send_sweep(s);
		else if (s->op == SLOT_IDLE && !c->dead && !stopping)
			send_next(s);
		busy |= s->op != SLOT_IDLE;
	}
	return busy;
}

static void
fill_pollfd(struct con *c, struct pollfd *p)
{
	unsigned dir = nbd_aio_get_direction(c->nbd);

	p->fd = c->dead ? -1 : nbd_aio_get_fd(c->nbd);
	p->events = 0;
	if (dir & LIBNBD_AIO_DIRECTION_READ)
		p->events |= POLLIN;
	if (dir & LIBNBD_AIO_DIRECTION_WRITE)
		p->events |= POLLOUT;
}

static void
notify(struct con *c, const struct pollfd *p)
{
	unsigned dir = nbd_aio_get_direction(c->nbd);
	int r = 0;

	if (p->fd < 0 || !p->revents)
		return;
	if (p->revents & (POLLIN | POLLHUP | POLLERR) &&
	    dir & LIBNBD_AIO_DIRECTION_READ)
		r = nbd_aio_notify_read(c->nbd);
	else if (p->revents & (POLLOUT | POLLERR))
		r = nbd_aio_notify_write(c->nbd);
	if (r < 0 || nbd_aio_is_dead(c->nbd) || nbd_aio_is_closed(c->nbd)) {
		if (!c->dead && !opt.quiet)
			printf("the connection to %s is dead\n", c->uri);
		c->dead = true;
		total.errors++;
	}
}

static bool
all_at_work(void)
{
	for (unsigned i = 0; i < n_cons; i++)
		if (cons[i].done < 2)
			return false;
	return true;
}

static void
say_ready(void)
{
	FILE *f;

	if (!opt.ready || !all_at_work())
		return;
	f = fopen(opt.ready, "w");
	if (!f || fputs("x\n", f) < 0 || fclose(f))
		die(opt.ready);
	opt.ready = NULL;
}

/* Until the time is over and everything has ended. */
static void
run(uint64_t end)
{
	struct pollfd *p = calloc(n_cons, sizeof(*p));
	bool busy = true;

	if (!p)
		die("no memory");
	while (busy) {
		busy = false;
		stopping = interrupted || now_ns() >= end;
		for (unsigned i = 0; i < n_cons; i++) {
			busy |= feed(&cons[i]);
			fill_pollfd(&cons[i], &p[i]);
		}
		if (!busy)
			break;
		if (poll(p, n_cons, 100) < 0 && errno != EINTR)
			die("poll");
		for (unsigned i = 0; i < n_cons; i++)
			notify(&cons[i], &p[i]);
		say_ready();
	}
	free(p);
}

static void
open_con(struct con *c, struct disk *d, const char *uri)
{
	static unsigned writers;
	size_t len = (size_t)opt.max_blocks * opt.block_size;
	int64_t size;

	c->disk = d;
	c->uri = uri;
	c->nbd = nbd_create();
	if (!c->nbd || nbd_connect_uri(c->nbd, uri) < 0)
		die(uri);
	size = nbd_get_size(c->nbd);
	if (size < (int64_t)opt.blocks * opt.block_size) {
		fprintf(stderr, "nbd-check: %s has %" PRId64 " bytes only\n",
			uri, size);
		exit(2);
	}
	for (unsigned i = 0; i < opt.depth; i++) {
		struct slot *s = &c->slots[i];

		s->con = c;
		s->writer = ++writers;
		s->buf = aligned_alloc(64, (len + 63) / 64 * 64);
		if (!s->buf)
			die("no memory");
	}
}

static void
add_disk(char *uris)
{
	struct disk *d = &disks[n_disks];
	char *uri, *rest = uris;

	if (n_disks++ == MAX_DISKS) {
		fprintf(stderr, "nbd-check: too many disks\n");
		exit(2);
	}
	d->history = history_new(opt.blocks, opt.once);
	while ((uri = strtok_r(rest, ",", &rest)))
		for (unsigned i = 0; i < opt.connections; i++)
			open_con(&cons[n_cons++], d, uri);
}

static void
on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static int
usage(void)
{
	fprintf(stderr,
		"usage: nbd-check --disk URI[,URI...] [--disk ...]\n"
		"\t[--connections N] [--depth N] [--blocks N] [--block-size "
		"N]\n"
		"\t[--max-blocks N] [--read-percent N] [--fua-percent N]\n"
		"\t[--flush-percent N] [--seconds N] [--seed N] [--ready "
		"FILE]\n"
		"\t[--allow-errors] [--quiet] [--once]\n");
	return 2;
}

static char *uris[MAX_DISKS];
static unsigned n_uris;

static int
parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{"disk", required_argument, NULL, 'D'},
		{"connections", required_argument, NULL, 'c'},
		{"depth", required_argument, NULL, 'd'},
		{"blocks", required_argument, NULL, 'b'},
		{"block-size", required_argument, NULL, 's'},
		{"max-blocks", required_argument, NULL, 'm'},
		{"read-percent", required_argument, NULL, 'r'},
		{"fua-percent", required_argument, NULL, 'f'},
		{"flush-percent", required_argument, NULL, 'l'},
		{"seconds", required_argument, NULL, 't'},
		{"seed", required_argument, NULL, 'S'},
		{"ready", required_argument, NULL, 'R'},
		{"allow-errors", no_argument, NULL, 'e'},
		{"quiet", no_argument, NULL, 'q'},
		{"once", no_argument, NULL, 'o'},
		{0},
	};
	struct {
		int c;
		unsigned *at;
	} numbers[] = {
		{'c', &opt.connections}, {'d', &opt.depth},
		{'b', &opt.blocks},      {'s', &opt.block_size},
		{'m', &opt.max_blocks},  {'r', &opt.read_percent},
		{'f', &opt.fua_percent}, {'l', &opt.flush_percent},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'D' && n_uris < MAX_DISKS)
			uris[n_uris++] = optarg;
		else if (c == 't')
			opt.seconds = atof(optarg);
		else if (c == 'S')
			opt.seed = strtoull(optarg, NULL, 0);
		else if (c == 'R')
			opt.ready = optarg;
		else if (c == 'e')
			opt.allow_errors = true;
		else if (c == 'q')
			opt.quiet = true;
		else if (c == 'o')
			opt.once = true;
		else if (c == '?' || c == 'D')
			return -1;
		for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
			if (c == numbers[i].c)
				*numbers[i].at =
					(unsigned)strtoul(optarg, NULL, 0);
	}
	if (optind != argc || !n_uris || !opt.connections || !opt.depth ||
	    opt.depth > MAX_DEPTH || !opt.blocks || !opt.max_blocks ||
	    opt.block_size < 512 || opt.block_size % 512)
		return -1;
	return 0;
}

/* Connections that all these URIs need. */
static unsigned
count_cons(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_uris; i++) {
		n += opt.connections;
		for (const char *p = uris[i]; (p = strchr(p, ',')); p++)
			n += opt.connections;
	}
	return n;
}

int
main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};
	uint64_t start;
	double took;

	if (parse(argc, argv) < 0)
		return usage();
	setvbuf(stdout, NULL, _IOLBF, 0);
	random_state = opt.seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	cons = calloc(count_cons(), sizeof(*cons));
	if (!cons)
		die("no memory");
	for (unsigned i = 0; i < n_uris; i++)
		add_disk(uris[i]);
	start = now_ns();
	run(start + (uint64_t)(opt.seconds * 1e9));
	took = (double)(now_ns() - start) / 1e9;
	printf("%u disks, %u connections: %" PRIu64 " reads, %" PRIu64
	       " writes, %" PRIu64 " flushes in %.1f s; longest %" PRIu64
	       " ms; %" PRIu64 " errors, %" PRIu64 " wrong, %" PRIu64
	       " torn under a write\n",
	       n_disks, n_cons, total.reads, total.writes, total.flushes, took,
	       total.longest_ns / 1000000, total.errors, total.wrong,
	       total.torn);
	sweeping = true;
	run(0);
	for (unsigned i = 0; i < n_disks; i++)
		if (sweep_next[i] < opt.blocks) {
			printf("disk %u cannot be read to the end\n", i);
			total.errors++;
		}
	if (total.wrong)
		printf("%" PRIu64 " blocks were read wrong\n", total.wrong);
	for (unsigned i = 0; i < n_cons; i++) {
		if (!cons[i].dead)
			nbd_shutdown(cons[i].nbd, 0);
		nbd_close(cons[i].nbd);
		for (unsigned k = 0; k < opt.depth; k++)
			free(cons[i].slots[k].buf);
	}
	free(cons);
	for (unsigned i = 0; i < n_disks; i++)
		history_free(disks[i].history);
	return total.wrong || (total.errors && !opt.allow_errors);
}
