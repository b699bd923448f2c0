/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rnbd-bench: the client library against the daemon, without the NBD hop.
 *
 * Starts a daemon on loopback (or uses one that runs, --path), drives it from
 * one thread at a constant depth and prints a row for each combination of
 * backend, direction, block size and depth: IOPS, MB/s, latency percentiles,
 * and CPU time per I/O of client and daemon.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "nbdkit-plugin/rnbd-clt.h"

#define MAX_DEPTH 256

/*
 * Latencies in buckets of at most 1/32 relative width: 32 linear steps within
 * each power of two of nanoseconds.
 */
#define SUB_BITS 5
struct hist {
	uint64_t n[64 << SUB_BITS];
	uint64_t total;
};

static unsigned
hist_index(uint64_t ns)
{
	unsigned log2;

	if (ns < 1u << SUB_BITS)
		return (unsigned)ns;
	log2 = 63 - (unsigned)__builtin_clzll(ns);
	return ((log2 - SUB_BITS + 1) << SUB_BITS) +
	       (unsigned)((ns >> (log2 - SUB_BITS)) & ((1u << SUB_BITS) - 1));
}

static uint64_t
hist_value(unsigned i)
{
	unsigned group = i >> SUB_BITS, sub = i & ((1u << SUB_BITS) - 1);

	if (!group)
		return sub;
	return (uint64_t)((1u << SUB_BITS) + sub) << (group - 1);
}

static double
hist_percentile_us(const struct hist *h, double p)
{
	uint64_t want = (uint64_t)((double)h->total * p), seen = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(h->n); i++) {
		seen += h->n[i];
		if (seen > want)
			return (double)hist_value(i) / 1e3;
	}
	return 0;
}

struct slot {
	struct rnbd_clt_io io;
	struct bench *b;
	uint64_t started;
};

struct bench {
	struct rnbd_clt *clt;
	struct rnbd_clt_dev *dev;
	int open_err;
	bool open_done, closed;
	char *bufs;
	struct slot slots[MAX_DEPTH];
	unsigned running;
	bool stop;
	uint64_t done, errors;
	uint64_t random;
	uint64_t size;
	uint32_t block;
	enum rnbd_clt_op op;
	struct hist hist;
};

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static void
fill_random(void *user, void *buf, size_t len)
{
	(void)user;
	if (getrandom(buf, len, 0) != (ssize_t)len)
		abort();
}

static void
log_line(void *user, enum log_level level, const char *line)
{
	(void)user;
	fprintf(stderr, "rnbd-bench: %s: %s\n", log_level_name(level), line);
}

static const struct log bench_log = {.sink = log_line,
				     .threshold = LOG_LVL_WARNING};

/* One turn of the loop: wait for what comes next, do it. */
static void
turn(struct bench *b)
{
	struct pollfd pfd = {.events = POLLIN};
	uint64_t now = now_ns(), deadline;

	if (!rnbd_clt_arm(b->clt)) {
		deadline = rnbd_clt_deadline(b->clt);
		if (deadline > now) {
			struct timespec ts;
			uint64_t left = deadline - now;

			if (left > 10 * NSEC_PER_SEC)
				left = 10 * NSEC_PER_SEC;
			ts.tv_sec = (time_t)(left / NSEC_PER_SEC);
			ts.tv_nsec = (long)(left % NSEC_PER_SEC);
			if (rnbd_clt_fds(b->clt, &pfd.fd, 1) == 1)
				ppoll(&pfd, 1, &ts, NULL);
		}
	}
	rnbd_clt_progress(b->clt, now_ns());
}

static void io_start(struct slot *s);

static void
io_done(struct rnbd_clt_io *io, int err)
{
	struct slot *s = container_of(io, struct slot, io);
	struct bench *b = s->b;
	uint64_t ns = now_ns() - s->started;

	b->hist.n[hist_index(ns)]++;
	b->hist.total++;
	b->done++;
	if (err)
		b->errors++;
	b->running--;
	if (!b->stop)
		io_start(s);
}

static void
io_start(struct slot *s)
{
	struct bench *b = s->b;
	uint64_t x = b->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	b->random = x;
	s->io.dev = b->dev;
	s->io.op = b->op;
	s->io.off = x % (b->size / b->block) * b->block;
	s->io.len = b->block;
	s->io.done = io_done;
	s->started = now_ns();
	b->running++;
	rnbd_clt_submit(&s->io);
}

static double
cpu_of_self(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* CPU time of another process in us: its clock, as the kernel keeps it. */
static double
cpu_of(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	if (pid <= 0 || clock_getcpuclockid(pid, &clock) != 0 ||
	    clock_gettime(clock, &t) != 0)
		return 0;
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void
run_cell(struct bench *b, const char *what, unsigned depth, double seconds,
	 pid_t daemon)
{
	double client, server, elapsed;
	uint64_t start, end;

	memset(&b->hist, 0, sizeof(b->hist));
	b->done = b->errors = 0;
	b->stop = false;
	client = cpu_of_self();
	server = cpu_of(daemon);
	start = now_ns();
	end = start + (uint64_t)(seconds * 1e9);
	for (unsigned i = 0; i < depth; i++) {
		b->slots[i].b = b;
		b->slots[i].io.buf = b->bufs + (size_t)i * b->block;
		b->slots[i].io.con_hint = 0;
		io_start(&b->slots[i]);
	}
	while (now_ns() < end)
		turn(b);
	b->stop = true;
	while (b->running)
		turn(b);
	elapsed = (double)(now_ns() - start) / 1e9;
	client = cpu_of_self() - client;
	server = cpu_of(daemon) - server;
	printf("%-7s %-5s %6u %5u %9.0f %8.1f %9.1f %9.1f %8.2f %8.2f\n", what,
	       b->op == RNBD_CLT_READ ? "read" : "write", b->block, depth,
	       (double)b->done / elapsed,
	       (double)b->done * b->block / elapsed / 1e6,
	       hist_percentile_us(&b->hist, .5),
	       hist_percentile_us(&b->hist, .99), client / (double)b->done,
	       server / (double)b->done);
	fflush(stdout);
	if (b->errors) {
		fprintf(stderr, "rnbd-bench: %" PRIu64 " I/Os failed\n",
			b->errors);
		exit(1);
	}
}

static void
opened(void *user, struct rnbd_clt_dev *dev, int err, const char *text)
{
	struct bench *b = user;

	b->dev = dev;
	b->open_err = err;
	b->open_done = true;
	if (err)
		fprintf(stderr, "rnbd-bench: %s\n", text);
}

static void
set_closed(void *user)
{
	*(bool *)user = true;
}

static void
run_device(struct bench *b, const char *name, double seconds, pid_t daemon)
{
	static const uint32_t blocks[] = {4096, 124 * 1024};
	static const unsigned depths[] = {1, 16, 64};
	struct rnbd_clt_geometry g;
	int r;

	b->open_done = b->closed = false;
	r = rnbd_clt_dev_open(b->clt, name, RNBD_ACCESS_RW, opened, b);
	if (r < 0) {
		fprintf(stderr, "rnbd-bench: open: %s\n", strerror(-r));
		exit(1);
	}
	while (!b->open_done)
		turn(b);
	if (b->open_err)
		exit(1);
	rnbd_clt_dev_geometry(b->dev, &g);
	b->size = g.size_bytes;
	for (unsigned op = 0; op < 2; op++)
		for (unsigned i = 0; i < ARRAY_SIZE(blocks); i++)
			for (unsigned j = 0; j < ARRAY_SIZE(depths); j++) {
				b->op = op ? RNBD_CLT_WRITE : RNBD_CLT_READ;
				b->block = blocks[i];
				run_cell(b, name, depths[j], seconds, daemon);
			}
	rnbd_clt_dev_close(b->dev, set_closed, &b->closed);
	while (!b->closed)
		turn(b);
}

/* Starts a daemon with the exports "null" and "memory"; gives its port. */
static pid_t
start_daemon(const char *gatewayd, unsigned *ret_port)
{
	char line[128] = "";
	int out[2];
	pid_t pid;
	FILE *f;

	if (pipe(out) < 0)
		exit(1);
	pid = fork();
	if (pid < 0)
		exit(1);
	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		close(out[0]);
		close(out[1]);
		execl(gatewayd, gatewayd, "--foreground", "--listen",
		      "tcp:127.0.0.1:0", "--export", "null=null:1G", "--export",
		      "memory=memory:256M", (char *)NULL);
		fprintf(stderr, "rnbd-bench: cannot start %s: %s\n", gatewayd,
			strerror(errno));
		_exit(127);
	}
	close(out[1]);
	f = fdopen(out[0], "r");
	if (!f || !fgets(line, sizeof(line), f) ||
	    sscanf(line, "listening on tcp:127.0.0.1:%u", ret_port) != 1) {
		fprintf(stderr, "rnbd-bench: the daemon did not come up\n");
		exit(1);
	}
	fclose(f);
	return pid;
}

static const char help[] =
	"usage: rnbd-bench [OPTIONS]\n"
	"  --gatewayd PROGRAM  the daemon to start (default: beside this "
	"tree)\n"
	"  --seconds S         for each row (default 1)\n"
	"  --connections N     per path, the service connection included (2)\n"
	"  --device NAME       only this export: null or memory\n";

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"gatewayd", required_argument, NULL, 'g'},
		{"seconds", required_argument, NULL, 's'},
		{"connections", required_argument, NULL, 'c'},
		{"device", required_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	static struct bench b = {.random = 88172645463325252ull};
	struct rtrs_path_addr addr = {.fabric = &fabric_tcp,
				      .dst_len = sizeof(struct sockaddr_in)};
	struct sockaddr_in *sin = (void *)&addr.dst;
	struct rnbd_clt_params p = {.trust_write_zeroes = true,
				    .open_timeout_ms = 10000};
	const char *gatewayd = RNBD_GATEWAYD, *device = NULL;
	unsigned port, cons = 2;
	double seconds = 1;
	pid_t pid;
	int c, r;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'g':
			gatewayd = optarg;
			break;
		case 's':
			seconds = strtod(optarg, NULL);
			break;
		case 'c':
			cons = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'd':
			device = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			fputs(help, stderr);
			return 2;
		}
	signal(SIGPIPE, SIG_IGN);
	pid = start_daemon(gatewayd, &port);
	sin->sin_family = AF_INET;
	sin->sin_port = htons((uint16_t)port);
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p.rtrs = (struct rtrs_clt_params){
		.name = "bench",
		.paths = &addr,
		.n_paths = 1,
		.n_cons = cons,
		.rng = {.fill = fill_random},
		.log = &bench_log,
		.now = now_ns(),
		.max_reconnect_attempts = 0,
	};
	if (posix_memalign((void **)&b.bufs, 4096,
			   (size_t)MAX_DEPTH * 124 * 1024))
		return 1;
	memset(b.bufs, 0x5a, (size_t)MAX_DEPTH * 124 * 1024);
	r = rnbd_clt_new(&p, &b.clt);
	if (r < 0) {
		fprintf(stderr, "rnbd-bench: %s\n", strerror(-r));
		return 1;
	}
	printf("%-7s %-5s %6s %5s %9s %8s %9s %9s %8s %8s\n", "backend", "op",
	       "bytes", "depth", "IOPS", "MB/s", "p50 us", "p99 us", "clt us",
	       "srv us");
	if (!device || !strcmp(device, "null"))
		run_device(&b, "null", seconds, pid);
	if (!device || !strcmp(device, "memory"))
		run_device(&b, "memory", seconds, pid);
	rnbd_clt_close(b.clt);
	while (!rnbd_clt_closed(b.clt))
		turn(&b);
	rnbd_clt_free(b.clt);
	free(b.bufs);
	kill(pid, SIGTERM);
	if (waitpid(pid, &r, 0) != pid || !WIFEXITED(r) || WEXITSTATUS(r)) {
		fprintf(stderr, "rnbd-bench: the daemon did not end well\n");
		return 1;
	}
	return 0;
}
